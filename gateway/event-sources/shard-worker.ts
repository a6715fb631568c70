/**
 * Has a function do the records of one shard, from its checkpoint to its end.
 *
 * One reads ahead, within a limit of bytes and records, passes over what fits no filter, and lays each
 * record into a lane by its partition key; each lane makes batches and settles them one after the
 * other (`settle.ts`). The checkpoint follows the first record that is not done, so after a crash no
 * record is left out, and those that other lanes had done already go again.
 *
 * With windows there is one lane. A batch is of one window, whose state is saved before the
 * checkpoint moves (`window-states.ts`), and whose last call is made when a record of a later one is
 * there, when its time is over, or when the shard ends.
 */
import { createHash } from 'node:crypto';
import type { Log, LogRecord, ShardDescription } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import type { LeaseKeeper } from '../forward/lease-keeper.ts';
import { Changes } from '../forward/changes.ts';
import type { Events } from './event.ts';
import type { Metering } from './metering.ts';
import type { EventSourceOptions } from './options.ts';
import { Outstanding } from './outstanding.ts';
import type { OpenWindow, Settler } from './settle.ts';
import type { WindowStates } from './window-states.ts';

const sliceRecords = 2_000;
const sliceBytes = 2 ** 20;
/** What is read ahead of the function. */
const aheadBytesMax = 16 * 2 ** 20;
const aheadRecordsMax = 20_000;
/** A record that was on its way when its window ended is in the log after so long. */
const windowGraceMs = 1_000;
/** Of JSON around the records of a batch. */
const frameBytes = 1_024;

export interface ShardWorkerOptions {
  readonly options: EventSourceOptions;
  readonly shard: ShardDescription;
  readonly lease: LeaseKeeper;
  /** null: without windows. */
  readonly states: WindowStates | null;
  readonly events: Events;
  readonly payloadBytesMax: number;
  readonly filter: (record: LogRecord) => boolean;
  /** One for each lane, which are numbered. */
  readonly settler: (lane: number) => Settler;
  readonly metering: Metering;
  readonly log: Log;
  readonly clock: Clock;
}

interface Waiting {
  readonly record: LogRecord;
  readonly sizeBytes: number;
  /** When its batch goes at the latest. */
  readonly dueMs: number;
}

interface Lane {
  readonly settler: Settler;
  readonly waiting: Waiting[];
}

/** Resolves at the end of the shard. @throws StorageError; the signal's reason */
export function workShard(options: ShardWorkerOptions, signal: AbortSignal): Promise<void> {
  return new ShardWorker(options).run(signal);
}

class ShardWorker {
  readonly #with: ShardWorkerOptions;
  readonly #lanes: readonly Lane[];
  readonly #outstanding: Outstanding;
  readonly #changes = new Changes();
  readonly #windowMs: number;
  #window: OpenWindow | null = null;
  /** It as it was after the last records that are done. */
  #kept: OpenWindow | null = null;
  /** Read and not done. */
  #aheadBytes = 0;
  #aheadRecords = 0;
  /** All of the shard is read. */
  #ended = false;
  /** All that there was is read. */
  #atHead = false;
  #turns: Promise<void> = Promise.resolve();

