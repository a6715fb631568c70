/**
 * Deletes what the log no longer has to keep, in small steps between the group commits.
 *
 * What may go
 * - by age: batches whose newest record is older than the stream's retention;
 * - by bytes: the oldest batches of a stream that would pass its budget, at the append that would
 *   make it pass;
 * - but nothing that a required application or a saved plan still needs while the stream is within
 *   its budget. Past it `drop-oldest` gives that up too, counted and logged; `refuse` refuses.
 * - streams that were deleted, and closed shards of which nothing is left.
 *
 * Deletion goes from a shard's beginning, by whole batches, and moves its trim sequence in the same
 * transaction. Pages that become free are given back to the file system while they are more than a
 * tenth of the file; fewer are kept, for they are soon used again. On a full disk all of them go.
 *
 * Time: a batch dated in the future (the clock stepped back since) goes once a later batch is
 * expired. Whether the wall clock may be believed after a step: `clock-guard.ts`.
 *
 * Footage has its own rules: `video/`.
 */
import type { Checkpointer } from './checkpointer.ts';
import { type ClockGuard, clockStepMaxMs } from './clock-guard.ts';
import type { DiskReserve } from './disk-reserve.ts';
import type { LogAppender } from './log/appending.ts';
import type { ApplicationTable } from './log/applications.ts';
import { deleteKeysOf } from './key-table.ts';
import { batchRows, deleteBatches, isStored } from './log/batch-table.ts';
import type { BatchRow, Queries } from './log/batch-table.ts';
import type { FreeSpaceFloor } from './free-space.ts';
import { dropExpiredShards } from './log/closed-shards.ts';
import { Front } from './log/front.ts';
import type { LogGroup, RoomMaker } from './log/log-group.ts';
import type { Shard, Stream, Streams } from './log/streams.ts';
import type { Losses } from './losses.ts';
import type { CancelTimer, Clock, Counter, Logger, Metrics } from './ports.ts';
import type { Transaction } from './group-commit.ts';
import type { Writer } from './writer.ts';

const passEveryMs = 10_000;
/** One step deletes no more than this, so that commits hardly wait for it. */
const stepRows = 64;
const stepBytes = 2 * 1024 * 1024;
/** What room-making frees beyond the need, so that not every append has to. */
const slackBytesMax = 1024 * 1024;
const vacuumStepPages = 128;
const freePagesMin = 256;
const pageBytes = 4096;

export interface RetentionOptions {
  readonly writer: Writer;
  readonly appender: LogAppender;
  readonly streams: Streams;
  readonly applications: ApplicationTable;
  readonly queries: Queries;
  readonly reserve: DiskReserve;
  readonly checkpointer: Checkpointer;
  readonly clockGuard: ClockGuard;
  readonly losses: Losses;
  readonly floor: FreeSpaceFloor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

type FreeFootage = (freeBytes: number) => Promise<unknown>;

export class Retention implements RoomMaker {
  readonly #options: RetentionOptions;
  readonly #deletedBytes: Counter;
  readonly #droppedRecords: Counter;
  /** Highest arrival of the first batch of shards that had nothing expired. */
  readonly #oldest = new WeakMap<Shard, { trimSequence: number; highArrivalMs: number }>();
  #running: Promise<void> | null = null;
  #again = false;
  #cancelTimer: CancelTimer | null = null;
  #closing = false;
  /** Makes footage give way, until so many bytes are free. */
  #freeFootage: FreeFootage = () => Promise.resolve();
  readonly #failing = new Set<string>();

