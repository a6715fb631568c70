/** What our own API says of deliveries. */
import { z } from '@hono/zod-openapi';
import { BacklogSchema, NewestFailedSchema, countedSince } from './flow-schemas.ts';
import { bytes, count, time } from './leaves.ts';

export const DeliverySchema = z
  .object({
    name: z.string(),
    backupOf: z
      .string()
      .nullable()
      .describe(
        'The delivery that it keeps the records of, as they came, or those of them that failed; null: it is no backup',
      ),
    keeps: z
      .enum(['records', 'failed'])
      .nullable()
      .describe(
        'Which records of backupOf it keeps: records is all of them, failed those that failed; null: it is no backup',
      ),
    origin: z
      .enum(['configuration', 'firehose'])
      .describe('Where it was made, and is changed: firehose is the Firehose API'),
    from: z.object({ kind: z.enum(['stream', 'camera']), name: z.string() }),
    to: z.object({
      kind: z
        .string()
        .describe(
          'folder, s3, kinesis, kinesis-video, http, opensearch, splunk, dynamodb, redshift, nats, kafka',
        ),
      description: z.string().describe('Where to, without secrets'),
    }),
    required: z.boolean().describe('Pins what it has not sent yet'),
    state: z
      .enum(['starting', 'idle', 'gathering', 'sending', 'backing-off', 'waiting', 'stopped'])
      .describe(
        'idle: everything is sent; gathering: what there is waits for more, to go with it; backing-off: failed, and will be tried again; waiting: held back, see held',
      ),
    gatheringUntilTime: time
      .nullable()
      .describe('When what is gathered goes at the latest; null: nothing is gathered'),
    held: z
      .object({
        by: z
          .enum(['permission', 'pause', 'schedule', 'command'])
          .describe(
            'What holds it back: what was made over the Firehose API may not be sent there any more (firehose.allowed), a pause, deliveries.*.schedule or deliveries.*.onlyWhile',
          ),
        reason: z.string(),
        advice: z
          .string()
          .nullable()
          .describe('What to do about it; null: nothing, or the reason tells'),
        isFault: z
          .boolean()
          .describe('Nobody wants it: it may not send there, or the command can not be asked'),
        untilTime: time.nullable().describe('When it ends by itself; null: not known'),
      })
      .nullable()
      .describe(
        'Why nothing is begun now; null: it is not held back. A required delivery keeps what it has not sent meanwhile, within the byte limit of its source',
      ),
    priority: z.int().min(1).max(10).describe('The higher goes first where the link is narrow'),
    nextAttemptTime: time
      .nullable()
      .describe(
        'When the next attempt begins after one that failed; in the past: it is under way; null: none has failed',
      ),
    backlog: BacklogSchema,
    catchUp: z.enum(['in-order', 'live-first']),
    lanes: z
      .array(z.object({ kind: z.enum(['live', 'backlog']), backlog: BacklogSchema }))
      .describe('While new data goes out before a backlog: what each has still to send'),
    maxBytesPerSecond: z.number().nullable().describe('Its own cap; null: none'),
    rate: z.object({
      recordsPerSecond: z.number().min(0),
      bytesPerSecond: z.number().min(0),
    }),
    sinceTime: countedSince,
    sentRecords: count.describe('Since sinceTime'),
    sentBytes: bytes.describe('Since sinceTime'),
    errors: count.describe('Since sinceTime'),
    lost: count.describe('Records, or media files, gone before they were sent; since sinceTime'),
    failed: count.describe(
      'Records put aside with the reason, which are in the stream failed.<name> now',
    ),
    isReplaying: z.boolean().describe('They are being sent again'),
    lastFailed: NewestFailedSchema.nullable().describe(
      'The newest of those in the stream; null: none is there',
    ),
    underErrorPrefix: z
      .object({
        prefix: z.string().describe('As it is configured'),
        records: count.describe('Since sinceTime'),
        last: NewestFailedSchema.nullable().describe('null: none went there since'),
      })
      .nullable()
      .describe(
        'Records put aside into objects under layout.errorPrefix: they are not counted in failed, and no replay sends them; null: there is no such prefix',
      ),
    lastError: z
      .object({
        time,
        code: z.string(),
        message: z.string(),
        advice: z.string().nullable().describe('What to do about it; null: nothing but to wait'),
      })
      .nullable(),
    lastSuccessTime: time
      .nullable()
      .describe(
        'When something last arrived there, since the gateway started; null: nothing has since',
      ),
  })
  .openapi('Delivery');

export const FindingsSchema = z
  .object({
    findings: z.array(
      z.object({
        name: z.string().describe('What was looked at'),
        status: z.enum(['ok', 'warn', 'fail']),
        message: z.string(),
        advice: z.string().nullable().describe('What to do; null: nothing'),
      }),
    ),
  })
  .openapi('Findings');

export const DeliveryMeteringSchema = z
  .object({
    sinceTime: countedSince,
    metrics: z.array(
      z.object({
        name: z.string().openapi({ example: 'DeliveryToS3.DataFreshness' }),
        unit: z
          .enum(['Bytes', 'Count', 'Milliseconds', 'Seconds', 'Ratio'])
          .describe('Ratio: successes, of all attempts'),
        total: z.number().min(0).nullable().describe('null: it does not add up'),
        lastMinute: z
          .number()
          .min(0)
          .nullable()
          .describe('Of the last whole minute; of what does not add up: as it is now. null: none'),
      }),
    ),
  })
  .openapi('DeliveryMetering');

export const RemovedDeliverySchema = z
  .object({
    name: z.string(),
    backlog: BacklogSchema.describe('Of its source, not sent'),
    failed: count.describe('Records put aside, in the stream failed.<name>, and not sent again'),
    pins: z.boolean().describe('It keeps what it had planned to send'),
  })
  .openapi('RemovedDelivery');

export const ReplaySchema = z
  .object({ name: z.string(), records: count.describe('That had failed by then') })
  .openapi('Replay');

export const DeliveriesSchema = z
  .object({
    deliveries: z.array(DeliverySchema),
    removed: z.array(RemovedDeliverySchema).describe('No longer configured, with what they left'),
  })
  .openapi('Deliveries');

export type DeliveryMeteringAnswer = z.infer<typeof DeliveryMeteringSchema>;
export type Delivery = z.infer<typeof DeliverySchema>;
export type Deliveries = z.infer<typeof DeliveriesSchema>;