  constructor(options: ShardWorkerOptions) {
    this.#with = options;
    const { parallelization, tumblingWindowSeconds } = options.options;
    this.#lanes = Array.from({ length: parallelization }, (_, lane) => ({
      settler: options.settler(lane),
      waiting: [],
    }));
    this.#outstanding = new Outstanding(options.lease.checkpoint);
    this.#windowMs = tumblingWindowSeconds * 1_000;
  }

  async run(outer: AbortSignal): Promise<void> {
    const { lease, states } = this.#with;
    this.#window = (await states?.open(lease.checkpoint)) ?? null;
    this.#kept = this.#window && { ...this.#window };
    const failed = new AbortController();
    const signal = AbortSignal.any([outer, lease.lost, failed.signal]);
    const parts = [this.#read(signal), ...this.#lanes.map((lane) => this.#serve(lane, signal))];
    // The first that fails ends the others, and is told.
    const guarded = parts.map((part) =>
      part.catch((error: unknown) => {
        failed.abort(error);
      }),
    );
    await Promise.all(guarded);
    signal.throwIfAborted();
  }

  async #read(signal: AbortSignal): Promise<void> {
    const { log, clock, shard, lease, metering, filter } = this.#with;
    for (let next = lease.checkpoint; ;) {
      while (this.#isFull && !signal.aborted) await this.#changes.wait(clock, null, signal);
      signal.throwIfAborted();
      const slice = await log.read({
        shardId: shard.id,
        fromSequence: next,
        maxRecords: sliceRecords,
        maxBytes: sliceBytes,
      });
      const lost = slice.skipped.trimmed + slice.skipped.corrupt;
      if (lost > 0) metering.lost(lost);
      let passedOver = 0;
      for (const record of slice.records) {
        if (filter(record)) this.#lay(record);
        else passedOver += 1;
      }
      if (passedOver > 0) metering.filtered(passedOver);
      next = slice.nextSequence;
      this.#outstanding.readTo(next);
      this.#ended = slice.endOfShard;
      this.#atHead = slice.recordsBehind === 0;
      this.#changes.notify();
      await this.#advance();
      if (this.#ended) return;
      if (this.#atHead) await log.waitForRecords(shard.id, next, signal);
      this.#atHead = false;
    }
  }

  get #isFull(): boolean {
    return this.#aheadBytes >= aheadBytesMax || this.#aheadRecords >= aheadRecordsMax;
  }

  #lay(record: LogRecord): void {
    const { options, clock, events } = this.#with;
    const sizeBytes = events.sizeOf(record);
    const dueMs = clock.monotonicMs() + options.batchWindowSeconds * 1_000;
    const lane = this.#lanes[laneOf(record.partitionKey, this.#lanes.length)];
    lane?.waiting.push({ record, sizeBytes, dueMs });
    this.#outstanding.add(record.sequence);
    this.#aheadBytes += sizeBytes;
    this.#aheadRecords += 1;
  }

  async #serve(lane: Lane, signal: AbortSignal): Promise<void> {
    const { clock } = this.#with;
    for (;;) {
      signal.throwIfAborted();
      const [first] = lane.waiting;
      const window = this.#window;
      if (window !== null && this.#isOver(window, first?.record)) {
        const isEarly = this.#ended && clock.nowMs() < window.endMs;
        await lane.settler.end(window, isEarly, signal);
        this.#window = null;
        await this.#forgetState();
        continue;
      }
      if (first === undefined && this.#ended) return;
      const { count, limitMs } = this.#ready(lane);
      if (count === 0) {
        await this.#changes.wait(clock, limitMs, signal);
        continue;
      }
      await this.#settle(lane, lane.waiting.splice(0, count), signal);
    }
  }

  async #settle(lane: Lane, batch: readonly Waiting[], signal: AbortSignal): Promise<void> {
    const records = batch.map(({ record }) => record);
    const sizes = new Map(batch.map(({ record, sizeBytes }) => [record.sequence, sizeBytes]));
    const [first] = records;
    if (this.#windowMs > 0 && this.#window === null && first !== undefined) {
      const startMs = this.#startOf(first);
      const endMs = startMs + this.#windowMs;
      this.#window = { startMs, endMs, agesFromMs: endMs, state: {} };
    }
    const told = {
      done: async (done: readonly LogRecord[]) => {
        this.#kept = this.#window && { ...this.#window };
        for (const { sequence } of done) {
          this.#outstanding.done(sequence);
          this.#aheadBytes -= sizes.get(sequence) ?? 0;
        }
        this.#aheadRecords -= done.length;
        await this.#advance();
        this.#changes.notify();
        const last = done.at(-1);
        if (last !== undefined) this.#with.metering.done(done.length, last.arrivalMs);
      },
      begunAnew: () => this.#forgetState(),
    };
    await lane.settler.settle(records, this.#window, told, signal);
  }

  /** After a crash nothing is left of what a last call has had. */
  async #forgetState(): Promise<void> {
    this.#kept = null;
    await this.#inTurn(async () => this.#with.states?.clear());
  }

  /** How many records make a batch now; 0: none yet, and when to look again. */
  #ready({ waiting }: Lane): { readonly count: number; readonly limitMs: number | null } {
    const { options, payloadBytesMax, clock } = this.#with;
    const [first] = waiting;
    if (first === undefined) {
      const window = this.#window;
      if (window === null) return { count: 0, limitMs: null };
      return { count: 0, limitMs: Math.max(1, window.endMs + windowGraceMs - clock.nowMs()) };
    }
    let bytes = frameBytes + this.#stateBytes;
    let count = 0;
    for (const { record, sizeBytes } of waiting) {
      const isOther = this.#windowMs > 0 && this.#startOf(record) > this.#startOf(first.record);
      const fits = bytes + sizeBytes <= payloadBytesMax && !isOther;
      if (count === options.batchSize || (count > 0 && !fits)) break;
      bytes += sizeBytes;
      count += 1;
    }
    const isWhole = count === options.batchSize || count < waiting.length;
    const leftMs = first.dueMs - clock.monotonicMs();
    if (isWhole || this.#ended || this.#isFull || leftMs <= 0) return { count, limitMs: null };
    return { count: 0, limitMs: leftMs };
  }

  get #stateBytes(): number {
    return this.#window === null ? 0 : JSON.stringify(this.#window.state).length;
  }

  /** Whether a window's last call is due, with the record that waits next. */
  #isOver({ startMs, endMs }: OpenWindow, next: LogRecord | undefined): boolean {
    if (next !== undefined) return this.#startOf(next) > startMs;
    if (this.#ended) return true;
    return this.#atHead && this.#with.clock.nowMs() >= endMs + windowGraceMs;
  }

  #startOf({ arrivalMs }: LogRecord): number {
    return Math.floor(arrivalMs / this.#windowMs) * this.#windowMs;
  }

  /** Moves the checkpoint to what is done by now. */
  #advance(): Promise<void> {
    const { lease, states } = this.#with;
    return this.#inTurn(async () => {
      const { position } = this.#outstanding;
      if (position <= lease.checkpoint) return;
      if (states !== null && this.#kept !== null) await states.save(this.#kept, position);
      await lease.advance(position);
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#turns.then(work);
    this.#turns = turn.catch(() => undefined);
    return turn;
  }
}

function laneOf(partitionKey: string, lanes: number): number {
  if (lanes === 1) return 0;
  return createHash('md5').update(partitionKey).digest().readUInt32BE(0) % lanes;
}
