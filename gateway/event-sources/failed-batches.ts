/**
 * What an event source has given up and kept (`dead-letters.ts`): how much of it waits, and to have it
 * done after all. Asked for, that goes on over restarts, and beside what comes; a batch that fails once
 * more is kept once more. Where somebody else has put something there, it stays as it is.
 */
import { z } from 'zod';
import type { LeaseKeeper } from '../forward/lease-keeper.ts';
import { NewestRecord } from '../forward/newest-record.ts';
import type { Log, ShardDescription, StreamDescription } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import { readLetter, type FailedBatch } from './letters.ts';

const sliceRecords = 100;
const sliceBytes = 2 ** 20;

export interface FailedStatus {
  /** Batches; of one that is kept in parts each counts. */
  readonly batches: number;
  /** null: there is none, or it can't be told. */
  readonly newest: NewestFailure | null;
  /** They are being handed over again. */
  readonly isReplaying: boolean;
}

export interface NewestFailure {
  readonly atMs: number;
  readonly reason: string;
}

export interface ReplayPorts {
  /** Resolves once all of a batch is done, or given up once more. */
  readonly settle: (batch: FailedBatch) => Promise<void>;
  /** Takes the lease of a shard of the dead letter. */
  readonly acquire: (shard: ShardDescription) => Promise<LeaseKeeper>;
  readonly signal: AbortSignal;
}

export interface FailedBatches {
  /** Something was kept. */
  changed(): void;
  /** @throws StorageError, SinkError */
  status(): Promise<FailedStatus>;
  /** @returns how many batches have failed by now @throws StorageError, SinkError */
  askForReplay(): Promise<number>;
  /** Hands over what was asked for, in order. @throws StorageError, SinkError; the signal's reason */
  replay(ports: ReplayPorts): Promise<void>;
}

export interface StreamBatchesOptions {
  readonly stream: string;
  /** The one whose checkpoints tell how far it is. */
  readonly application: string;
  readonly log: Log;
  readonly clock: Clock;
}

/**
 * Those in a stream. Its end, when it is asked for, is an attribute of the stream; the checkpoints of
 * an application that pins nothing follow it, and are kept with the stream once that is forgotten.
 */
export class StreamBatches implements FailedBatches {
  readonly #options: StreamBatchesOptions;
  readonly #newest: NewestRecord<NewestFailure>;

  constructor(options: StreamBatchesOptions) {
    this.#options = options;
    const { log, clock } = options;
    this.#newest = new NewestRecord(log, ({ data }) => readLetter(data, clock.nowMs()));
  }

  changed(): void {
    // It is counted each time.
  }

