/**
 * Hands the records of a plan to a sink of batches: each at least once, in order, under an id that
 * never changes.
 *
 * - A batch is handed over when the one before it was: what failed of that goes again in a batch of
 *   its own, before any later record does.
 * - What the destination refuses as it stands is put aside at once. A batch that is refused as a whole
 *   is halved until the record is found that it is refused for.
 * - What else fails is tried again, at first with the batch in memory; when that takes longer, the
 *   attempt ends, and the next one reads the plan again and goes on where this one was.
 */
import { attemptLimitMs, failedFor, Postponed, urgencyOf, type Worker } from './attempts.ts';
import { recordLine } from './format/ndjson.ts';
import { keyNamespace, recordIdOf } from './keys.ts';
import type { Emission, PlanInHand } from './planned.ts';
import { compare, positionName, type Failure, type Position } from './shape/failures.ts';
import type { FailureStage, ShapedRecord } from './shape/shaped-record.ts';
import { isOfRecords, SinkError, type BatchItem, type BatchSink } from './sink.ts';
import { pause, within } from './timing.ts';
import { uuidV5 } from './uuid.ts';

/** The longest wait during which a batch stays in memory. */
const heldMsMax = 2_000;

interface Item extends BatchItem, Position {}

const stages: Readonly<Record<BatchSink['kind'], FailureStage>> = {
  http: 'http-endpoint-failed',
  opensearch: 'opensearch-failed',
  splunk: 'splunk-failed',
  dynamodb: 'delivery-failed',
  nats: 'delivery-failed',
  kafka: 'delivery-failed',
  kinesis: 'delivery-failed',
};

export class BatchEmission implements Emission {
  readonly boundsItself = true;
  readonly stage: FailureStage;
  readonly sent = { records: 0, bytes: 0, objects: 0 };
  readonly failures: Failure[] = [];
  readonly #inHand: PlanInHand;
  readonly #worker: Worker;
  readonly #sink: BatchSink;
  /** The last record that was in a batch. */
  #upTo: Position | null = null;
  /** Those up to there that go again, by position, with the attempts that were made. */
  readonly #again = new Map<string, number>();

  constructor(inHand: PlanInHand, sink: BatchSink) {
    this.#inHand = inHand;
    this.#worker = inHand.worker;
    this.#sink = sink;
    this.stage = stages[sink.kind];
  }

  isSettled(record: ShapedRecord): boolean {
    return this.#isBehind(record) && !this.#again.has(positionName(record));
  }

