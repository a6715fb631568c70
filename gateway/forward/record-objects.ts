/**
 * Puts the records of a plan into objects, one for each of its partitions. Each has a key that is a
 * function of the plan and the partition, so one that is put again replaces itself.
 *
 * An object that arrived is not made again by a later attempt; after a restart all of them are.
 */
import type { Pace } from './attempts.ts';
import type { Made } from './encode-ahead.ts';
import { formatOf } from './format/formats.ts';
import type { EncodedObject, Format } from './format/encoder.ts';
import {
  compileLayout,
  hasPartitions,
  isDivided,
  objectKey,
  partitionIdOf,
  type Layout,
} from './layout/layout.ts';
import type { Emission, PlanInHand } from './planned.ts';
import { failureOf, type Failure, type Position } from './shape/failures.ts';
import type { PartitionValues, ShapedRecord } from './shape/shaped-record.ts';
import { SinkError, type ObjectSink, type ObjectUpload } from './sink.ts';
import { inOrder } from './uploads.ts';

/** So often all objects of partitions are refused before their records are put aside. */
const refusalsMax = 5;
/** Objects of a plan that are put side by side. */
const putsAtOnce = 4;

/** Records that go into one object. */
export interface Part {
  /** '' where there are no partitions. */
  readonly name: string;
  readonly partition: PartitionValues | null;
  readonly encode: () => Promise<Made>;
  /** Of its records, where there are partitions. */
  readonly positions: readonly Position[];
}

/** Makes the objects of a plan, each with its key. */
export class ObjectMaker {
  readonly #inHand: PlanInHand;
  readonly #format: Format;
  readonly #layout: Layout;
  readonly #isDivided: boolean;
  /** Keys have what records gave them. */
  readonly hasPartitions: boolean;

  constructor(inHand: PlanInHand) {
    this.#inHand = inHand;
    const { record, format, layout } = inHand.detail.shape;
    this.#format = formatOf(format, { record, shardIndex: inHand.source.origin.shardIndex });
    this.#layout = compileLayout(layout);
    this.#isDivided = isDivided(this.#layout);
    this.hasPartitions = hasPartitions(this.#layout);
  }

  /** What tells the objects of a plan apart. */
  partOf({ partition }: ShapedRecord): string {
    return this.#isDivided ? (partitionIdOf(this.#layout, partition) ?? '') : '';
  }

  /**
   * Divides records among objects. Where there is one only, it is made as they come; otherwise they
   * are gathered, as many encoders would take more memory than the records.
   */
  async parts(slices: AsyncIterable<readonly ShapedRecord[]>): Promise<readonly Part[]> {
    if (!this.#isDivided) return this.#onePart(slices);
    const parts = new Map<string, ShapedRecord[]>();
    for await (const slice of slices) {
      for (const record of slice) {
        const name = this.partOf(record);
        const part = parts.get(name);
        if (part === undefined) parts.set(name, [record]);
        else part.push(record);
      }
    }
    return [...parts].map(([name, records]) => ({
      name,
      partition: records[0]?.partition ?? null,
      encode: () => this.#encode(inOneSlice(records)),
      positions: records.map(({ sequence, subSequence }) => ({ sequence, subSequence })),
    }));
  }

  async #onePart(slices: AsyncIterable<readonly ShapedRecord[]>): Promise<readonly Part[]> {
    return [wholePart(await this.#encode(slices))];
  }

  async #encode(slices: AsyncIterable<readonly ShapedRecord[]>): Promise<Made> {
    const encoder = this.#format.encoder();
    let isEmpty = true;
    try {
      for await (const slice of slices) {
        if (slice.length === 0) continue;
        isEmpty = false;
        await encoder.add(slice);
      }
      if (isEmpty) return { object: null, failures: [] };
      const { object, failed } = await encoder.end();
      return { object, failures: failed.map(failureOf) };
    } finally {
      encoder.close();
    }
  }

  uploadOf(object: EncodedObject, partition: PartitionValues | null): ObjectUpload {
    const { sizeBytes, sha256, pieces } = object;
    return {
      ...{ key: this.#keyOf(partition), contentType: this.#format.contentType, sizeBytes, sha256 },
      read: () => inOrder(pieces),
    };
  }

  #keyOf(partition: PartitionValues | null): string {
    const { detail, source, plan } = this.#inHand;
    if (detail.key !== null) return detail.key;
    const { stream, streamCreatedMs } = source.origin;
    return objectKey(this.#layout, detail.scope, {
      ...{ stream, streamCreatedMs, shardId: source.shard.id, partition },
      ...{ from: plan.from, to: plan.to, oldestArrivalMs: detail.oldestMs },
      extension: this.#format.extension,
    });
  }
}

/** The only one where there are no partitions. */
function wholePart(made: Made): Part {
  return { name: '', partition: null, encode: () => Promise.resolve(made), positions: [] };
}

// An async generator, because that is what an encoder is fed from.
// eslint-disable-next-line @typescript-eslint/require-await
async function* inOneSlice<T>(slice: T): AsyncGenerator<T, void> {
  yield slice;
}

/** An object that the destination does not take as it stands. */
interface Refused {
  readonly error: SinkError;
  readonly positions: readonly Position[];
}

export class ObjectEmission implements Emission {
  readonly boundsItself = false;
  readonly stage = 'delivery-failed';
  readonly sent = { records: 0, bytes: 0, objects: 0 };
  readonly failures: Failure[] = [];
  readonly #inHand: PlanInHand;
  readonly #sink: ObjectSink;
  readonly #maker: ObjectMaker;
  /** Partitions whose objects have arrived, or are not to be. */
  readonly #settled = new Set<string>();
  readonly #refused = new Map<string, Refused>();
  #refusals = 0;