  async status(): Promise<FailedStatus> {
    const { log } = this.#options;
    // First: once that is over, what is counted is what it has left.
    const isReplaying = this.#asked().length > 0;
    let batches = 0;
    let newest: NewestFailure | null = null;
    for (const shard of this.#stream?.shards ?? []) {
      const { records } = await log.backlog(shard.id, this.#doneTo(shard));
      if (records === 0) continue;
      batches += records;
      const failure = await this.#newest.of(shard);
      if (failure !== null && failure.atMs >= (newest?.atMs ?? 0)) newest = failure;
    }
    const { atMs, reason } = newest ?? { atMs: 0, reason: '' };
    return { batches, newest: newest && { atMs, reason }, isReplaying };
  }

  async askForReplay(): Promise<number> {
    const { log, application } = this.#options;
    const stream = this.#stream;
    const { batches } = await this.status();
    if (stream === null || batches === 0) return 0;
    const ends = stream.shards.map(({ id, nextSequence }) => [id, nextSequence] as const);
    await log.setAttribute(stream.name, application, Object.fromEntries(ends));
    return batches;
  }

  async replay({ settle, acquire, signal }: ReplayPorts): Promise<void> {
    for (const { shard, end } of this.#asked()) {
      const lease = await acquire(shard);
      try {
        await this.#replayShard(shard, end, { lease, settle, signal });
      } finally {
        await lease.release();
      }
    }
  }

  async #replayShard(
    { id }: ShardDescription,
    end: number,
    {
      lease,
      settle,
      signal,
    }: Pick<ReplayPorts, 'settle' | 'signal'> & { readonly lease: LeaseKeeper },
  ): Promise<void> {
    const { log, stream, clock } = this.#options;
    // An application that was forgotten begins anew, and what is done stays so.
    for (let next = Math.max(lease.checkpoint, this.#keptDoneTo(id)); next < end;) {
      signal.throwIfAborted();
      const slice = await log.read({
        ...{ shardId: id, fromSequence: next },
        ...{ maxRecords: sliceRecords, maxBytes: sliceBytes },
      });
      for (const { sequence, partitionKey, data } of slice.records) {
        if (sequence >= end) break;
        const letter = readLetter(data, clock.nowMs());
        if (letter !== null && letter.batch !== null) await settle(letter.batch);
        // No call can hold it: it is put back as it is.
        else if (letter !== null) await log.append(stream, [{ partitionKey, data }]);
        await lease.advance(sequence + 1);
      }
      // A shard that ends before what was asked for has lost its last batches; there is no more to read.
      if (slice.nextSequence <= next) return this.#endReplay(id, end, next);
      next = Math.min(end, slice.nextSequence);
      if (next > lease.checkpoint) await lease.advance(next);
    }
  }

  /** Has no more done of a shard than is there: what comes to be behind it was not asked for. */
  async #endReplay(shardId: number, asked: number, end: number): Promise<void> {
    const { log, stream, application } = this.#options;
    const ends = this.#ends;
    // Somebody may have asked anew meanwhile.
    if (ends[shardId] !== asked) return;
    await log.setAttribute(stream, application, { ...ends, [shardId]: end });
  }

  get #stream(): StreamDescription | null {
    const { log, stream } = this.#options;
    return log.streams().find(({ name }) => name === stream) ?? null;
  }

  /** The shards in which something was asked for, and up to where. */
  #asked(): readonly { readonly shard: ShardDescription; readonly end: number }[] {
    const ends = this.#ends;
    return (this.#stream?.shards ?? []).flatMap((shard) => {
      const end = ends[shard.id];
      return typeof end === 'number' && end > this.#doneTo(shard) ? [{ shard, end }] : [];
    });
  }

  /** Up to where something was asked for, by shard. */
  get #ends(): Readonly<Record<string, unknown>> {
    const ends = this.#stream?.attributes[this.#options.application];
    return typeof ends === 'object' && ends !== null ? (ends as Record<string, unknown>) : {};
  }

  #doneTo({ id, trimSequence }: ShardDescription): number {
    const { log, application } = this.#options;
    const all = log.applications.list().find(({ name }) => name === application)?.leases ?? [];
    const lease = all.find(({ source }) => source.kind === 'shard' && source.id === id);
    return Math.max(trimSequence, lease?.checkpoint ?? 0, this.#keptDoneTo(id));
  }

  #keptDoneTo(shardId: number): number {
    return keptDone(this.#stream, this.#options.application)[shardId] ?? 0;
  }
}

const places = z.record(z.string(), z.number());

/** Up to where an application that was forgotten since had done it, by shard. */
function keptDone(
  stream: StreamDescription | null,
  application: string,
): Readonly<Record<string, number>> {
  const kept = places.safeParse(stream?.attributes[doneKeyOf(application)]);
  return kept.success ? kept.data : {};
}

function doneKeyOf(application: string): string {
  return `${application}/done`;
}

/**
 * Keeps with the streams themselves up to where an application has done what was given up, as it is
 * to be forgotten: nothing is handed over twice if it comes back. @throws StorageError
 */
export async function keepDone(log: Log, application: string): Promise<void> {
  const all = log.applications.list().find(({ name }) => name === application)?.leases ?? [];
  for (const stream of log.streams()) {
    const before = keptDone(stream, application);
    const done = all.flatMap(({ source: { kind, id }, checkpoint }) =>
      kind === 'shard' && checkpoint > 0 && stream.shards.some((shard) => shard.id === id)
        ? [[id, Math.max(checkpoint, before[id] ?? 0)] as const]
        : [],
    );
    if (done.length === 0) continue;
    const places = { ...before, ...Object.fromEntries(done) };
    await log.setAttribute(stream.name, doneKeyOf(application), places);
  }
}
