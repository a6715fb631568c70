/**
 * What the database keeps of delivery streams: those that were made over the API whole, and of
 * deliveries of the configuration what the API alone knows (tags, encryption). One item each, in a
 * table that no client of DynamoDB can name. What is read is checked, because another version may
 * have written it.
 */
import { z } from 'zod';
import type { Items } from '../../../storage/items/items.ts';
import type { Sealer } from '../aws/sealing.ts';
import {
  configurations,
  destinationKinds,
  type DestinationKind,
  type GivenDestination,
} from './destination-shapes.ts';
import { withoutSecrets, withSecrets, type Secrets } from './secrets.ts';

const tableName = 'headgate:firehose';
const purpose = 'secrets of a delivery stream';
const none = Buffer.alloc(0);
const streamsAtOnce = 100;
const bytesAtOnce = 4 * 2 ** 20;

const keptSchema = z.object({
  made: z
    .object({
      type: z.enum(['DirectPut', 'KinesisStreamAsSource']),
      /** The stream of the log that its records are read from. */
      stream: z.string(),
      /** Given, for a stream that is read; nothing here asks for it. */
      roleArn: z.string().nullable(),
      createdMs: z.number(),
      updatedMs: z.number().nullable(),
      version: z.number(),
      destination: z.object({
        kind: z.string().refine((kind) => (destinationKinds as readonly string[]).includes(kind)),
        configuration: z.record(z.string(), z.unknown()),
        /** Sealed; null: it has none. */
        secrets: z.string().nullable(),
      }),
    })
    .nullable(),
  tags: z.record(z.string(), z.string()),
  encryption: z
    .object({
      keyType: z.enum(['AWS_OWNED_CMK', 'CUSTOMER_MANAGED_CMK']),
      keyArn: z.string().nullable(),
    })
    .nullable(),
});

type StoredStream = z.output<typeof keptSchema>;
type StoredMade = NonNullable<StoredStream['made']>;

/** A delivery stream as it was asked for over the API. */
export interface MadeStream extends Omit<StoredMade, 'destination'> {
  readonly destination: GivenDestination;
  /** The secret of its destination can't be opened: it was sealed by another gateway. */
  readonly lostSecrets: boolean;
}

export interface KeptStream extends Omit<StoredStream, 'made'> {
  readonly made: MadeStream | null;
}

export class KeptStreams {
  readonly #items: Items;
  readonly #sealer: Sealer;

  constructor(items: Items, sealer: Sealer) {
    this.#items = items;
    this.#sealer = sealer;
  }

  /** By name; those that can't be understood are left out, and named to `unreadable`. */
  async read(unreadable: (name: string, error: unknown) => void): Promise<Map<string, KeptStream>> {
    const streams = new Map<string, KeptStream>();
    const table = this.#items.table(tableName);
    if (table === null) return streams;
    for (let from = none; ;) {
      const rows = await this.#items.read(table, {
        ...{ index: null, from: { hash: from, range: none }, to: null, forward: true },
        ...{ limit: streamsAtOnce, bytes: bytesAtOnce },
      });
      for (const { hash, body } of rows) {
        const name = hash.toString('utf8');
        try {
          streams.set(name, this.#opened(keptSchema.parse(JSON.parse(body))));
        } catch (error) {
          unreadable(name, error);
        }
      }
      const last = rows.at(-1);
      if (last === undefined) return streams;
      from = Buffer.concat([last.hash, Buffer.alloc(1)]);
    }
  }

  /** @throws StorageError */
  async write(name: string, stream: KeptStream): Promise<void> {
    if (this.#items.table(tableName) === null) await this.#items.createTable(tableName, {});
    const body = JSON.stringify(this.#sealed(stream), mapsAsObjects);
    const bytes = Buffer.byteLength(body);
    const decided = { body, bytes, entries: null, result: undefined };
    await this.#items.change(tableName, keyOf(name), () => decided, bytes);
  }

  /** @throws StorageError */
  async remove(name: string): Promise<void> {
    const decided = { body: null, bytes: 0, entries: null, result: undefined };
    await this.#items.change(tableName, keyOf(name), () => decided, 0);
  }

  #sealed({ made, tags, encryption }: KeptStream): StoredStream {
    if (made === null) return { made, tags, encryption };
    const { kind, configuration: given } = made.destination;
    const { configuration, secrets } = withoutSecrets(kind, given);
    const sealed =
      Object.keys(secrets).length === 0
        ? null
        : this.#sealer.seal(purpose, Buffer.from(JSON.stringify(secrets)));
    const stored = { kind, configuration, secrets: sealed };
    const { type, stream, roleArn, createdMs, updatedMs, version } = made;
    const others = { type, stream, roleArn, createdMs, updatedMs, version };
    return { made: { ...others, destination: stored }, tags, encryption };
  }

  #opened({ made, ...facts }: StoredStream): KeptStream {
    if (made === null) return { ...facts, made };
    const { secrets: sealed } = made.destination;
    const kind = made.destination.kind as DestinationKind;
    const unsealed = sealed === null ? null : this.#sealer.open(purpose, sealed);
    const secrets =
      unsealed === null ? {} : (JSON.parse(unsealed.content.toString('utf8')) as Secrets);
    const fields = withSecrets(kind, made.destination.configuration, secrets);
    const destination = givenDestination(kind, fields);
    const lostSecrets = sealed !== null && unsealed === null;
    return { ...facts, made: { ...made, destination, lostSecrets } };
  }
}

/** @throws RequestError for what is no configuration of that kind */
export function givenDestination(kind: DestinationKind, configuration: unknown): GivenDestination {
  // The compiler does not see that each kind goes with its own configuration.
  return { kind, configuration: configurations[kind].parse(configuration) } as GivenDestination;
}

/** As JSON, without what JSON does not have. */
export function mapsAsObjects(_key: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value as ReadonlyMap<string, unknown>) : value;
}

function keyOf(name: string): { hash: Buffer; range: Buffer } {
  return { hash: Buffer.from(name), range: none };
}
