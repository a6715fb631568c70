/**
 * Reads one shard, from its checkpoint on, for as long as its lease is held.
 *
 * Invariants
 * - One batch at a time: it is emitted, then the checkpoint moves behind it, then the next is read.
 *   What was emitted without its checkpoint is emitted again by whoever comes next: at least once.
 * - Nothing is handed to `emit` after the lease is lost; what runs then is told by its signal.
 */
import type { StreamRecord, StreamRecords } from '../api/rest/stream-schemas.ts';
import type { Clock, Logger } from '../../storage/ports.ts';
import { ConsumerError, type ApplicationClient } from './client.ts';
import type { ShardHold } from './shard-hold.ts';
import { Delays, pause } from './waits.ts';

export interface ConsumedRecord {
  /** Dense within its shard. */
  readonly sequence: number;
  readonly partitionKey: string;
  readonly data: Buffer;
  /** When the gateway took it. */
  readonly arrivalMs: number;
}

export interface Batch {
  readonly stream: string;
  readonly shard: number;
  /** In order; at least one. */
  readonly records: readonly ConsumedRecord[];
  /**
   * Rises from one holder of the shard to the next. Where the records go, what comes with a lower
   * fence than was seen for the shard before is a superseded worker's, and is to be refused.
   */
  readonly fence: number;
  /** Aborted when the shard is not this worker's any more, or has to be let go: stop and reject. */
  readonly signal: AbortSignal;
}

/** Does what is to be done with a batch. When it rejects, it is called again with the same records. */
export type Emit = (batch: Batch) => Promise<void>;

export interface ShardWorkerOptions {
  readonly client: ApplicationClient;
  readonly hold: ShardHold;
  readonly stream: string;
  readonly batchRecords: number;
  /** How long a read may wait, and what follows one that found nothing. */
  readonly waiting: () => { readonly waitSeconds: number; readonly pauseMs: number };
  readonly emit: Emit;
  /** Ends after the batch under way. */
  readonly stop: AbortSignal;
  /** Ends at once. */
  readonly abandon: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

/** `finished`: the shard is closed and read to its end. */
export type ShardEnd = 'finished' | 'released' | 'lost';

/** Resolves when the lease is given back or lost. @throws ConsumerError what the gateway refuses */
export async function consumeShard(options: ShardWorkerOptions): Promise<ShardEnd> {
  const { hold, stop, abandon } = options;
  const signal = AbortSignal.any([hold.lost, abandon]);
  const end = AbortSignal.any([signal, hold.wanted, stop]);
  try {
    while (!end.aborted) {
      const read = await readOn(options, end);
      if (read === null || !hold.isHeld) break;
      if (!(await emitted(options, read, signal, end))) break;
      if (read.nextSequence > hold.checkpoint) await hold.advance(read.nextSequence, signal);
      if (read.endOfShard) return 'finished';
    }
    return hold.lost.aborted ? 'lost' : 'released';
  } catch (error) {
    if (hold.lost.aborted) return 'lost';
    throw error;
  } finally {
    await hold.release();
  }
}

/** The next records, or the end of the shard; null when there is no time left for them. */
async function readOn(
  { client, hold, batchRecords, waiting, clock, logger, random }: ShardWorkerOptions,
  end: AbortSignal,
): Promise<StreamRecords | null> {
  const delays = new Delays(random);
  const isOver = (): boolean => end.aborted;
  const from = { shard: hold.shard, sequence: hold.checkpoint, limit: batchRecords };
  while (!end.aborted) {
    const { waitSeconds, pauseMs } = waiting();
    try {
      const read = await client.read(from, waitSeconds, end);
      delays.succeeded();
      const { skipped } = read;
      if (skipped.trimmed + skipped.corrupt > 0) {
        logger.warn({ shard: hold.shard, ...skipped }, 'records were gone before they were read');
      }
      if (read.endOfShard || read.nextSequence > hold.checkpoint) return read;
      if (pauseMs > 0) await pause(clock, pauseMs, end);
    } catch (error) {
      if (!(error instanceof ConsumerError && error.retryable)) throw error;
      if (isOver()) return null;
      logger.warn({ shard: hold.shard, error }, 'a shard could not be read yet');
      await pause(clock, delays.failed(), end);
    }
  }
  return null;
}

/** Tries until the records are emitted; false when the shard was let go before. */
async function emitted(
  { hold, stream, emit, abandon, clock, logger, random }: ShardWorkerOptions,
  read: StreamRecords,
  signal: AbortSignal,
  end: AbortSignal,
): Promise<boolean> {
  if (read.records.length === 0) return true;
  const records = read.records.map(consumedRecord);
  const delays = new Delays(random);
  while (!end.aborted && hold.isHeld) {
    const batch = { stream, shard: hold.shard, records, fence: hold.fence, signal };
    try {
      await unlessAborted(emit(batch), abandon);
      return hold.isHeld;
    } catch (error) {
      if (signal.aborted) return false;
      logger.warn({ shard: hold.shard, error }, 'records could not be emitted and are tried again');
      await pause(clock, delays.failed(), end);
    }
  }
  return false;
}

/** What does not heed its signal is not waited for once the consumer gives up. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let end = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    end = () => {
      reject(new ConsumerError('closed', 'the consumer was closed', false));
    };
    signal.addEventListener('abort', end);
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}

function consumedRecord(record: StreamRecord): ConsumedRecord {
  return {
    sequence: record.sequence,
    partitionKey: record.partitionKey,
    data: Buffer.from(record.data, record.encoding),
    arrivalMs: Date.parse(record.arrivalTime),
  };
}
