/**
 * Which batches of a shard become one, and what they become. Nothing here reads or writes anything:
 * when it is done, and in what transaction, is the business of `compaction.ts`.
 */
import { StorageError } from '../errors.ts';
import type { StreamOptions } from '../model.ts';
import {
  arrivalSpanMaxMs,
  batchHeaderBytes,
  decodeBatch,
  encodeBatch,
  isEncrypted,
} from './batch.ts';
import type { TimedRecord } from './batch.ts';
import type { BatchRow, NewBatch, SizedRow } from './batch-table.ts';
import { plainBatch } from './compressed-batch.ts';

/** A batch of this size is not joined any further. */
const targetBytesMax = 128 * 1024;
const windowMaxMs = 60 * 60 * 1000;
/** A stream's retention and budget have at least so many batches. */
const batchesPerStream = 16;
/** Batches that become one: it bounds the time of the transaction. */
const runRowsMax = 4096;

/** What the joining of a stream's batches keeps to. */
export interface JoinLimits {
  readonly targetBytes: number;
  /** Large batches are rewritten too, each for itself. */
  readonly compress: boolean;
  /** How far apart in arrival the newest records of two batches in one may be. */
  readonly windowMs: number;
}

export function joinLimits({ retentionMs, maxBytes, compression }: StreamOptions): JoinLimits {
  return {
    compress: compression === 'deflate',
    targetBytes: Math.min(targetBytesMax, Math.floor((maxBytes ?? Infinity) / batchesPerStream)),
    windowMs: Math.min(windowMaxMs, Math.floor(retentionMs / batchesPerStream)),
  };
}

export function endOf(row: BatchRow): number {
  return row.first_sequence + row.record_count;
}

/** Batches that follow each other and may become one. */
export class Run {
  readonly rows: SizedRow[] = [];
  readonly #limits: JoinLimits;
  /** What they take up as one. */
  bytes = 0;
  #lowMs = Infinity;
  #highMs = -Infinity;

  constructor(limits: JoinLimits) {
    this.#limits = limits;
  }

  /** About when the first of them arrived. */
  get sinceMs(): number {
    return this.rows[0]?.high_arrival_ms ?? 0;
  }

  /** Nothing more belongs to it. */
  get complete(): boolean {
    return (
      this.bytes >= this.#limits.targetBytes || this.rows.length >= runRowsMax || this.#isLarge
    );
  }

  /** There is something to gain by rewriting it. */
  get worthwhile(): boolean {
    return this.rows.length > 1 || (this.#isLarge && this.#limits.compress);
  }

  get #isLarge(): boolean {
    return this.bytes > this.#limits.targetBytes / 2 && this.rows.length === 1;
  }

  /** Takes the next batch of the shard, unless it does not belong to this run. */
  add(row: SizedRow): boolean {
    const last = this.rows.at(-1);
    const lowMs = Math.min(this.#lowMs, row.high_arrival_ms);
    const highMs = Math.max(this.#highMs, row.high_arrival_ms);
    if (
      this.complete ||
      // Repair leaves an empty one in the place of records that are lost.
      row.stored_bytes === 0 ||
      (row.stored_bytes > this.#limits.targetBytes / 2 && last !== undefined) ||
      (last !== undefined && endOf(last) !== row.first_sequence) ||
      highMs - lowMs > this.#limits.windowMs
    ) {
      return false;
    }
    this.rows.push(row);
    this.bytes += row.stored_bytes - (last === undefined ? 0 : batchHeaderBytes);
    this.#lowMs = lowMs;
    this.#highMs = highMs;
    return true;
  }
}

/** The batch that batches become, as they are added. */
export class JoinedBatch {
  readonly #shardId: number;
  readonly #open: (body: Buffer) => Promise<Buffer>;
  readonly #records: TimedRecord[] = [];
  #last: SizedRow | null = null;
  #isFull = false;
  #wasSealed = false;
  #lowMs = Infinity;
  #highMs = -Infinity;
  #count = 0;
  #storedBytes = 0;

  /** @param open gives the open form of a sealed batch */
  constructor(shardId: number, open: (body: Buffer) => Promise<Buffer>) {
    this.#shardId = shardId;
    this.#open = open;
  }

  /** How many batches are in it. */
  get count(): number {
    return this.#count;
  }

  /** What they took up. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** The last batch that was added was not taken, and no further one will be. */
  get isFull(): boolean {
    return this.#isFull;
  }

  /** One of them at least was sealed. */
  get wasSealed(): boolean {
    return this.#wasSealed;
  }

  /**
   * Takes the next batch; after one that is not sound, none any more.
   * @throws StorageError `wrong-key`, `key-unavailable`
   */
  async add(row: SizedRow, body: Buffer): Promise<void> {
    if (this.#isFull) return;
    const records = await soundRecords(row, body, this.#open);
    let lowMs = this.#lowMs;
    let highMs = this.#highMs;
    for (const { arrivalMs } of records ?? []) {
      lowMs = Math.min(lowMs, arrivalMs);
      highMs = Math.max(highMs, arrivalMs);
    }
    if (records === null || highMs - lowMs > arrivalSpanMaxMs) {
      this.#isFull = true;
      return;
    }
    for (const record of records) this.#records.push(record);
    this.#wasSealed ||= isEncrypted(body);
    this.#lowMs = lowMs;
    this.#highMs = highMs;
    this.#count += 1;
    this.#storedBytes += row.stored_bytes;
    this.#last = row;
  }

  /** The batch of all that was added; null when that was nothing. */
  toBatch(): NewBatch | null {
    if (this.#last === null) return null;
    const recordCount = this.#records.length;
    const firstSequence = endOf(this.#last) - recordCount;
    return {
      shardId: this.#shardId,
      firstSequence,
      recordCount,
      highArrivalMs: this.#highMs,
      runningArrivalMs: this.#last.running_arrival_ms,
      endBytes: this.#last.end_bytes,
      body: encodeBatch(firstSequence, this.#records),
    };
  }
}

/** The records of a batch; null when it is corrupt, is not its row's, or is a later release's. */
async function soundRecords(
  row: SizedRow,
  body: Buffer,
  open: (body: Buffer) => Promise<Buffer>,
): Promise<readonly TimedRecord[] | null> {
  try {
    const records = decodeBatch(await plainBatch(await open(body)));
    const isTheRow =
      records.length === row.record_count && records[0]?.sequence === row.first_sequence;
    if (!isTheRow) return null;
    return records.map(({ partitionKey, data, arrivalMs }) => {
      return { partitionKey, keyBytes: Buffer.byteLength(partitionKey), data, arrivalMs };
    });
  } catch (error) {
    const known =
      error instanceof StorageError &&
      (error.code === 'corrupt' || error.code === 'version-too-new');
    if (!known) throw error;
    return null;
  }
}
