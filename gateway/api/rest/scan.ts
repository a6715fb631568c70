/**
 * Reading a stretch of a stream's time for charts, with bounded work.
 *
 * One scan reads at most `maxRecords` records and about 32 MiB, in slices of half a megabyte so
 * that nobody else waits long. Where the stretch holds more, windows of neighbouring records are
 * taken evenly from all of it: a chart of a whole day from a tenth of its records shows the day,
 * whereas its first tenth would show the night. The answer says so.
 *
 * Two scans run at once; 32 more may wait; more are `busy`.
 */
import type { Log, LogRecord, ShardDescription } from '../../../storage/model.ts';
import { HttpError } from '../../http/errors.ts';
import { streamNamed } from './absent.ts';

const bytesMax = 32 * 1024 * 1024;
const sliceBytes = 512 * 1024;
const windowRecords = 500;
const shardsMax = 256;
const runningMax = 2;
const waitingMax = 32;

export interface ScanOptions {
  readonly stream: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly maxRecords: number;
  readonly signal: AbortSignal;
  readonly each: (record: LogRecord) => void;
}

export interface ScanResult {
  readonly scannedRecords: number;
  /** In the stretch; what was not scanned was passed over evenly. */
  readonly totalRecords: number;
  readonly complete: boolean;
}

interface Stretch {
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
}

export class Scanner {
  readonly #log: Log;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  /** @throws HttpError `busy`; StorageError `not-found`, `closed` */
  async scan(options: ScanOptions): Promise<ScanResult> {
    await this.#enter();
    try {
      return await this.#scan(options);
    } finally {
      this.#leave();
    }
  }

  async #scan(options: ScanOptions): Promise<ScanResult> {
    const { shards } = streamNamed(this.#log, options.stream);
    const stretches = await this.#stretches(shards.slice(-shardsMax), options);
    const totalRecords = stretches.reduce((sum, { from, to }) => sum + to - from, 0);
    const budget = Math.min(options.maxRecords, await this.#recordsWithin(stretches, totalRecords));
    const share = totalRecords <= budget ? 1 : budget / totalRecords;
    let scannedRecords = 0;
    for (const stretch of stretches) {
      for (const window of windowsOf(stretch, share)) {
        if (options.signal.aborted) break;
        scannedRecords += await this.#read(window, options);
      }
    }
    const complete = share === 1 && shards.length <= shardsMax && !options.signal.aborted;
    return { scannedRecords, totalRecords, complete };
  }

  async #stretches(
    shards: readonly ShardDescription[],
    { fromMs, toMs }: ScanOptions,
  ): Promise<Stretch[]> {
    const stretches: Stretch[] = [];
    for (const { id, closedMs, createdMs, trimSequence } of shards) {
      if (createdMs >= toMs || (closedMs !== null && closedMs < fromMs)) continue;
      const from = Math.max(trimSequence, await this.#log.sequenceAt(id, fromMs));
      const to = await this.#log.sequenceAt(id, toMs);
      if (from < to) stretches.push({ shardId: id, from, to });
    }
    return stretches;
  }

  /** How many records of their usual size fit the limit in bytes. */
  async #recordsWithin(stretches: readonly Stretch[], total: number): Promise<number> {
    let [records, bytes] = [0, 0];
    for (const { shardId, from } of stretches.slice(0, 8)) {
      const backlog = await this.#log.backlog(shardId, from);
      records += backlog.records;
      bytes += backlog.bytes;
    }
    if (bytes === 0 || records === 0) return total;
    return Math.max(1, Math.floor(bytesMax / (bytes / records)));
  }

  async #read(window: Stretch, options: ScanOptions): Promise<number> {
    let at = window.from;
    let count = 0;
    while (at < window.to && !options.signal.aborted) {
      const result = await this.#log.read({
        shardId: window.shardId,
        fromSequence: at,
        maxRecords: Math.min(2_000, window.to - at),
        maxBytes: sliceBytes,
      });
      for (const record of result.records) {
        if (record.sequence >= window.to) break;
        count += 1;
        // The clock may have stepped back among them.
        const { arrivalMs } = record;
        if (arrivalMs >= options.fromMs && arrivalMs < options.toMs) options.each(record);
      }
      if (result.nextSequence <= at) break;
      at = result.nextSequence;
    }
    return count;
  }

  async #enter(): Promise<void> {
    if (this.#running < runningMax) {
      this.#running += 1;
      return;
    }
    if (this.#waiting.length >= waitingMax) {
      throw new HttpError('busy', 'Too many charts are being drawn at this moment: try again.', {
        retryAfterSeconds: 1,
      });
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running -= 1;
    else next();
  }
}

/** Evenly spread windows that make up `share` of a stretch; the stretch itself when it is all. */
function windowsOf(stretch: Stretch, share: number): Stretch[] {
  const length = stretch.to - stretch.from;
  if (share === 1) return [stretch];
  const wanted = Math.max(1, Math.floor(length * share));
  const count = Math.ceil(wanted / windowRecords);
  const size = Math.max(1, Math.floor(wanted / count));
  return Array.from({ length: count }, (_, index) => {
    const from = stretch.from + Math.floor((index * length) / count);
    return { shardId: stretch.shardId, from, to: Math.min(from + size, stretch.to) };
  });
}
