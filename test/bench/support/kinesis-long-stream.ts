/** A stream of millions of records, written by the log itself, and times to look for in it. */
import { mkdir } from 'node:fs/promises';
import { systemClock } from '../../../storage/clock.ts';
import type { RecordInput } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { openStore } from '../../../storage/store.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import type { Input } from './kinesis-callers.ts';

export const longStream = 'long';
const recordsPerAppend = 10_000;
const appendsInFlight = 4;
const retentionMs = 7 * 24 * 3_600_000;
const queries = 200;

export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** Fills a data folder; a record arrives every tenth of a millisecond, the last one now. */
export async function fillLongStream(folder: string, records: number): Promise<Span> {
  const toMs = Date.now();
  const fromMs = toMs - records / 10;
  let nowMs = fromMs;
  const clock: Clock = { ...systemClock, nowMs: () => nowMs };
  await mkdir(folder, { recursive: true });
  const store = await openStore({
    folder,
    clock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    video: { minFreeBytes: 0 },
  });
  try {
    await store.log.createStream({
      ...{ name: longStream, shardCount: 1, mode: 'provisioned', retentionMs },
      ...{ maxBytes: null, whenFull: 'refuse' },
    });
    const data = Buffer.alloc(20, 7);
    const batch = Array.from({ length: recordsPerAppend }, (_, index): RecordInput => ({
      partitionKey: `device-${index % 1000}`,
      data,
    }));
    let left = records / recordsPerAppend;
    const append = async (): Promise<void> => {
      while (left-- > 0) {
        const places = store.log.append(longStream, batch);
        nowMs += recordsPerAppend / 10;
        await places;
      }
    };
    await Promise.all(Array.from({ length: appendsInFlight }, append));
  } finally {
    await store.close();
  }
  return { fromMs, toMs };
}

/** Requests of GetShardIterator for times all over the stream. */
export function longStreamQueries({ fromMs, toMs }: Span): readonly Input[] {
  const random = seededRandom(1);
  return Array.from({ length: queries }, () => ({
    StreamName: longStream,
    ShardId: 'shardId-000000000000',
    ShardIteratorType: 'AT_TIMESTAMP',
    Timestamp: Math.floor(fromMs + random() * (toMs - fromMs)) / 1000,
  }));
}
