/**
 * The records of one shard that are read but not yet taken by a record sink, in a queue per
 * partition key; or per group of keys, where the sink takes several records packed into one.
 *
 * A call carries at most one record of a key. The sink may take any of a call's records and leave
 * others, so with two of one key in a call the later one could get in alone, and the order would
 * be lost for good. (A packed record is taken or left as one.) A record that was left stays at the head of its queue and holds back its own
 * key only, each key with its own back-off: one throttled shard upstream does not slow the others.
 *
 * Bounded in records and bytes, its own and those of all deliveries (`queue-budget.ts`): a full one
 * is not filled further until its oldest are taken.
 */
import { BackOff } from './backoff.ts';
import type { QueueBudget } from './queue-budget.ts';
import {
  recordBytes,
  type OutgoingRecord,
  type Packing,
  type RecordSink,
  type SinkError,
} from './sink.ts';

export interface QueuedRecord extends OutgoingRecord {
  readonly sequence: number;
  readonly arrivalMs: number;
}

interface Queue {
  readonly records: QueuedRecord[];
  readonly backOff: BackOff;
  notBeforeMs: number;
}

/** One record of a call, and the records of ours that it stands for. */
export interface Entry {
  readonly record: OutgoingRecord;
  /** The heads of one queue. */
  readonly of: readonly QueuedRecord[];
}

export class KeyQueues {
  readonly #limits: RecordSink['limits'];
  readonly #packing: Packing | null;
  readonly #budget: QueueBudget;
  readonly #random: () => number;
  readonly #maxRecords: number;
  readonly #maxBytes: number;
  readonly #queues = new Map<string, Queue>();
  readonly #failing = new Set<string>();
  #records = 0;
  #bytes = 0;
  #highestTaken = -1;

  constructor(options: {
    readonly limits: RecordSink['limits'];
    readonly packing: Packing | null;
    readonly budget: QueueBudget;
    readonly random: () => number;
  }) {
    const { limits, packing, budget, random } = options;
    this.#limits = limits;
    this.#packing = packing;
    this.#budget = budget;
    this.#random = random;
    this.#maxRecords = limits.records * (packing === null ? 10 : 200);
    this.#maxBytes = limits.bytes * 2;
  }

  get empty(): boolean {
    return this.#records === 0;
  }

  /** Whether a record is there that was left by its latest call. */
  get failing(): boolean {
    return this.#failing.size > 0;
  }

  /** Enough for a full call. */
  get wellFilled(): boolean {
    return this.#bytes >= this.#limits.bytes || this.#records >= this.#maxRecords / 2;
  }

  /** How many more fit now. The last slice read may go past the limit in bytes by its own size. */
  get room(): { readonly records: number; readonly bytes: number } {
    return {
      records: Math.max(0, this.#maxRecords - this.#records),
      bytes: Math.min(Math.max(0, this.#maxBytes - this.#bytes), this.#budget.roomFor(this.#bytes)),
    };
  }

  /** Lets go of what is left. */
  close(): void {
    this.#count(-this.#records, -this.#bytes);
    this.#queues.clear();
  }

  /**
   * Lets go of the records behind the last one that was taken; those before it stay, as what lies
   * between was taken.
   * @returns the first of those; null: there are none
   */
  forgetUntouched(): number | null {
    let first: number | null = null;
    for (const [name, queue] of this.#queues) {
      const at = queue.records.findIndex(({ sequence }) => sequence > this.#highestTaken);
      const gone = at < 0 ? [] : queue.records.splice(at);
      for (const { sequence } of gone.slice(0, 1)) first = Math.min(first ?? sequence, sequence);
      this.#count(-gone.length, -gone.reduce((sum, record) => sum + recordBytes(record), 0));
      if (queue.records.length > 0) continue;
      this.#queues.delete(name);
      this.#failing.delete(name);
    }
    return first;
  }

  #count(records: number, bytes: number): void {
    this.#records += records;
    this.#budget.change(this.#bytes, this.#bytes + bytes);
    this.#bytes += bytes;
  }

  add(record: QueuedRecord): void {
    this.#count(1, recordBytes(record));
    const name = this.#queueOf(record);
    const queue = this.#queues.get(name);
    if (queue !== undefined) {
      queue.records.push(record);
      return;
    }
    const backOff = new BackOff(this.#random);
    this.#queues.set(name, { records: [record], backOff, notBeforeMs: 0 });
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

  /** What may be sent now, as much as a call takes: of each queue its head, or several in one. */
  nextCall(nowMs: number): readonly Entry[] {
    const call: Entry[] = [];
    let bytes = 0;
    for (const [name, queue] of this.#queues) {
      const [head] = queue.records;
      if (head === undefined || queue.notBeforeMs > nowMs) continue;
      const room = this.#limits.bytes - bytes;
      if (call.length > 0 && recordBytes(head) > room) continue;
      const entry = this.#entryOf(name, head, queue.records, room);
      call.push(entry);
      bytes += recordBytes(entry.record);
      if (call.length === this.#limits.records) break;
    }
    return call;
  }

  #entryOf(
    name: string,
    head: QueuedRecord,
    records: readonly QueuedRecord[],
    room: number,
  ): Entry {
    if (this.#packing === null) return { record: head, of: [head] };
    const maxBytes = Math.min(this.#limits.recordBytes, room);
    const { count, record } = this.#packing.pack(name, records, maxBytes);
    return { record, of: records.slice(0, count) };
  }

  #queueOf(record: QueuedRecord): string {
    return this.#packing === null ? record.partitionKey : this.#packing.groupOf(record);
  }

  /** The queue that an entry is of: its partition key, or its group. */
  nameOf({ of: [head] }: Entry): string {
    return head === undefined ? '' : this.#queueOf(head);
  }

  /** When the first queue that is held back may be sent again. */
  nextAttemptMs(): number {
    return Math.min(...[...this.#queues.values()].map((queue) => queue.notBeforeMs));
  }

  /** The entry was taken. Its queue goes to the back, so that every key gets its turn. */
  taken(entry: Entry): void {
    const { of } = entry;
    const [name, queue] = this.#find(entry);
    queue.records.splice(0, of.length);
    this.#highestTaken = Math.max(this.#highestTaken, of.at(-1)?.sequence ?? -1);
    queue.backOff.beginAnew();
    this.#failing.delete(name);
    this.#count(-of.length, -of.reduce((sum, record) => sum + recordBytes(record), 0));
    this.#queues.delete(name);
    if (queue.records.length > 0) this.#queues.set(name, queue);
  }

  /** The entry was left. Returns how long its queue now waits. */
  left(entry: Entry, error: SinkError, nowMs: number): number {
    const [name, queue] = this.#find(entry);
    const delayMs = queue.backOff.failed(error);
    queue.notBeforeMs = nowMs + delayMs;
    this.#failing.add(name);
    return delayMs;
  }

  #find(entry: Entry): [string, Queue] {
    const name = this.nameOf(entry);
    const queue = this.#queues.get(name);
    if (queue === undefined || queue.records[0] !== entry.of[0]) {
      throw new Error('a record was sent out of turn');
    }
    return [name, queue];
  }
}
