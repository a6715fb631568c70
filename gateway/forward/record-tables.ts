/**
 * Loads the records of a plan into a table: as objects beside it, and then all of them at once. Both
 * the objects' keys and the load's id are functions of the plan, so a load that was done is known.
 *
 * Where the table refuses them, the plan is halved until the record is found that it refuses
 * (`planned.ts`): what was refused as a whole was not loaded in part. Of what is given up in the end,
 * the destination keeps a note beside the objects.
 */
import type { Pace } from './attempts.ts';
import { keyNamespace } from './keys.ts';
import { PlanRefused, type Emission, type PlanInHand } from './planned.ts';
import { ObjectMaker } from './record-objects.ts';
import type { Failure } from './shape/failures.ts';
import type { ShapedRecord } from './shape/shaped-record.ts';
import { SinkError, type TableLoad, type TableReading, type TableSink } from './sink.ts';
import { uuidV5 } from './uuid.ts';

const plainReading: TableReading = { columns: null, options: '' };

export class TableEmission implements Emission {
  readonly boundsItself = false;
  readonly extraMs: number;
  readonly stage = 'redshift-failed';
  readonly sent = { records: 0, bytes: 0, objects: 0 };
  failures: readonly Failure[] = [];
  readonly #inHand: PlanInHand;
  readonly #sink: TableSink;
  readonly #reading: TableReading;
  readonly #maker: ObjectMaker;
  /** What is staged and, as far as is known, not loaded. */
  #unloaded: TableLoad | null = null;

  /** @param reading as it is now, for plans that do not say */
  constructor(inHand: PlanInHand, sink: TableSink, reading: TableReading | null) {
    this.#inHand = inHand;
    this.#sink = sink;
    this.#reading = inHand.detail.reading ?? reading ?? plainReading;
    this.extraMs = sink.attemptMs ?? 0;
    this.#maker = new ObjectMaker(inHand);
  }

  /** All are loaded, or none. */
  isSettled(): boolean {
    return false;
  }

  async attempt(
    slices: AsyncIterable<readonly ShapedRecord[]>,
    signal: AbortSignal,
    pace: Pace,
  ): Promise<void> {
    const failures: Failure[] = [];
    const staged: TableLoad['objects'][number][] = [];
    let bytes = 0;
    for (const { encode, partition } of await this.#maker.parts(slices)) {
      const { object, failures: ofPart } = await encode();
      failures.push(...ofPart);
      if (object === null) continue;
      const upload = this.#maker.uploadOf(object, partition);
      await this.#sink.staging.put(pace(upload), signal);
      const { sizeBytes, records, plainBytes } = object;
      staged.push({ key: upload.key, sizeBytes, records });
      bytes += plainBytes;
    }
    if (staged.length > 0) await this.#load(this.#loadOf(staged), signal);
    this.failures = failures;
    this.sent.records = staged.reduce((sum, { records }) => sum + records, 0);
    this.sent.bytes = bytes;
    this.sent.objects = staged.length;
  }

  get leaveNote(): ((signal: AbortSignal) => Promise<void>) | null {
    const [sink, load] = [this.#sink, this.#unloaded];
    return load === null ? null : async (signal) => sink.skip?.(load, signal);
  }

  async #load(load: TableLoad, signal: AbortSignal): Promise<void> {
    this.#unloaded = load;
    try {
      await this.#sink.load(load, signal);
      this.#unloaded = null;
    } catch (error) {
      const isOfRecords = error instanceof SinkError && error.code === 'rejected';
      throw isOfRecords ? new PlanRefused(error) : error;
    }
  }

  #loadOf(objects: TableLoad['objects']): TableLoad {
    const { detail, source, plan, worker } = this.#inHand;
    const { gatewayId, delivery, version } = detail.scope;
    const { from, to } = plan;
    const shard = [source.origin.stream, source.origin.streamCreatedMs, source.shard.id];
    const named = (...name: readonly unknown[]): string =>
      uuidV5(keyNamespace, JSON.stringify(name));
    return {
      id: named('load', gatewayId, delivery, version, ...shard, from, to),
      place: {
        shard: named('shard', gatewayId, delivery, ...shard),
        ...{ since: worker.lane.since, from, to },
      },
      objects,
      format: detail.shape.format,
      reading: this.#reading,
    };
  }
}