  #isBehind(position: Position): boolean {
    return this.#upTo !== null && compare(position, this.#upTo) <= 0;
  }

  async attempt(
    slices: AsyncIterable<readonly ShapedRecord[]>,
    signal: AbortSignal,
  ): Promise<void> {
    const { limits } = this.#sink;
    let batch: Item[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (batch.length > 0) await this.#handOver(batch, signal);
      batch = [];
      bytes = 0;
    };
    for await (const slice of slices) {
      for (const record of slice) {
        if (this.isSettled(record)) continue;
        const item = this.#itemOf(record);
        const isFull = batch.length === limits.records || bytes + item.data.length > limits.bytes;
        const isLater = this.#again.size > 0 && !this.#isBehind(record);
        if (isFull || isLater) await flush();
        if (item.data.length > limits.recordBytes) {
          // In its turn: what is before it may still have to go again.
          await flush();
          this.#refuse(item, tooLarge(item, limits.recordBytes));
          continue;
        }
        batch.push(item);
        bytes += item.data.length;
      }
    }
    await flush();
  }

  /** Hands a batch over, as often as needed. @throws SinkError, Postponed to be called again later */
  async #handOver(items: readonly Item[], signal: AbortSignal): Promise<void> {
    for (let left = items; left.length > 0;) {
      let outcomes: readonly (SinkError | null)[];
      try {
        outcomes = await this.#deliver(left, signal);
      } catch (error) {
        if (!isOfRecords(error)) throw error;
        if (left.length === 1) {
          this.#settle(left, [error]);
          return;
        }
        const middle = Math.ceil(left.length / 2);
        await this.#handOver(left.slice(0, middle), signal);
        await this.#handOver(left.slice(middle), signal);
        return;
      }
      const worst = this.#settle(left, outcomes);
      if (worst === null) {
        this.#worker.progress.recovered(this.#worker.name);
        return;
      }
      await this.#wait(worst);
      left = left.filter((item) => this.#again.has(positionName(item)));
    }
  }

  /** One call. */
  async #deliver(
    items: readonly Item[],
    signal: AbortSignal,
  ): Promise<readonly (SinkError | null)[]> {
    const { clock, bandwidth, gate } = this.#worker;
    // Between two batches it may have been held back: what is left goes once it may.
    if (gate.held !== null) throw new Postponed(new SinkError('aborted', gate.held.reason), 0);
    const bytes = items.reduce((sum, { data }) => sum + data.length, 0);
    const urgency = urgencyOf(this.#worker, this.#inHand.detail.oldestMs);
    const id = uuidV5(keyNamespace, JSON.stringify(['batch', ...items.map((item) => item.id)]));
    const limitMs = Math.max(attemptLimitMs(bytes), this.#sink.attemptMs ?? 0);
    const outcomes = await within(clock, limitMs, signal, async (inner, hold) => {
      await hold(bandwidth.take(bytes, urgency, inner));
      return this.#sink.deliver({ id, items }, inner);
    });
    if (outcomes.length !== items.length) {
      throw new Error(`${this.#sink.kind} told of ${outcomes.length} items of ${items.length}`);
    }
    return outcomes;
  }

  /** Notes what became of items; returns why some go again, if some do. */
  #settle(items: readonly Item[], outcomes: readonly (SinkError | null)[]): SinkError | null {
    const errors: SinkError[] = [];
    let taken = 0;
    for (const [index, item] of items.entries()) {
      const error = outcomes[index] ?? null;
      if (error === null) {
        taken += 1;
        this.sent.bytes += item.data.length;
        this.#leave(item);
      } else if (isOfRecords(error)) {
        this.#refuse(item, error);
      } else {
        const name = positionName(item);
        this.#again.set(name, (this.#again.get(name) ?? 0) + 1);
        this.#pass(item);
        errors.push(error);
      }
    }
    if (taken > 0) {
      this.sent.records += taken;
      this.sent.objects += 1;
      this.#inHand.budget.taken();
      this.#worker.backOff.beginAnew();
    }
    // What time alone does not mend is worth being told of first.
    return errors.find(({ retryable }) => !retryable) ?? errors[0] ?? null;
  }

  /** It is done with, and so is all before it but what goes again. */
  #leave(item: Item): void {
    this.#again.delete(positionName(item));
    this.#pass(item);
  }

  #pass({ sequence, subSequence }: Item): void {
    if (!this.#isBehind({ sequence, subSequence })) this.#upTo = { sequence, subSequence };
  }

  #refuse(item: Item, { code: errorCode, message: errorMessage }: SinkError): void {
    const { sequence, subSequence } = item;
    const attempts = 1 + (this.#again.get(positionName(item)) ?? 0);
    const { stage } = this;
    this.failures.push({ sequence, subSequence, stage, errorCode, errorMessage, attempts });
    this.#leave(item);
  }

  /** Waits with the batch in memory, unless that takes too long. @throws Postponed, AttemptsOver */
  async #wait(error: SinkError): Promise<void> {
    const { clock, signal } = this.#worker;
    signal.throwIfAborted();
    const delayMs = failedFor(this.#worker, this.#inHand, error);
    if (delayMs > heldMsMax) throw new Postponed(error, delayMs);
    await pause(clock, delayMs, signal);
    signal.throwIfAborted();
  }

  #itemOf(record: ShapedRecord): Item {
    const { sequence, subSequence, partitionKey, explicitHashKey, arrivalMs } = record;
    const { detail, source } = this.#inHand;
    const origin = record.origin ?? { ...source.origin, sequence, subSequence };
    return {
      ...{ sequence, subSequence, partitionKey, arrivalMs },
      ...(explicitHashKey !== undefined && { explicitHashKey }),
      id: recordIdOf(detail.scope, origin),
      data: this.#dataOf(record),
    };
  }

  #dataOf(record: ShapedRecord): Buffer {
    const { detail, source } = this.#inHand;
    if (detail.shape.record === 'data') return record.data;
    const line = Buffer.concat(recordLine(record, 'envelope', source.origin.shardIndex));
    return line.subarray(0, -1);
  }
}

function tooLarge({ sequence, data }: Item, recordBytes: number): SinkError {
  return new SinkError(
    'too-large',
    `record ${sequence} has ${data.length} bytes, and the destination takes ${recordBytes}`,
  );
}
