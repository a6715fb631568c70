/**
 * Reading a shard: by sequence number, by time, and how much lies behind a position.
 *
 * Invariants
 * - What is read was committed before the call: the shard's position in memory is the bound, not
 *   what the reader's connection happens to see.
 * - What readers at the head want is in memory (`tail-cache.ts`), and for a while what was loaded last
 *   (`read-cache.ts`). Everything else is loaded from the disk in slices of bounded bytes, each by one
 *   statement that runs to its end; reads wait for each other rather than hold more than
 *   `coldBytesMax` together, or load the same.
 * - Between two statements compaction may have joined batches: what one statement said of a batch
 *   is never held against another, only sequence numbers are.
 * - A corrupt batch costs its own records and nothing else. It is reported once, and counted by
 *   every read that skips it. One that does not open with the keys at hand is not passed over: the
 *   read fails, for nothing is lost.
 */
import { setImmediate } from 'node:timers/promises';
import { StorageError } from '../errors.ts';
import type { Losses } from '../losses.ts';
import type { LogRecord, ReadOptions, ReadResult } from '../model.ts';
import type { Counter, Logger, Metrics } from '../ports.ts';
import { batchBody, firstArrivalAt, recordOverheadBytes, recordsOf, verifyBatch } from './batch.ts';
import type { PlainBatch } from './batch.ts';
import { batchAt, batchRowAt, batchSlice, nextBatchBegin, trimSequenceNow } from './batch-table.ts';
import type { BatchRow, FullRow, Queries, StoredBatch } from './batch-table.ts';
import { plainBody } from './compressed-batch.ts';
import { ReadBudget } from './read-budget.ts';
import type { ReadCache } from './read-cache.ts';
import { isKeyTrouble, type Sealing } from './sealing.ts';
import type { Shard } from './streams.ts';
import type { TailCache } from './tail-cache.ts';

/** Bytes of BLOBs loaded by one statement, beyond the first. */
const sliceBytes = 1024 * 1024;
/** Batches looked at by one statement: few at first, for the batches may be large. */
const firstSliceRows = 8;
const sliceRowsMax = 512;
/** What all reads from the disk together hold until they have what they return. */
const coldBytesMax = 64 * 1024 * 1024;
/** Corrupt batches remembered as reported; past that the oldest is reported again. */
const reportedMax = 10_000;

