/** What our own API says of streams, and what it takes for them. */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

export const RateSchema = z
  .object({
    windowMs: count.describe('What was averaged over'),
    recordsPerSecond: z.number().min(0),
    bytesPerSecond: z.number().min(0).describe('Stored bytes'),
  })
  .openapi('Rate');

export const ShardSchema = z
  .object({
    index: count.describe("Position within the stream: AWS's shardId-000000000012 is 12"),
    firstHashKey: z.string(),
    lastHashKey: z.string(),
    parents: z.array(count),
    createdTime: time,
    closedTime: time.nullable().describe('Set once the shard was split or merged'),
    trimSequence: count.describe('The lowest sequence number that can still be read'),
    nextSequence: count.describe('What the next record will get'),
  })
  .openapi('Shard');

export const StreamSchema = z
  .object({
    name: z.string(),
    mode: z.enum(['on-demand', 'provisioned']),
    createdTime: time,
    retentionMs: count,
    maxBytes: bytes.nullable().describe('Byte budget; null: none of its own'),
    whenFull: z.enum(['refuse', 'drop-oldest']),
    compression: z.enum(['none', 'deflate']).describe('How records to come are compressed on disk'),
    encryption: z
      .enum(['none', 'aes-256-gcm'])
      .describe('How records to come are encrypted on disk'),
    storedBytes: bytes,
    storedRecords: count,
    refusing: z.boolean().describe('It is full, and takes no new records until some have gone'),
    openShards: count,
    rate: RateSchema.nullable().describe('null for a stream of more than 64 open shards'),
  })
  .openapi('Stream');

export const StreamsSchema = z.object({ streams: z.array(StreamSchema) }).openapi('Streams');
export const ShardsSchema = z.object({ shards: z.array(ShardSchema) }).openapi('Shards');

export const RecordSchema = z
  .object({
    sequence: count,
    arrivalTime: time,
    partitionKey: z.string(),
    encoding: z.enum(['utf8', 'base64']).describe('base64 where the data is not valid UTF-8'),
    data: z.string(),
  })
  .openapi('Record');

export const RecordsSchema = z
  .object({
    records: z.array(RecordSchema),
    nextSequence: count.describe('Where to read on'),
    endOfShard: z.boolean().describe('The shard is closed and this was its end'),
    behind: z.object({ records: count, ms: count }).describe('From here to the newest record'),
    skipped: z.object({
      trimmed: count.describe('Deleted by retention'),
      corrupt: count.describe('In a batch found damaged'),
    }),
  })
  .openapi('Records');

export const MeteringSchema = z
  .object({
    sinceTime: time.describe('When counting began: the start of the gateway'),
    metrics: z.array(
      z.object({
        name: z.string().openapi({ example: 'IncomingBytes' }),
        unit: z.enum(['Bytes', 'Count', 'Milliseconds', 'Hours']),
        consumer: z.string().nullable().describe('With enhanced fan-out'),
        shard: count.nullable().describe('Its index; monitored shards only'),
        total: z.number().min(0).nullable().describe('null: it does not add up'),
        lastMinute: z
          .number()
          .min(0)
          .nullable()
          .describe(
            'Of the last whole minute; in milliseconds: the highest of the last two, null: none',
          ),
      }),
    ),
  })
  .openapi('Metering');

/** Hash keys exceed a double: decimal text. */
const hashKey = z
  .string()
  .regex(/^(0|[1-9]\d{0,38})$/)
  .describe('0 to 2^128 - 1, decimal');

export const PutRecordsSchema = z
  .strictObject({
    records: z
      .array(
        z.strictObject({
          partitionKey: z
            .string()
            .min(1)
            .max(256)
            .optional()
            .describe('What keeps records in order; a random one when left out'),
          encoding: z.enum(['utf8', 'base64']).default('utf8'),
          data: z.string(),
          explicitHashKey: hashKey.optional(),
        }),
      )
      .min(1)
      .max(500),
  })
  .openapi('PutRecords');

export const PlacesSchema = z
  .object({
    places: z
      .array(z.object({ shard: count.describe('Its index'), sequence: count }))
      .describe('In the order of the records'),
  })
  .openapi('Places');

export const KeysSchema = z
  .object({
    keys: z.array(
      z.object({
        key: z.string(),
        records: count.describe('Of those scanned'),
        lastTime: time,
        fields: z
          .array(z.string())
          .describe('Dotted paths of numeric fields in its JSON; "" where the data is a number'),
      }),
    ),
    scannedRecords: count,
    totalRecords: count.describe('In the time asked for'),
    complete: z.boolean().describe('false: only a sample of the time asked for was read'),
  })
  .openapi('Keys');

/** For charts: bucket `i` covers `stepMs` from `startTime + i * stepMs`; null is an empty one. */
export const SeriesSchema = z
  .object({
    startTime: time,
    stepMs: z.number().positive(),
    series: z.array(
      z.object({
        key: z.string(),
        records: count.describe('Values found'),
        min: z.array(z.number().nullable()),
        max: z.array(z.number().nullable()),
        avg: z.array(z.number().nullable()),
      }),
    ),
    scannedRecords: count,
    totalRecords: count.describe('In the time asked for'),
    complete: z
      .boolean()
      .describe('false: more records than one call reads, so an even sample of them was taken'),
  })
  .openapi('Series');

export type Rate = z.infer<typeof RateSchema>;
export type Shard = z.infer<typeof ShardSchema>;
export type Shards = z.infer<typeof ShardsSchema>;
export type Stream = z.infer<typeof StreamSchema>;
export type Streams = z.infer<typeof StreamsSchema>;
export type StreamRecord = z.infer<typeof RecordSchema>;
export type StreamRecords = z.infer<typeof RecordsSchema>;
export type MeteringAnswer = z.infer<typeof MeteringSchema>;
export type Keys = z.infer<typeof KeysSchema>;
export type Series = z.infer<typeof SeriesSchema>;
export type Records = z.infer<typeof RecordsSchema>;
export type Places = z.infer<typeof PlacesSchema>;
