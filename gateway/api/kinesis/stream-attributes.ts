/**
 * What the API keeps with a stream that the log itself has no use for: tags, consumers, policies and
 * settings, each under a key of its own (`Log.setAttribute`). They go with the stream.
 *
 * What is read is checked, because another version may have written it; what is no use is taken as
 * missing. Changes of one stream are made one after the other, so none is lost.
 */
import { z } from 'zod';
import type { Log, StreamDescription } from '../../../storage/model.ts';

const tags = z.record(z.string(), z.string());

const consumer = z.object({
  name: z.string(),
  createdMs: z.number(),
  tags: tags.default({}),
  policy: z.string().nullable().default(null),
});

/** A consumer with enhanced fan-out. */
export type RegisteredConsumer = z.output<typeof consumer>;

const schemas = {
  tags: tags.default({}),
  consumers: z.array(consumer).default([]),
  /** A policy document, JSON. */
  policy: z.string().nullable().default(null),
  /** Shard-level metrics that were asked for. */
  monitoring: z.array(z.string()).default([]),
  /** null: not encrypted on request. */
  encryption: z.object({ keyId: z.string() }).nullable().default(null),
  maxRecordKiB: z.number().default(1024),
  /** What becomes of records that a producer has aggregated; only the configuration sets it. */
  aggregation: z.enum(['pass', 'split']).default('pass'),
  warmThroughputMiBps: z.number().nullable().default(null),
};

type Schemas = typeof schemas;
export type AttributeName = keyof Schemas;
export type Attribute<N extends AttributeName> = z.output<Schemas[N]>;

/** What was read of a stream's attributes, which are another object after each change. */
const known = new WeakMap<StreamDescription['attributes'], Map<AttributeName, unknown>>();

/** What is kept under a name, its default when nothing is; not to be written to. */
export function attributeOf<N extends AttributeName>(
  { attributes }: Pick<StreamDescription, 'attributes'>,
  name: N,
): Attribute<N> {
  let read = known.get(attributes);
  if (read === undefined) {
    read = new Map();
    known.set(attributes, read);
  }
  if (!read.has(name)) {
    const kept = schemas[name].safeParse(attributes[name]);
    read.set(name, kept.success ? kept.data : schemas[name].parse(undefined));
  }
  return read.get(name) as Attribute<N>;
}

export class StreamAttributes {
  readonly #log: Log;
  /** The last change of each stream, while it is under way. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Changes what is kept under a name. `change` gets what is there when its turn has come.
   * @throws StorageError `not-found`; what `change` throws, and then nothing is changed
   */
  async change<N extends AttributeName>(
    stream: string,
    name: N,
    change: (current: Attribute<N>) => Attribute<N>,
  ): Promise<Attribute<N>> {
    return this.inTurn(stream, async () => {
      const changed = change(attributeOf(this.#log.stream(stream), name));
      await this.#log.setAttribute(stream, name, changed ?? undefined);
      return changed;
    });
  }

  /** Does something that changes a stream when nothing else does. */
  async inTurn<T>(stream: string, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(stream) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#changes.set(stream, turn);
    try {
      return await turn;
    } finally {
      if (this.#changes.get(stream) === turn) this.#changes.delete(stream);
    }
  }
}
