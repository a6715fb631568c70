/**
 * Puts the records of a plan into objects, one for each of its partitions. Each has a key that is a
 * function of the plan and the partition, so one that is put again replaces itself.
 *
 * The objects of an attempt are made side by side, compressed, and put one after the other. Those
 * that arrived are not made again by a later attempt; after a restart all of them are.
 */
import type { Pace } from './attempts.ts';
import { formatOf } from './format/formats.ts';
import type { EncodedObject, Encoder, Format } from './format/encoder.ts';
import { recordObjectKey } from './keys.ts';
import type { Emission, PlanInHand } from './planned.ts';
import { failureOf, type Failure, type Position } from './shape/failures.ts';
import type { PartitionValues, ShapedRecord } from './shape/shaped-record.ts';
import { SinkError, type ObjectSink, type ObjectUpload } from './sink.ts';
import { inOrder } from './uploads.ts';

/** So often all objects of partitions are refused before their records are put aside. */
const refusalsMax = 5;

/** Makes the objects of a plan, each with its key. */
export class ObjectMaker {
  readonly #inHand: PlanInHand;
  readonly #format: Format;

  constructor(inHand: PlanInHand) {
    this.#inHand = inHand;
    const { record, format } = inHand.detail.shape;
    const { shardIndex } = inHand.source.origin;
    this.#format = formatOf(format, { record, shardIndex });
  }

  encoder(): Encoder {
    return this.#format.encoder();
  }

  /** What tells one partition from another; '' where there are none. */
  partitionOf({ partition }: ShapedRecord): string {
    return partition === null ? '' : JSON.stringify(partition);
  }

  keyOf(_partition: PartitionValues | null): string {
    const { detail, source, plan } = this.#inHand;
    return (
      detail.key ??
      recordObjectKey(detail.scope, {
        stream: source.origin.stream,
        streamCreatedMs: source.origin.streamCreatedMs,
        shardId: source.shard.id,
        ...{ from: plan.from, to: plan.to, oldestArrivalMs: detail.oldestMs },
      })
    );
  }

  uploadOf(object: EncodedObject, partition: PartitionValues | null): ObjectUpload {
    const { sizeBytes, sha256, pieces } = object;
    return {
      ...{ key: this.keyOf(partition), contentType: this.#format.contentType, sizeBytes, sha256 },
      read: () => inOrder(pieces),
    };
  }
}

interface Open {
  readonly partition: PartitionValues | null;
  readonly encoder: Encoder;
  /** Of its records; of a partition only. */
  readonly positions: Position[];
}

/** An object that the destination does not take as it stands. */
interface Refused {
  readonly error: SinkError;
  readonly positions: readonly Position[];
}

/** The objects that are made side by side in one attempt. */
export class OpenObjects {
  readonly #maker: ObjectMaker;
  readonly #open = new Map<string, Open>();

  constructor(maker: ObjectMaker) {
    this.#maker = maker;
  }

  /** By partition; each has at least one record. */
  entries(): Iterable<readonly [string, Open]> {
    return [...this.#open];
  }

  async add(records: readonly ShapedRecord[]): Promise<void> {
    for (const [name, part] of this.#parted(records)) {
      let open = this.#open.get(name);
      if (open === undefined) {
        const { partition = null } = part[0] ?? {};
        open = { partition, encoder: this.#maker.encoder(), positions: [] };
        this.#open.set(name, open);
      }
      if (open.partition !== null) {
        for (const { sequence, subSequence } of part)
          open.positions.push({ sequence, subSequence });
      }
      await open.encoder.add(part);
    }
  }

  close(): void {
    for (const { encoder } of this.#open.values()) encoder.close();
    this.#open.clear();
  }

  #parted(records: readonly ShapedRecord[]): ReadonlyMap<string, readonly ShapedRecord[]> {
    if (records.every(({ partition }) => partition === null)) return new Map([['', records]]);
    const parts = new Map<string, ShapedRecord[]>();
    for (const record of records) {
      const name = this.#maker.partitionOf(record);
      const part = parts.get(name);
      if (part === undefined) parts.set(name, [record]);
      else part.push(record);
    }
    return parts;
  }
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
    return this.#settled.has(this.#maker.partitionOf(record));
  }

  async attempt(
    slices: AsyncIterable<readonly ShapedRecord[]>,
    signal: AbortSignal,
    pace: Pace,
  ): Promise<void> {
    const objects = new OpenObjects(this.#maker);
    let refused: SinkError | null = null;
    try {
      for await (const slice of slices) {
        const left = this.#settled.size === 0 ? slice : slice.filter((one) => !this.isSettled(one));
        if (left.length > 0) await objects.add(left);
      }
      for (const [name, open] of objects.entries()) {
        const { object, failed } = await open.encoder.end();
        open.encoder.close();
        try {
          if (object !== null) {
            await this.#sink.put(pace(this.#maker.uploadOf(object, open.partition)), signal);
          }
        } catch (error) {
          if (!isOfObject(error) || open.partition === null) throw error;
          refused = error;
          this.#refused.set(name, { error, positions: open.positions });
          continue;
        }
        this.#arrived(name, object);
        this.failures.push(...failed.map(failureOf));
      }
    } finally {
      objects.close();
    }
    if (refused !== null) this.#settleRefused(refused);
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
  #settleRefused(refused: SinkError): void {
    this.#refusals += 1;
    if (this.sent.objects === 0 && this.#refusals < refusalsMax) throw refused;
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