export interface LogReaderOptions {
  readonly queries: Queries;
  readonly tail: TailCache;
  readonly readCache: ReadCache;
  readonly sealing: Sealing;
  readonly losses: Losses;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class LogReader {
  readonly #queries: Queries;
  readonly #tail: TailCache;
  readonly #cache: ReadCache;
  /** Where slices are being loaded from, by shard. */
  readonly #loading = new Map<Shard, Map<number, Promise<void>>>();
  readonly #sealing: Sealing;
  readonly #budget = new ReadBudget(coldBytesMax);
  readonly #losses: Losses;
  readonly #logger: Logger;
  readonly #corruptBatches: Counter;
  readonly #readBatches: Counter;
  readonly #reported = new Set<string>();

  constructor({ queries, tail, readCache, sealing, losses, logger, metrics }: LogReaderOptions) {
    this.#queries = queries;
    this.#tail = tail;
    this.#cache = readCache;
    this.#sealing = sealing;
    this.#losses = losses;
    this.#logger = logger;
    this.#readBatches = metrics.counter(
      'headgate_log_read_batches_total',
      'Batches that readers got, from memory or from the disk.',
    );
    this.#corruptBatches = metrics.counter(
      'headgate_log_corrupt_batches_total',
      'Batches found to be corrupt, each counted once per start.',
    );
  }

  /** @throws StorageError `invalid-argument` */
  async read(shard: Shard, options: ReadOptions): Promise<ReadResult> {
    checkReadOptions(options);
    const { nextSequence: end, newestArrivalMs } = shard.position;
    // Closed while this read goes on, it may have taken more before.
    const isClosed = shard.closedMs !== null;
    const cursor = new Cursor(options);
    cursor.skipTrimmed(shard.position.trimSequence);
    let release: (() => void) | null = null;
    try {
      for (let rows = firstSliceRows; !cursor.full && cursor.next < end;) {
        if (await this.#readMemory(shard, cursor, end)) continue;
        if (release === null) {
          release = await this.#budget.take(options.maxBytes + sliceBytes);
          // Others may have loaded it meanwhile.
          continue;
        }
        const loading = this.#loading.get(shard)?.get(cursor.next);
        if (loading !== undefined) {
          await loading;
          continue;
        }
        await this.#load(shard, cursor, end, rows);
        rows = Math.min(rows * 4, sliceRowsMax);
      }
    } finally {
      release?.();
    }
    if (cursor.next >= end) this.#tail.follow(shard);
    const last = cursor.records.at(-1);
    const behind = Math.max(0, end - cursor.next);
    return {
      records: cursor.records,
      nextSequence: cursor.next,
      endOfShard: isClosed && cursor.next >= end,
      recordsBehind: behind,
      millisBehind:
        behind === 0 || last === undefined ? 0 : Math.max(0, newestArrivalMs - last.arrivalMs),
      skipped: { trimmed: cursor.trimmed, corrupt: cursor.corrupt },
    };
  }

  /** Takes what is in memory from where the read is; false when nothing is. */
  async #readMemory(shard: Shard, cursor: Cursor, end: number): Promise<boolean> {
    let decodedBytes = 0;
    let batches = 0;
    let isCold = false;
    while (!cursor.full && cursor.next < end && decodedBytes < sliceBytes) {
      const kept = this.#tail.find(shard, cursor.next);
      const records = kept?.records ?? this.#cache.find(shard, cursor.next);
      if (records === null) break;
      cursor.take(records, end);
      decodedBytes += kept?.decodedBytes ?? 0;
      isCold ||= kept === null;
      batches += 1;
    }
    if (batches > 0) this.#readBatches.add(batches, { from: 'memory' });
    // Who comes first decodes for all others, and must not hold up everything for it; nor must who
    // goes through a backlog that is in memory.
    if (isCold || decodedBytes >= sliceBytes) await setImmediate();
    return batches > 0;
  }

  /** As `readSlice`, known to others who want the same. */
  async #load(shard: Shard, cursor: Cursor, end: number, rows: number): Promise<void> {
    const ofShard = this.#loading.get(shard) ?? new Map<number, Promise<void>>();
    this.#loading.set(shard, ofShard);
    const from = cursor.next;
    const loading = this.#readSlice(shard, cursor, end, rows);
    // They have only to know that it is over, and find out for themselves what is wrong.
    ofShard.set(
      from,
      loading.catch(() => undefined),
    );
    try {
      await loading;
    } finally {
      ofShard.delete(from);
      if (ofShard.size === 0) this.#loading.delete(shard);
    }
  }

  /** Takes what one statement loads from where the read is; at least it gets past a gap there. */
  async #readSlice(shard: Shard, cursor: Cursor, end: number, rows: number): Promise<void> {
    const limits = { rows, bytes: Math.min(sliceBytes, cursor.maxBytes) };
    const slice = await batchSlice(this.#queries, shard.id, cursor.next, limits);
    if (slice.length === 0) await this.#skipGap(shard, cursor, end);
    this.#readBatches.add(slice.length, { from: 'disk' });
    for (const [index, stored] of slice.entries()) {
      if (cursor.full) return;
      if (stored.first_sequence > cursor.next) {
        await this.#skipGap(shard, cursor, Math.min(stored.first_sequence, end));
      }
      if (cursor.next >= end) return;
      const skip = cursor.next - stored.first_sequence;
      const records = await this.#opened(shard, stored, (plain) => {
        const found = recordsIn(plain, stored, skip);
        this.#cache.add(shard, found, plain.body.length);
        return found;
      });
      if (records !== null) cursor.take(records, end);
      else cursor.skipCorrupt(await this.#endOfDamage(shard, stored, slice[index + 1], end));
    }
  }

  /** Between two batches lies nothing: retention was quicker than this read, or a row is lost. */
  async #skipGap(shard: Shard, cursor: Cursor, to: number): Promise<void> {
    const trimSequence = await trimSequenceNow(this.#queries, shard.id);
    cursor.skipTrimmed(Math.min(to, trimSequence ?? to));
    if (cursor.next >= to) return;
    const lost = { first_sequence: cursor.next, record_count: to - cursor.next };
    this.#report(shard, lost, new StorageError('corrupt', 'there is no batch for these records'));
    cursor.skipCorrupt(to);
  }

  /** A corrupt batch ends where the next one begins: its own row may lie about its length. */
  async #endOfDamage(
    shard: Shard,
    stored: StoredBatch,
    following: StoredBatch | undefined,
    end: number,
  ): Promise<number> {
    if (following !== undefined) return following.first_sequence;
    const next = await nextBatchBegin(this.#queries, shard.id, stored.first_sequence);
    return Math.min(next ?? end, end);
  }

  /** What `look` finds in a batch that was made plain, or null when it is corrupt. */
  async #opened<T>(
    shard: Shard,
    stored: StoredBatch,
    look: (plain: PlainBatch) => T,
  ): Promise<T | null> {
    // Records that repair found lost, and counted (`repair.ts`).
    if (stored.body?.length === 0) return null;
    try {
      // On a damaged page a column can be of any kind.
      if (!Buffer.isBuffer(stored.body)) throw new StorageError('corrupt', 'its page is damaged');
      const blob = stored.body;
      const header = verifyBatch(blob);
      const { keyId, compressed, plainBytes } = header;
      const open =
        keyId === null ? batchBody(blob) : await this.#sealing.openBody(shard, blob, keyId);
      return look({ header, body: compressed ? await plainBody(open, plainBytes) : open });
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
      this.#report(shard, stored, error);
      return null;
    }
  }

  #report(shard: Shard, stored: Omit<StoredBatch, 'body'>, error: StorageError): void {
    const key = `${shard.id}:${stored.first_sequence}`;
    if (this.#reported.has(key)) return;
    if (this.#reported.size >= reportedMax) this.#reported.clear();
    this.#reported.add(key);
    this.#corruptBatches.add();
    const { name } = shard.stream.options;
    this.#losses.addDamage('records-corrupt', name, key, { count: stored.record_count });
    this.#logger.error(
      {
        stream: shard.stream.options.name,
        shard: shard.index,
        firstSequence: stored.first_sequence,
        records: stored.record_count,
        error,
      },
      'A batch of the log is corrupt: its records are skipped, everything else is served.',
    );
  }

  /**
   * The lowest sequence number whose arrival is at or after `timestampMs`: the place where the
   * highest arrival so far reaches it, so a clock that stepped back hides nothing. When retention
   * has deleted that place, the trim horizon; when there is none yet, the head.
   */
  async sequenceAt(shard: Shard, timestampMs: number): Promise<number> {
    const { trimSequence, nextSequence, trimArrivalMs, runningArrivalMs } = shard.position;
    if (trimSequence === nextSequence || timestampMs > runningArrivalMs) return nextSequence;
    if (timestampMs <= trimArrivalMs) return trimSequence;
    let found: BatchRow | null = null;
    let low = trimSequence;
    let high = nextSequence;
    let lowMs = trimArrivalMs;
    let highMs = runningArrivalMs;
    for (let probe = 0; low < high; probe += 1) {
      // Records mostly come at a steady pace: guesses find in a few rows what halving finds in many.
      const share = guess(probe, (timestampMs - lowMs) / (highMs - lowMs), lowMs > 0);
      const middle = Math.min(low + Math.floor((high - low) * share), high - 1);
      const row = await batchRowAt(this.#queries, shard.id, middle);
      if (row === undefined) {
        low = middle + 1;
      } else if (row.running_arrival_ms >= timestampMs) {
        found = row;
        high = row.first_sequence;
        highMs = row.running_arrival_ms;
      } else {
        low = Math.max(middle + 1, row.first_sequence + row.record_count);
        lowMs = row.running_arrival_ms;
      }
    }
    if (found === null) return nextSequence;
    const row = await this.#batchAt(shard, found.first_sequence);
    if (row === null) return found.first_sequence;
    const first = await this.#opened(shard, row, (plain) => firstArrivalAt(plain, timestampMs));
    return Math.max(first ?? 0, found.first_sequence);
  }

  /** What lies at and behind a position; bytes as they were appended, before compaction. */
  async backlog(
    shard: Shard,
    fromSequence: number,
  ): Promise<{ records: number; bytes: number; oldestArrivalMs: number | null }> {
    const { trimSequence, nextSequence, trimBytes, endBytes, runningArrivalMs } = shard.position;
    const from = Math.max(fromSequence, trimSequence);
    if (from >= nextSequence) return { records: 0, bytes: 0, oldestArrivalMs: null };
    const records = nextSequence - from;
    const full = await this.#batchAt(shard, from);
    const row = full ?? (await batchRowAt(this.#queries, shard.id, from));
    if (row === undefined) {
      return { records, bytes: endBytes - trimBytes, oldestArrivalMs: runningArrivalMs };
    }
    const skip = from - row.first_sequence;
    const rest =
      full !== null && skip < row.record_count ? await this.#decodeIfOpen(shard, full, skip) : [];
    const restBytes = rest?.reduce((sum, record) => sum + sizeOf(record), 0) ?? 0;
    return {
      records,
      bytes: Math.max(0, endBytes - row.end_bytes) + restBytes,
      oldestArrivalMs: rest?.[0]?.arrivalMs ?? row.high_arrival_ms,
    };
  }

  /** What lies behind a position is known without the records at it. */
  async #decodeIfOpen(shard: Shard, row: FullRow, skip: number): Promise<LogRecord[] | null> {
    try {
      return await this.#opened(shard, row, (plain) => recordsIn(plain, row, skip));
    } catch (error) {
      if (isKeyTrouble(error)) return null;
      throw error;
    }
  }

  /** The batch that holds `sequence`, or the last one before it; null when it can't be read. */
  async #batchAt(shard: Shard, sequence: number): Promise<FullRow | null> {
    try {
      return (await batchAt(this.#queries, shard.id, sequence)) ?? null;
    } catch (error) {
      if (error instanceof StorageError && error.code === 'corrupt') return null;
      throw error;
    }
  }
}

/**
 * The records of a batch after the first `skip`.
 * @throws StorageError `corrupt`
 */
function recordsIn(plain: PlainBatch, stored: StoredBatch, skip: number): LogRecord[] {
  const records = recordsOf(plain, skip);
  if (
    records.length !== stored.record_count - skip ||
    records[0]?.sequence !== stored.first_sequence + skip
  ) {
    throw new StorageError('corrupt', 'the batch is not the one its row speaks of');
  }
  return records;
}

/** How far a read has come. */
class Cursor {
  next: number;
  readonly maxRecords: number;
  readonly maxBytes: number;
  readonly records: LogRecord[] = [];
  /** A limit is reached. */
  full = false;
  trimmed = 0;
  corrupt = 0;
  #bytes = 0;

  constructor({ fromSequence, maxRecords, maxBytes }: ReadOptions) {
    this.next = fromSequence;
    this.maxRecords = maxRecords;
    this.maxBytes = maxBytes;
  }

  skipTrimmed(to: number): void {
    if (to <= this.next) return;
    this.trimmed += to - this.next;
    this.next = to;
  }

  skipCorrupt(to: number): void {
    if (to <= this.next) return;
    this.corrupt += to - this.next;
    this.next = to;
  }

  /** Takes records before `end` until a limit is reached. */
  take(records: readonly LogRecord[], end: number): void {
    for (const record of records) {
      if (record.sequence >= end) return;
      const bytes = this.#bytes + record.data.length;
      if (this.records.length > 0 && bytes > this.maxBytes) {
        this.full = true;
        return;
      }
      this.records.push(record);
      this.#bytes = bytes;
      this.next = record.sequence + 1;
      if (this.records.length >= this.maxRecords) {
        this.full = true;
        return;
      }
    }
    if (this.#bytes >= this.maxBytes) this.full = true;
  }
}

/**
 * Where between its ends to look next: every third time in the middle, so that there are few steps
 * whatever the pace was.
 * @param isKnown when the first end was; before anything was trimmed, a look at it tells
 */
function guess(probe: number, share: number, isKnown: boolean): number {
  if (probe === 0 && !isKnown) return 0;
  return isKnown && probe % 3 !== 2 && share >= 0 && share <= 1 ? share : 0.5;
}

function sizeOf(record: LogRecord): number {
  return recordOverheadBytes + Buffer.byteLength(record.partitionKey) + record.data.length;
}

function checkReadOptions({ fromSequence, maxRecords, maxBytes }: ReadOptions): void {
  const sound =
    Number.isSafeInteger(fromSequence) &&
    fromSequence >= 0 &&
    Number.isSafeInteger(maxRecords) &&
    maxRecords >= 1 &&
    Number.isSafeInteger(maxBytes) &&
    maxBytes >= 1;
  if (!sound) {
    throw new StorageError(
      'invalid-argument',
      'a read begins at a sequence number of at least 0 and asks for at least 1 record and 1 byte',
    );
  }
}
