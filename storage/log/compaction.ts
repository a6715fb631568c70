/**
 * Joins small batches into large ones, and compresses those of streams that ask for it, in small
 * steps between the group commits.
 *
 * Why: a sensor that speaks once a minute leaves a row a minute, each with pages of its own, and
 * whoever reads a day of it reads 1440 of them.
 *
 * Invariants
 * - A shard is gone through once, from its beginning to its end; where that stands is a column of
 *   the shard and moves in the transaction that joins. The newest batch of a shard is left alone: a
 *   restart reads from it where the shard ends.
 * - A step replaces batches that follow each other by one with the same records, sequence numbers
 *   and arrival times, in one transaction: a read sees either. Where retention was quicker, the step
 *   is given up.
 * - The last `end_bytes` and running arrival of what was joined hold for the whole, so both go on
 *   rising. The bytes that became fewer are counted in the shard's `saved_bytes`.
 * - A batch is deleted when its newest record may go, so no batch spans more than an hour, or a
 *   sixteenth of the stream's retention or budget.
 * - What was sealed, or is of a stream that is encrypted, is sealed again (`sealing.ts`). Batches that
 *   are to be sealed as they are get their turns here too (`resealing.ts`).
 * - What is corrupt stays as it is, and so does what repair left in the place of lost batches, or a
 *   later release wrote. A shard with damaged pages, or whose keys are not at hand, is left alone.
 * - It gives way: no step while the writer has a queue, and after each it rests four times as long
 *   as that took.
 *
 * Which batches become one, and what they become, is in `joining.ts`.
 */
import { StorageError } from '../errors.ts';
import type { DiskGuard } from '../group-commit.ts';
import type { CancelTimer, Clock, Counter, Logger, Metrics } from '../ports.ts';
import type { Writer } from '../writer.ts';
import type { LogAppender } from './appending.ts';
import { batchRows, batchSlice, replaceBatches } from './batch-table.ts';
import type { NewBatch, Queries, SizedRow } from './batch-table.ts';
import { compressBatch } from './compressed-batch.ts';
import type { Resealing } from './resealing.ts';
import { isKeyTrouble, type Sealing } from './sealing.ts';
import { JoinedBatch, Run, endOf, joinLimits } from './joining.ts';
import type { Shard, Streams } from './streams.ts';

const passEveryMs = 5_000;
/** What one statement loads: rows without their BLOBs, or with at most so many bytes of them. */
const pageRows = 256;
const pageBytes = 1024 * 1024;
/** With more than this in the writer's queue, compaction waits. */
const busyBytes = 64 * 1024;
const busyPauseMs = 100;
const restPerStep = 4;
/** Rows passed over before the place is written down: so many are looked at again after a restart. */
const passedRowsMax = 4096;

export interface CompactionOptions {
  readonly writer: Writer;
  readonly appender: LogAppender;
  readonly streams: Streams;
  readonly queries: Queries;
  readonly sealing: Sealing;
  readonly resealing: Resealing;
  readonly diskGuard: DiskGuard;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** How far a shard was looked through. */
interface Progress {
  /** What begins here has not been looked at. */
  next: number;
  /** Rows passed over since the place was written down. */
  passed: number;
  /** There is nothing to do before the shard has grown to `endBytes`, or `sinceMs` is long ago. */
  idle: { readonly endBytes: number; readonly sinceMs: number | null } | null;
}

export class Compaction {
  readonly #options: CompactionOptions;
  readonly #progress = new WeakMap<Shard, Progress>();
  /** Shards with pages that can't be read: repair comes first. */
  readonly #damaged = new WeakSet<Shard>();
  readonly #joinedBatches: Counter;
  readonly #writtenBytes: Counter;
  readonly #savedBytes: Counter;
  #running: Promise<void> | null = null;
  #hurrying = 0;
  #failing = false;
  #closing = false;
  #cancelTimer: CancelTimer | null = null;
  #endPause: (() => void) | null = null;

