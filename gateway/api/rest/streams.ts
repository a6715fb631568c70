/** Routes of the log: streams, their shards and records. Charts are in series.ts. */
import { createRoute, z } from '@hono/zod-openapi';
import { isUtf8 } from 'node:buffer';
import type {
  Log,
  LogRecord,
  ShardDescription,
  StreamDescription,
} from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { HttpError } from '../../http/errors.ts';
import { streamNamed } from './absent.ts';
import { answers, nameParameter, wholeQuery, type RestRouter } from './router.ts';
import {
  RecordsSchema,
  ShardsSchema,
  StreamSchema,
  StreamsSchema,
  type Rate,
  type Shard,
  type Stream,
  type StreamRecord,
} from './stream-schemas.ts';
import { isoFromMs, isoFromMsOrNull, timeQuery } from './times.ts';
import type { Waiting } from './waiting.ts';

const rateWindowMs = 10_000;
const rateShardsMax = 64;
const recordsMax = 1_000;
const recordBytesMax = 4 * 1024 * 1024;
/** Well below the 60 s after which a silent connection is closed. */
const waitSecondsMax = 20;

export interface StreamRoutesOptions {
  readonly log: Log;
  readonly clock: Clock;
  readonly waiting: Waiting;
}

const list = createRoute({
  method: 'get',
  path: '/streams',
  summary: 'The data streams',
  responses: answers(StreamsSchema, 'All streams, by name'),
});

const one = createRoute({
  method: 'get',
  path: '/streams/{name}',
  summary: 'One data stream',
  request: { params: nameParameter },
  responses: answers(StreamSchema, 'The stream'),
});

const shards = createRoute({
  method: 'get',
  path: '/streams/{name}/shards',
  summary: 'The shards of a stream, closed ones too',
  request: { params: nameParameter },
  responses: answers(ShardsSchema, 'By index'),
});

const records = createRoute({
  method: 'get',
  path: '/streams/{name}/shards/{index}/records',
  summary: 'Records of a shard, in order',
  description:
    'Begins at `sequence`, or at the first record that arrived at or after `time`, or at ' +
    '`position`; give one of them at most. `latest` is the newest `limit` records. Where there is ' +
    'nothing to read yet, the answer waits for the first record, for `waitSeconds` at most.',
  request: {
    params: nameParameter.extend({ index: z.coerce.number().int().min(0) }),
    query: z.object({
      sequence: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
      time: timeQuery.optional(),
      position: z.enum(['earliest', 'latest']).optional(),
      limit: wholeQuery(1, recordsMax, 100),
      waitSeconds: wholeQuery(0, waitSecondsMax, 0),
    }),
  },
  responses: answers(RecordsSchema, 'At most `limit` records and about 4 MiB of data'),
});

export function streamRoutes(
  router: RestRouter,
  { log, clock, waiting }: StreamRoutesOptions,
): void {
  router.openapi(list, async (c) => {
    const streams: Stream[] = [];
    const sorted = [...log.streams()].sort((a, b) => a.name.localeCompare(b.name));
    for (const stream of sorted) streams.push(await describe(log, clock, stream));
    return c.json({ streams }, 200);
  });

  router.openapi(one, async (c) =>
    c.json(await describe(log, clock, streamNamed(log, c.req.valid('param').name)), 200),
  );

  router.openapi(shards, (c) => {
    const stream = streamNamed(log, c.req.valid('param').name);
    return c.json({ shards: stream.shards.map(shardOf) }, 200);
  });

  router.openapi(records, async (c) => {
    const { name, index } = c.req.valid('param');
    const { sequence, time, position, limit, waitSeconds } = c.req.valid('query');
    if ([sequence, time, position].filter((given) => given !== undefined).length > 1) {
      throw new HttpError('bad-request', 'Give one of sequence, time and position, not several.');
    }
    const shard = streamNamed(log, name).shards.find((candidate) => candidate.index === index);
    if (shard === undefined) throw new HttpError('not-found', `${name} has no shard ${index}.`);
    const fromSequence =
      sequence ??
      (time !== undefined
        ? await log.sequenceAt(shard.id, time)
        : position === 'latest'
          ? Math.max(shard.trimSequence, shard.nextSequence - limit)
          : shard.trimSequence);
    const read = {
      shardId: shard.id,
      fromSequence,
      maxRecords: limit,
      maxBytes: recordBytesMax,
    };
    let result = await log.read(read);
    if (waitSeconds > 0 && !result.endOfShard && result.nextSequence === fromSequence) {
      const gone = c.req.raw.signal;
      const waitMs = waitSeconds * 1_000;
      await waiting.forRecords({ shardId: shard.id, fromSequence, waitMs, gone });
      result = await log.read(read);
    }
    return c.json(
      {
        records: result.records.map(recordOf),
        nextSequence: result.nextSequence,
        endOfShard: result.endOfShard,
        behind: { records: result.recordsBehind, ms: Math.max(0, result.millisBehind) },
        skipped: { ...result.skipped },
      },
      200,
    );
  });
}

async function describe(log: Log, clock: Clock, stream: StreamDescription): Promise<Stream> {
  const { shards: all } = stream;
  return {
    name: stream.name,
    mode: stream.mode,
    createdTime: isoFromMs(stream.createdMs),
    retentionMs: stream.retentionMs,
    maxBytes: stream.maxBytes,
    whenFull: stream.whenFull,
    compression: stream.compression ?? 'none',
    encryption: stream.encryption ?? 'none',
    storedBytes: stream.storedBytes,
    storedRecords: all.reduce((sum, shard) => sum + shard.nextSequence - shard.trimSequence, 0),
    refusing: stream.refusing,
    openShards: all.filter((shard) => shard.closedMs === null).length,
    rate: await rateOf(log, clock, all),
  };
}

/** Asked of the log itself: what arrived within the window is what lies there. */
async function rateOf(
  log: Log,
  clock: Clock,
  all: readonly ShardDescription[],
): Promise<Rate | null> {
  const sinceMs = clock.nowMs() - rateWindowMs;
  const recent = all.filter(({ closedMs }) => closedMs === null || closedMs >= sinceMs);
  if (recent.length > rateShardsMax) return null;
  let [recordCount, byteCount] = [0, 0];
  for (const { id } of recent) {
    const { records: count, bytes } = await log.backlog(id, await log.sequenceAt(id, sinceMs));
    recordCount += count;
    byteCount += bytes;
  }
  const windowS = rateWindowMs / 1_000;
  return {
    windowMs: rateWindowMs,
    recordsPerSecond: recordCount / windowS,
    bytesPerSecond: byteCount / windowS,
  };
}

function shardOf(shard: ShardDescription): Shard {
  return {
    index: shard.index,
    firstHashKey: shard.firstHashKey.toString(),
    lastHashKey: shard.lastHashKey.toString(),
    parents: [...shard.parents],
    createdTime: isoFromMs(shard.createdMs),
    closedTime: isoFromMsOrNull(shard.closedMs),
    trimSequence: shard.trimSequence,
    nextSequence: shard.nextSequence,
  };
}

function recordOf({ sequence, arrivalMs, partitionKey, data }: LogRecord): StreamRecord {
  const encoding = isUtf8(data) ? 'utf8' : 'base64';
  return {
    sequence,
    arrivalTime: isoFromMs(arrivalMs),
    partitionKey,
    encoding,
    data: data.toString(encoding),
  };
}