  constructor(options: RetentionOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#deletedBytes = metrics.counter(
      'headgate_log_deleted_bytes_total',
      'Bytes of batches deleted by retention, by stream and reason.',
    );
    this.#droppedRecords = metrics.counter(
      'headgate_log_dropped_records_total',
      'Records dropped for want of room although a required application had not read them.',
    );
    const { clockGuard, streams } = options;
    clockGuard.keepsFor(() =>
      Math.max(0, ...[...streams.all()].map((stream) => stream.options.retentionMs)),
    );
    clockGuard.onConfirm(() => {
      this.kick();
    });
  }

  /** Begins to run by itself: the disk reserve is seen to at once. */
  start(): void {
    this.#schedule();
    this.#running ??= this.#begin();
  }

  /** Who is asked first when the disk has too little free space. */
  setFreeFootage(freeFootage: FreeFootage): void {
    this.#freeFootage = freeFootage;
  }

  /** Asks for a pass soon. */
  kick(): void {
    if (!this.#closing) void this.run();
  }

  /** One pass over everything; while one is running, resolves after another that follows it. */
  run(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#passes();
    return this.#running;
  }

  /** Stops after the step under way. Closing twice is harmless. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#cancelTimer?.();
    await this.#running;
  }

  #schedule(): void {
    this.#cancelTimer?.();
    if (this.#closing) return;
    this.#cancelTimer = this.#options.clock.setTimer(passEveryMs, () => {
      void this.run();
      this.#schedule();
    });
  }

  async #begin(): Promise<void> {
    await this.#try('the disk reserve', () => this.#keepReserve());
    await this.#passes();
  }

  async #passes(): Promise<void> {
    // Not at once: whoever kicks may hold the writer.
    await Promise.resolve();
    while (this.#again && !this.#closing) {
      this.#again = false;
      await this.#pass();
    }
    this.#running = null;
  }

  async #pass(): Promise<void> {
    const { clockGuard } = this.#options;
    clockGuard.look();
    for (const stream of this.#options.streams.all()) {
      await this.#try(`stream ${stream.options.name}`, async () => {
        if (clockGuard.allowsAge(stream.options.retentionMs)) {
          await this.#expire(stream);
          await dropExpiredShards(stream, this.#options.clock.nowMs(), this.#options);
        }
        await this.#fitBudget(stream);
      });
    }
    await this.#try('deleted streams', () => this.#freeDeletedStreams());
    await this.#try('free pages', () => this.#vacuum());
    await this.#try('free space', () => this.#keepFloor());
    await this.#try('the disk reserve', () => this.#keepReserve());
  }

  /** What fails keeps nothing else from being done, and is said once until it works again. */
  async #try(what: string, work: () => Promise<void>): Promise<void> {
    if (this.#closing) return;
    try {
      await work();
      this.#failing.delete(what);
    } catch (error) {
      if (!this.#failing.has(what)) {
        this.#options.logger.error({ error, what }, 'Retention failed; it is tried again.');
      }
      this.#failing.add(what);
    }
  }

  async #keepReserve(): Promise<void> {
    const { reserve, checkpointer } = this.#options;
    // Pages given back, and the write-ahead log itself, leave the disk with a checkpoint.
    if (reserve.full) await checkpointer.truncate();
    await reserve.restore();
  }

  // ---------------------------------------------------------------- by free space

  /**
   * Below the floor footage goes, then the oldest records that may; then appends are refused. Where
   * the disk was found full, they go also until the reserve can be made again.
   */
  async #keepFloor(): Promise<void> {
    const { floor, reserve, checkpointer } = this.#options;
    const floorBytes = await floor.wantedBytes();
    const wanted = Math.max(floorBytes, reserve.full ? reserve.wantedFreeBytes : 0);
    if (wanted === 0) return;
    let missing = wanted - (await floor.freeBytes());
    if (missing > 0) {
      await this.#freeFootage(wanted);
      missing = wanted - (await floor.freeBytes());
    }
    if (missing > 0) {
      for (const pinnedToo of [false, true]) missing -= await this.#dropOldest(missing, pinnedToo);
      await this.#vacuum(true);
      await checkpointer.truncate();
    }
    floor.decide(floorBytes - (await floor.freeBytes()));
  }

  /** @returns how many bytes of batches were deleted, of the streams with the oldest records first */
  async #dropOldest(bytes: number, pinnedToo: boolean): Promise<number> {
    const { streams, writer, appender } = this.#options;
    const exhausted = new Set<Stream>();
    let freed = 0;
    while (freed < bytes && !this.#closing) {
      const candidates = [...streams.all()].filter(
        (stream) =>
          !exhausted.has(stream) &&
          stream.storedBytes > 0 &&
          (!pinnedToo || stream.options.whenFull === 'drop-oldest'),
      );
      const [oldest] = candidates.sort((a, b) => oldestMs(a) - oldestMs(b));
      if (oldest === undefined) break;
      const step = await writer.transact((transaction) =>
        this.#free(
          oldest,
          Math.min(stepBytes, bytes - freed),
          pinnedToo,
          appender.group,
          transaction,
        ),
      );
      if (step === 0) exhausted.add(oldest);
      freed += step;
    }
    return freed;
  }

  // ---------------------------------------------------------------- by age

  async #expire(stream: Stream): Promise<void> {
    const nowMs = this.#options.clock.nowMs();
    const beforeMs = nowMs - stream.options.retentionMs;
    for (const shard of stream.shards) {
      while (!this.#closing) {
        const last = await this.#lastExpired(shard, beforeMs, nowMs);
        if (last === null) break;
        await this.#options.writer.transact(async (transaction) => {
          const { group } = this.#options.appender;
          // Compaction may have made it a part of a larger one: then that is looked at.
          if (this.#pinned(shard, last) || !(await isStored(transaction, shard.id, last))) return;
          await this.#trim(shard, last, 'age', group, transaction);
        });
      }
    }
  }

  /** The last batch of the next step; null when nothing may go. */
  async #lastExpired(shard: Shard, beforeMs: number, nowMs: number): Promise<BatchRow | null> {
    const { trimSequence, nextSequence, trimBytes } = shard.position;
    const oldest = this.#oldest.get(shard);
    if (oldest?.trimSequence === trimSequence && oldest.highArrivalMs >= beforeMs) return null;
    if (trimSequence === nextSequence) return null;
    let last: BatchRow | null = null;
    let from = trimSequence;
    for (;;) {
      const rows = await batchRows(this.#options.queries, shard.id, from, stepRows);
      for (const row of rows) {
        if (this.#pinned(shard, row)) return last;
        if (row.high_arrival_ms < beforeMs) last = row;
        else if (row.high_arrival_ms <= nowMs + clockStepMaxMs) {
          if (last === null && from === trimSequence && row === rows[0]) {
            this.#oldest.set(shard, { trimSequence, highArrivalMs: row.high_arrival_ms });
          }
          return last;
        }
        if (last !== null && last.end_bytes - trimBytes >= stepBytes) return last;
        from = row.first_sequence + row.record_count;
      }
      if (rows.length < stepRows || last !== null) return last;
    }
  }

  #pinned(shard: Shard, row: BatchRow): boolean {
    const pin = this.#options.applications.pin({ kind: 'shard', id: shard.id });
    return pin !== null && row.first_sequence + row.record_count > pin;
  }

  // ---------------------------------------------------------------- by bytes

  /** A budget that was made smaller takes effect without an append. */
  async #fitBudget(stream: Stream): Promise<void> {
    const { maxBytes } = stream.options;
    while (maxBytes !== null && stream.storedBytes > maxBytes && !this.#closing) {
      const before = stream.storedBytes;
      await this.#options.writer.transact(async (transaction) => {
        const { group } = this.#options.appender;
        const excess = Math.min(group.storedBytes(stream) - maxBytes, stepBytes);
        if (excess > 0) await this.makeRoom(stream, excess, group, transaction);
      });
      if (stream.storedBytes >= before) return;
    }
  }

  async makeRoom(
    stream: Stream,
    bytes: number,
    group: LogGroup,
    transaction: Transaction,
  ): Promise<void> {
    const slack = Math.min(slackBytesMax, Math.floor((stream.options.maxBytes ?? 0) / 64));
    const freed = await this.#free(stream, bytes + slack, false, group, transaction);
    if (freed >= bytes || stream.options.whenFull === 'refuse') return;
    await this.#free(stream, bytes + slack - freed, true, group, transaction);
  }

  /** Deletes the oldest batches of a stream, across its shards, until `bytes` are free. */
  async #free(
    stream: Stream,
    bytes: number,
    pinnedToo: boolean,
    group: LogGroup,
    transaction: Transaction,
  ): Promise<number> {
    const fronts = stream.shards.map((shard) => new Front(shard, group.position(shard)));
    let freed = 0;
    while (freed < bytes) {
      let oldest: Front | null = null;
      for (const front of fronts) {
        const row = await front.peek(transaction);
        if (row === null || (!pinnedToo && this.#pinned(front.shard, row))) continue;
        if (oldest?.row == null || row.running_arrival_ms < oldest.row.running_arrival_ms) {
          oldest = front;
        }
      }
      if (oldest === null) break;
      freed += oldest.take();
    }
    for (const { shard, taken } of fronts) {
      const last = taken.at(-1);
      if (last === undefined) continue;
      if (pinnedToo) await this.#countDropped(stream, shard, taken, transaction);
      await this.#trim(shard, last, 'bytes', group, transaction);
    }
    return freed;
  }

  async #countDropped(
    stream: Stream,
    shard: Shard,
    rows: readonly BatchRow[],
    transaction: Transaction,
  ): Promise<void> {
    const needed = rows.filter((row) => this.#pinned(shard, row));
    const count = needed.reduce((sum, row) => sum + row.record_count, 0);
    const [first] = needed;
    if (first === undefined) return;
    const before = rows[rows.indexOf(first) - 1]?.end_bytes ?? shard.position.trimBytes;
    const bytes = (needed.at(-1)?.end_bytes ?? before) - before;
    const { name } = stream.options;
    await this.#options.losses.addIn(transaction, 'records-dropped', name, { count, bytes });
    transaction.onCommit(() => this.#droppedRecords.add(count, { stream: name }));
  }

  async #trim(
    shard: Shard,
    last: BatchRow,
    reason: 'age' | 'bytes',
    group: LogGroup,
    transaction: Transaction,
  ): Promise<void> {
    const { trimSequence, trimBytes } = group.position(shard);
    // Room may have been made here since the batch was chosen.
    if (last.first_sequence + last.record_count <= trimSequence) return;
    await group.trim(shard, last, transaction);
    const stream = shard.stream.options.name;
    transaction.onCommit(() =>
      this.#deletedBytes.add(last.end_bytes - trimBytes, { stream, reason }),
    );
  }

  // ---------------------------------------------------------------- what is left of deleted streams

  async #freeDeletedStreams(): Promise<void> {
    const { queries, writer } = this.#options;
    const shards = await queries.all<{ id: number }>(
      `SELECT shard.id FROM shard JOIN stream ON stream.id = stream_id
        WHERE deleted_ms IS NOT NULL`,
    );
    for (const { id } of shards) {
      for (let more = true; more && !this.#closing;) {
        const rows = await batchRows(queries, id, 0, stepRows);
        const last = stepEnd(rows);
        more = last !== null;
        await writer.transact(async (transaction) => {
          if (last === null) await transaction.run('DELETE FROM shard WHERE id = ?', id);
          else await deleteBatches(transaction, id, last, { trimBytes: 0, savedBytes: 0 });
        });
      }
    }
    if (this.#closing) return;
    const streams = await queries.all('SELECT id FROM stream WHERE deleted_ms IS NOT NULL LIMIT 1');
    if (streams.length === 0) return;
    const gone = `FROM stream WHERE deleted_ms IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM shard WHERE stream_id = stream.id)`;
    await writer.transact(async (transaction) => {
      // Whatever the disk still has of them, nobody can read it any more.
      await deleteKeysOf(transaction, `SELECT 'stream/' || id ${gone}`);
      await transaction.run(`DELETE ${gone}`);
    });
  }

  // ---------------------------------------------------------------- the file

  /** Takes all free pages out of the file, with what they still hold. */
  async dropFreePages(): Promise<void> {
    await this.#vacuum(true);
  }

  /** @param wanted all of it, because space is short. */
  async #vacuum(wanted = false): Promise<void> {
    const { queries, writer } = this.#options;
    const sizes = await queries.get<{ free: number; pages: number }>(
      `SELECT freelist_count AS free, page_count AS pages
         FROM pragma_freelist_count, pragma_page_count`,
    );
    if (sizes === undefined) return;
    let { free, pages } = sizes;
    const full = wanted || this.#options.reserve.full;
    if (free <= (full ? 0 : Math.max(freePagesMin, pages / 10))) return;
    while (free > (full ? 0 : Math.max(freePagesMin, pages / 20)) && !this.#closing) {
      await writer.transact(
        (transaction) => transaction.all(`PRAGMA incremental_vacuum(${vacuumStepPages})`),
        { bytes: vacuumStepPages * pageBytes },
      );
      free -= vacuumStepPages;
      pages -= vacuumStepPages;
    }
  }
}

/** The last row of a step that begins with the first row. */
function stepEnd(rows: readonly BatchRow[]): BatchRow | null {
  const [first] = rows;
  if (first === undefined) return null;
  return rows.findLast((row) => row.end_bytes - first.end_bytes <= stepBytes) ?? first;
}

/** About how old the oldest records of a stream are: what was stored before them. */
function oldestMs(stream: Stream): number {
  return Math.min(
    ...stream.shards
      .filter(({ position }) => position.nextSequence > position.trimSequence)
      .map(({ position }) => position.trimArrivalMs),
  );
}