  constructor(options: CompactionOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#joinedBatches = metrics.counter(
      'headgate_log_compacted_batches_total',
      'Small batches that were joined into larger ones, by stream.',
    );
    this.#writtenBytes = metrics.counter(
      'headgate_log_compaction_written_bytes_total',
      'Bytes of batches that compaction wrote, by stream.',
    );
    this.#savedBytes = metrics.counter(
      'headgate_log_compaction_saved_bytes_total',
      'Bytes that batches take up less since compaction, by stream.',
    );
  }

  /** Begins to run by itself. */
  start(): void {
    if (this.#closing) return;
    this.#cancelTimer = this.#options.clock.setTimer(passEveryMs, () => {
      void this.#pass().then(() => {
        this.start();
      });
    });
  }

  /** One pass over everything, without rests. */
  async run(): Promise<void> {
    this.#hurrying += 1;
    this.#endPause?.();
    try {
      // The one under way may have gone past what the caller means.
      await this.#running;
      await this.#pass();
    } finally {
      this.#hurrying -= 1;
    }
  }

  /** Stops after the step under way. Closing twice is harmless. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#cancelTimer?.();
    this.#endPause?.();
    await this.#running;
  }

  #pass(): Promise<void> {
    this.#running ??= this.#tryRounds().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #tryRounds(): Promise<void> {
    try {
      await this.#rounds();
      this.#failing = false;
    } catch (error) {
      // What the store refuses, the writer has told of.
      if (!(error instanceof StorageError) && !this.#failing) {
        this.#options.logger.error({ error }, 'Compaction failed; it is tried again.');
      }
      this.#failing = true;
    }
  }

  /** A step for each shard in turn, until none has more to do. */
  async #rounds(): Promise<void> {
    const { streams, diskGuard, clock, resealing } = this.#options;
    if (!diskGuard.full) await resealing.refresh();
    for (let more = true; more;) {
      more = false;
      for (const shard of streams.all().flatMap((stream) => stream.shards)) {
        if (!this.#worthLooking(shard)) continue;
        await this.#turn();
        if (this.#closing || diskGuard.full) return;
        const startedMs = clock.monotonicMs();
        if (await this.#tryStep(shard)) more = true;
        await this.#pause((clock.monotonicMs() - startedMs) * restPerStep);
      }
    }
    await resealing.finish();
  }

  /** Waits until the writer has nothing better to do. */
  async #turn(): Promise<void> {
    const { writer } = this.#options;
    while (!this.#closing && this.#hurrying === 0 && writer.queuedBytes > busyBytes) {
      await this.#pause(busyPauseMs);
    }
  }

  async #pause(durationMs: number): Promise<void> {
    if (this.#closing || this.#hurrying > 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#options.clock.setTimer(durationMs, resolve);
      this.#endPause = () => {
        cancel();
        resolve();
      };
    });
    this.#endPause = null;
  }

  /** Asked of every shard in every pass, so memory alone answers. */
  #worthLooking(shard: Shard): boolean {
    const { nextSequence, endBytes } = shard.position;
    const { next, idle } = this.#progressOf(shard);
    if (this.#damaged.has(shard)) return false;
    if (this.#options.resealing.isDue(shard)) return true;
    if (next >= nextSequence) return false;
    if (idle === null || endBytes >= idle.endBytes) return true;
    if (idle.sinceMs === null) return false;
    const { windowMs } = joinLimits(shard.stream.options);
    return Math.abs(this.#options.clock.nowMs() - idle.sinceMs) > windowMs;
  }

  #progressOf(shard: Shard): Progress {
    let progress = this.#progress.get(shard);
    if (progress === undefined) {
      progress = { next: shard.compactedSequence, passed: 0, idle: null };
      this.#progress.set(shard, progress);
    }
    progress.next = Math.max(progress.next, shard.position.trimSequence);
    return progress;
  }

  async #tryStep(shard: Shard): Promise<boolean> {
    try {
      return await this.#step(shard);
    } catch (error) {
      // The service that has the master key may answer later.
      if (error instanceof StorageError && error.code === 'key-unavailable') return false;
      const isDamage = error instanceof StorageError && error.code === 'corrupt';
      if (!isDamage && !isKeyTrouble(error)) throw error;
      this.#damaged.add(shard);
      this.#options.logger.warn(
        { stream: shard.stream.options.name, shard: shard.index, error },
        isDamage
          ? 'A shard with damaged pages is no longer compacted.'
          : 'A shard with batches that do not open is no longer compacted.',
      );
      return false;
    }
  }

  /** Seals the next batches of a shard, or joins its next run; false when there is none yet. */
  async #step(shard: Shard): Promise<boolean> {
    const { resealing } = this.#options;
    if (resealing.isDue(shard)) {
      const { from } = shard.reseal;
      await resealing.step(shard);
      return shard.reseal.from !== from;
    }
    const rows = await this.#nextRun(shard);
    if (rows === null) return false;
    const joined = await this.#join(shard, rows);
    const batch = await this.#rewritten(shard, joined);
    if (batch !== null) {
      await this.#replace(shard, batch, joined);
    } else {
      // Not sound, or followed by one that is not and begins the next run, or as small as it gets.
      const [first, second] = rows;
      if (first !== undefined) this.#passOver(shard, second?.first_sequence ?? endOf(first));
    }
    return true;
  }

  /** The batch that takes the place of what was joined; null when nothing is gained by it. */
  async #rewritten(shard: Shard, joined: JoinedBatch): Promise<NewBatch | null> {
    const { sealing } = this.#options;
    const { compression } = shard.stream.options;
    const batch = joined.toBatch();
    if (batch === null || (joined.count === 1 && compression !== 'deflate')) return null;
    let body = compression === 'deflate' ? await compressBatch(batch.body) : batch.body;
    if (joined.wasSealed || sealing.seals(shard.stream)) {
      await sealing.ready(shard.stream.id);
      body = sealing.seal(shard, body);
    }
    return joined.count > 1 || body.length < joined.storedBytes ? { ...batch, body } : null;
  }

  /** The next batches that may become one; null when there are none yet. */
  async #nextRun(shard: Shard): Promise<readonly SizedRow[] | null> {
    const { queries, clock } = this.#options;
    const progress = this.#progressOf(shard);
    const { nextSequence, endBytes } = shard.position;
    const limits = joinLimits(shard.stream.options);
    let run = new Run(limits);
    for (let from = progress.next; from < nextSequence;) {
      const rows = await batchRows(queries, shard.id, from, pageRows);
      for (const row of rows) {
        from = endOf(row);
        if (from >= nextSequence) break;
        if (!run.add(row)) {
          if (run.worthwhile) return run.rows;
          this.#passOver(shard, row.first_sequence);
          run = new Run(limits);
          if (!run.add(row)) this.#passOver(shard, from);
        }
        if (!run.complete) continue;
        if (run.worthwhile) return run.rows;
        this.#passOver(shard, from);
        run = new Run(limits);
      }
      if (rows.length < pageRows) break;
    }
    const [first] = run.rows;
    if (first !== undefined && Math.abs(clock.nowMs() - run.sinceMs) > limits.windowMs) {
      if (run.rows.length > 1) return run.rows;
      this.#passOver(shard, endOf(first));
      run = new Run(limits);
    }
    progress.idle =
      run.rows.length === 0
        ? { endBytes: endBytes + 1, sinceMs: null }
        : { endBytes: endBytes + limits.targetBytes - run.bytes, sinceMs: run.sinceMs };
    await this.#keepPlace(shard, progress);
    return null;
  }

  #passOver(shard: Shard, to: number): void {
    const progress = this.#progressOf(shard);
    if (to <= progress.next) return;
    progress.next = to;
    progress.passed += 1;
  }

  async #keepPlace(shard: Shard, progress: Progress): Promise<void> {
    if (progress.passed < passedRowsMax) return;
    const { next } = progress;
    progress.passed = 0;
    await this.#options.writer.transact((transaction) =>
      transaction.run('UPDATE shard SET compacted_sequence = ? WHERE id = ?', next, shard.id),
    );
  }

  async #join(shard: Shard, rows: readonly SizedRow[]): Promise<JoinedBatch> {
    const { sealing } = this.#options;
    const joined = new JoinedBatch(shard.id, (body) => sealing.open(shard, body));
    for (let at = 0; at < rows.length && !joined.isFull;) {
      const from = rows[at]?.first_sequence ?? 0;
      const limits = { rows: pageRows, bytes: pageBytes };
      const slice = await batchSlice(this.#options.queries, shard.id, from, limits);
      const bodies = new Map(slice.map((stored) => [stored.first_sequence, stored.body]));
      for (const row of rows.slice(at)) {
        const body = bodies.get(row.first_sequence);
        if (body === undefined) {
          // The rest is in the next slice. Without its first row: retention was quicker.
          if (row.first_sequence === from) return joined;
          break;
        }
        if (body === null) throw new StorageError('corrupt', 'a page of a batch is damaged');
        await joined.add(row, body);
        at += 1;
      }
    }
    return joined;
  }

  async #replace(shard: Shard, batch: NewBatch, joined: JoinedBatch): Promise<void> {
    const { writer, appender, streams } = this.#options;
    const end = batch.firstSequence + batch.recordCount;
    const savedHere = joined.storedBytes - batch.body.length;
    const replaced = await writer.transact(
      async (transaction) => {
        const { group } = appender;
        const { trimSequence, savedBytes } = group.position(shard);
        if (!streams.hasShard(shard.id) || trimSequence > batch.firstSequence) return false;
        const count = await replaceBatches(transaction, batch);
        if (count !== joined.count) {
          throw new StorageError('corrupt', 'the index of batches disagrees with their table');
        }
        await transaction.run(
          'UPDATE shard SET saved_bytes = ?, compacted_sequence = ? WHERE id = ?',
          ...[savedBytes + savedHere, end, shard.id],
        );
        group.setSaved(shard, savedBytes + savedHere);
        return true;
      },
      { bytes: joined.storedBytes + batch.body.length },
    );
    if (!replaced) return;
    const progress = this.#progressOf(shard);
    progress.next = end;
    progress.passed = 0;
    const stream = shard.stream.options.name;
    this.#joinedBatches.add(joined.count, { stream });
    this.#writtenBytes.add(batch.body.length, { stream });
    this.#savedBytes.add(savedHere, { stream });
  }
}
