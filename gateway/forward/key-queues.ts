/**
 * The records of one shard that are read but not yet taken by a record sink, in a queue per
 * partition key.
 *
 * A call carries at most one record of a key. The sink may take any of a call's records and leave
 * others, so with two of one key in a call the later one could get in alone, and the order would
 * be lost for good. A record that was left stays at the head of its queue and holds back its own
 * key only, each key with its own back-off: one throttled shard upstream does not slow the others.
 *
 * Bounded in records and bytes: a full one is not filled further until its oldest are taken.
 */
import { BackOff } from './backoff.ts';
import { recordBytes, SinkError, type OutgoingRecord, type RecordSink } from './sink.ts';

export interface QueuedRecord extends OutgoingRecord {
  readonly sequence: number;
  readonly arrivalMs: number;
}

interface Queue {
  readonly records: QueuedRecord[];
  readonly backOff: BackOff;
  notBeforeMs: number;
}

/** What one call will carry. */
export interface Batch {
  readonly records: readonly QueuedRecord[];
  readonly bytes: number;
}

export class KeyQueues {
  readonly #limits: RecordSink['limits'];
  readonly #random: () => number;
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  readonly #queues = new Map<string, Queue>();
  readonly #failing = new Set<string>();
  #records = 0;
  #bytes = 0;

  constructor(limits: RecordSink['limits'], random: () => number) {
    this.#limits = limits;
    this.#random = random;
    this.#maxRecords = limits.records * 10;
    this.#maxBytes = limits.bytes * 2;
  }

  get empty(): boolean {
    return this.#records === 0;
  }

  /** Whether a record is there that was left by its latest call. */
  get failing(): boolean {
    return this.#failing.size > 0;
  }

  /** How many more fit now. The last slice read may go past the limit in bytes by its own size. */
  get room(): { readonly records: number; readonly bytes: number } {
    return {
      records: Math.max(0, this.#maxRecords - this.#records),
      bytes: Math.max(0, this.#maxBytes - this.#bytes),
    };
  }

  add(record: QueuedRecord): void {
    this.#records += 1;
    this.#bytes += recordBytes(record);
    const queue = this.#queues.get(record.partitionKey);
    if (queue !== undefined) {
      queue.records.push(record);
      return;
    }
    const backOff = new BackOff(this.#random);
    this.#queues.set(record.partitionKey, { records: [record], backOff, notBeforeMs: 0 });
  }

  /** The lowest sequence number not yet taken; null when there is none. */
  lowest(): number | null {
    let lowest: number | null = null;
    for (const { records } of this.#queues.values()) {
      const head = records[0];
      if (head !== undefined && (lowest === null || head.sequence < lowest)) lowest = head.sequence;
    }
    return lowest;
  }

  /** The heads of the queues that may be sent now, as many as a call takes. */
  nextBatch(nowMs: number): Batch {
    const batch: QueuedRecord[] = [];
    let bytes = 0;
    for (const queue of this.#queues.values()) {
      const head = queue.records[0];
      if (head === undefined || queue.notBeforeMs > nowMs) continue;
      const size = recordBytes(head);
      if (batch.length > 0 && bytes + size > this.#limits.bytes) continue;
      batch.push(head);
      bytes += size;
      if (batch.length === this.#limits.records) break;
    }
    return { records: batch, bytes };
  }

  /** When the first queue that is held back may be sent again. */
  nextAttemptMs(): number {
    return Math.min(...[...this.#queues.values()].map((queue) => queue.notBeforeMs));
  }

  /** The record was taken. Its key goes to the back, so that every key gets its turn. */
  taken(record: QueuedRecord): void {
    const queue = this.#queues.get(record.partitionKey);
    if (queue?.records[0] !== record) throw new Error('a record was taken out of turn');
    queue.records.shift();
    queue.backOff.succeeded();
    this.#failing.delete(record.partitionKey);
    this.#records -= 1;
    this.#bytes -= recordBytes(record);
    this.#queues.delete(record.partitionKey);
    if (queue.records.length > 0) this.#queues.set(record.partitionKey, queue);
  }

  /** The record was left. Returns how long its key now waits. */
  left(record: QueuedRecord, error: SinkError, nowMs: number): number {
    const queue = this.#queues.get(record.partitionKey);
    if (queue === undefined) throw new Error('a record was left that is not there');
    const delayMs = queue.backOff.failed(error);
    queue.notBeforeMs = nowMs + delayMs;
    this.#failing.add(record.partitionKey);
    return delayMs;
  }
}