  constructor(inHand: PlanInHand, sink: ObjectSink) {
    this.#inHand = inHand;
    this.#sink = sink;
    this.#maker = new ObjectMaker(inHand);
  }

  isSettled(record: ShapedRecord): boolean {
    return this.#settled.has(this.#maker.partOf(record));
  }

  async attempt(
    slices: AsyncIterable<readonly ShapedRecord[]>,
    signal: AbortSignal,
    pace: Pace,
  ): Promise<void> {
    const parts = [
      ...((await this.#ahead()) ?? (await this.#maker.parts(this.#unsettled(slices)))),
    ];
    let failure: unknown = null;
    const putParts = async (): Promise<void> => {
      for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
        try {
          await this.#put(part, signal, pace);
        } catch (error) {
          failure ??= error;
          return;
        }
      }
    };
    // All of them end before the attempt does: nothing is put behind its back.
    await Promise.all(Array.from({ length: putsAtOnce }, putParts));
    if (failure !== null) throw failure as Error;
    this.#settleRefused();
  }

  /** What was made of all of the plan before the first attempt; null: there is no such. */
  async #ahead(): Promise<readonly Part[] | null> {
    const { ahead } = this.#inHand;
    if (ahead === null || ahead.isClosed) return null;
    try {
      return [wholePart(await ahead.end())];
    } finally {
      ahead.close();
    }
  }

  async *#unsettled(
    slices: AsyncIterable<readonly ShapedRecord[]>,
  ): AsyncGenerator<readonly ShapedRecord[], void> {
    for await (const slice of slices) {
      yield this.#settled.size === 0 ? slice : slice.filter((record) => !this.isSettled(record));
    }
  }

  async #put(
    { name, partition, encode, positions }: Part,
    signal: AbortSignal,
    pace: Pace,
  ): Promise<void> {
    const { object, failures } = await encode();
    try {
      if (object !== null) {
        await this.#sink.put(pace(this.#maker.uploadOf(object, partition)), signal);
      }
    } catch (error) {
      if (!isOfObject(error) || !this.#maker.hasPartitions) throw error;
      this.#refused.set(name, { error, positions });
      return;
    }
    this.#arrived(name, object);
    this.failures.push(...failures);
  }

  #arrived(name: string, object: EncodedObject | null): void {
    this.#settled.add(name);
    this.#refused.delete(name);
    this.#inHand.budget.taken();
    if (object === null) return;
    this.sent.records += object.records;
    this.sent.bytes += object.plainBytes;
    this.sent.objects += 1;
  }

  /**
   * Objects of some partitions were refused as they stand. It is for their names, which records
   * gave them, where others are taken, or where it stays so; otherwise it may be the destination.
   * @throws SinkError to try again
   */
  #settleRefused(): void {
    const [first] = this.#refused.values();
    if (first === undefined) return;
    this.#refusals += 1;
    if (this.sent.objects === 0 && this.#refusals < refusalsMax) throw first.error;
    for (const [name, { error, positions }] of this.#refused) {
      this.#settled.add(name);
      const { code: errorCode, message: errorMessage } = error;
      const why = { stage: this.stage, errorCode, errorMessage, attempts: this.#refusals } as const;
      for (const position of positions) this.failures.push({ ...position, ...why });
    }
    this.#refused.clear();
  }
}

function isOfObject(error: unknown): error is SinkError {
  return error instanceof SinkError && (error.code === 'rejected' || error.code === 'too-large');
}
