/**
 * The answers of our own API (`/api/v1`), as zod schemas and the types inferred from them. The
 * OpenAPI document, the handlers and the page are all held to these; nothing is decided here.
 *
 * Conventions:
 * - A time is an ISO 8601 string in UTC (`2026-01-31T09:30:00.250Z`), with three digits of a
 *   second, or six where the store knows microseconds. Its field ends in `Time`.
 * - A duration is a number and its field ends in its unit (`durationMs`).
 * - Hash keys are decimal strings, because they exceed a double; sequence numbers are integers.
 * - `null` means "there is none"; no field is ever left out.
 */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

// ---------------------------------------------------------------- errors

/** Every error, of every route outside the AWS APIs, has this shape. */
export const ErrorSchema = z
  .object({
    error: z.object({
      code: z.string().describe('One of a closed list; what a program may act on'),
      message: z.string().describe('A sentence for people'),
      details: z
        .array(z.object({ field: z.string(), message: z.string() }))
        .describe('What is wrong with which part of the request; often empty'),
    }),
  })
  .openapi('Error');

// ---------------------------------------------------------------- status

export const HealthStatusSchema = z
  .enum(['ok', 'degraded', 'failing'])
  .describe('degraded: it works, but something (often the uplink) does not');

export const HealthSchema = z
  .object({
    status: HealthStatusSchema,
    checks: z.array(
      z.object({
        name: z.string(),
        status: HealthStatusSchema,
        message: z.string().nullable().describe('What is wrong, and what to do about it'),
      }),
    ),
  })
  .openapi('Health');

export const MqttStatusSchema = z
  .object({
    address: z.string().describe('host:port it listens on'),
    connections: count.describe('Devices connected now'),
    receivedMessages: count.describe('Since the start'),
    messagesPerSecond: z.number().min(0).describe('Over the last ten seconds'),
    bytesPerSecond: z.number().min(0).describe('Over the last ten seconds'),
    undecodableMessages: count.describe('Kept raw, since the start'),
    unroutedMessages: count.describe('Matched no route and were not stored, since the start'),
    lostMessages: count.describe('Of QoS 0, refused by the log, since the start'),
    refusedConnections: count.describe('Turned away or broken off, since the start'),
    routes: z.array(
      z.object({
        topic: z.string(),
        stream: z.string(),
        messages: count,
        bytes,
        undecodable: count.describe('Stored raw'),
        keyFallbacks: count.describe('Keyed by their topic, as the key was not in them'),
        lastMessageTime: time.nullable(),
      }),
    ),
  })
  .openapi('MqttStatus');

export const RtspStatusSchema = z
  .object({
    address: z.string().describe('host:port it listens on'),
    publishers: count.describe('Cameras pushing now'),
    readers: count.describe('Players attached now'),
  })
  .openapi('RtspStatus');

export const LossSchema = z
  .object({
    kind: z.string().describe('A word of a closed list'),
    what: z.string().describe('What is counted, for people'),
    subject: z.string().describe('The stream, camera or delivery'),
    count,
    bytes: bytes.describe('0 where it is not known'),
    firstTime: time,
    lastTime: time,
  })
  .openapi('Loss');

export const ClockSchema = z
  .object({
    time: time.describe("The gateway's clock, now"),
    suspended: z
      .object({
        sinceTime: time.describe('What the clock said when it began'),
        stepMs: z.number().int().describe('How far the clock went, against what was expected'),
        expectedTime: time.describe('What the clock before the step would say'),
        healsInMs: count.describe('When it ends by itself'),
      })
      .nullable()
      .describe('Nothing stored before the step is deleted by age; null: age is believed'),
    steps: z
      .array(z.object({ time, stepMs: z.number().int(), whileStopped: z.boolean() }))
      .describe('The newest last'),
    expiring: z
      .array(
        z.object({
          kind: z.enum(['stream', 'camera']),
          name: z.string(),
          count: count.describe('Records, or media files'),
        }),
      )
      .describe('What is older than its retention by this clock'),
  })
  .openapi('Clock');

export const BackupSchema = z
  .object({
    state: z.enum(['none', 'running', 'done', 'failed']).describe('Of the newest since the start'),
    folder: z.string().nullable(),
    logOnly: z.boolean(),
    files: count.describe('Copied so far'),
    bytes,
    goneFiles: count.describe('Media files that retention deleted before they were copied'),
    error: z.string().nullable(),
  })
  .openapi('Backup');

export const StatusSchema = z
  .object({
    gatewayId: z.string(),
    processId: z.int().describe("Of the gateway's process, on its machine"),
    version: z.string(),
    startTime: time,
    time: time.describe("The gateway's clock, now"),
    health: HealthSchema,
    storage: z.object({
      logBytes: bytes.describe('Records stored, all streams'),
      videoBytes: bytes.describe('Footage stored, all cameras'),
      freeBytes: bytes.nullable().describe('Left on the disk; null when it cannot be told'),
      fullTime: time
        .nullable()
        .describe('When a disk will be full if all goes on as it went; null: what is kept fits'),
    }),
    losses: z.array(LossSchema).describe('What was lost, ever; empty when nothing was'),
    mqtt: MqttStatusSchema.nullable(),
    rtsp: RtspStatusSchema.nullable(),
    counts: z.object({
      streams: count,
      cameras: count,
      camerasRecording: count,
      deliveries: count,
      deliveriesFailing: count,
    }),
  })
  .openapi('Status');

// ---------------------------------------------------------------- files

export const FileSourceSchema = z
  .object({
    name: z.string(),
    path: z.string().describe('The file, folder or pattern'),
    stream: z.string(),
    state: z.enum(['starting', 'running', 'backing-off', 'stopped']),
    files: count.describe('Followed now'),
    records: count.describe('Since the start'),
    bytes: bytes.describe('Bytes of those records'),
    backlogBytes: bytes.describe('In the files, and not stored yet'),
    unconverted: count.describe('Stored as they were, since the start'),
    cut: count.describe('Records cut at maxLineBytes, since the start'),
    truncations: count.describe('Files truncated or written anew, since the start'),
    lastRecordTime: time.nullable(),
    refusal: z.string().nullable().describe('Why the log takes nothing; null when it does'),
    lastError: z.string().nullable(),
    troubles: z
      .array(z.object({ path: z.string(), reason: z.string() }))
      .describe('What is not read, and why'),
  })
  .openapi('FileSource');

export const FileSourcesSchema = z
  .object({ files: z.array(FileSourceSchema) })
  .openapi('FileSources');

// ---------------------------------------------------------------- streams

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

// ---------------------------------------------------------------- deliveries

const BacklogSchema = z.object({
  bytes,
  records: count.describe('Or media files, from a camera'),
  ms: count.describe('Age of the oldest thing not yet sent'),
});

const NewestFailedSchema = z.object({ time, reason: z.string() });

const countedSince = time.describe(
  'When its counters began: with the gateway, or when it was begun again with another configuration',
);

export const DeliverySchema = z
  .object({
    name: z.string(),
    backupOf: z
      .string()
      .nullable()
      .describe(
        'The delivery that it keeps the records of, as they came, or those of them that failed; null: it is no backup',
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
    lastError: z
      .object({
        time,
        code: z.string(),
        message: z.string(),
        advice: z.string().nullable().describe('What to do about it; null: nothing but to wait'),
      })
      .nullable(),
    lastSuccessTime: time.nullable(),
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

// ---------------------------------------------------------------- functions

const FailedBatchesSchema = z
  .object({
    batches: count.describe('Kept in deadLetter and not done since; one in parts counts each'),
    newest: NewestFailedSchema.nullable().describe('null: there is none, or it can not be told'),
    isReplaying: z.boolean().describe('They are being handed over again'),
  })
  .nullable();

const GivenUpSchema = z.object({
  batches: count,
  records: count.describe('A last call of a window has none'),
});

export const FunctionSchema = z
  .object({
    name: z.string(),
    stream: z.string().describe('Whose records it gets'),
    function: z.object({
      kind: z.enum(['lambda', 'http', 'module']),
      description: z.string().describe('Which it is, without secrets'),
    }),
    deadLetter: z.string().nullable().describe('Where batches go that are given up'),
    failed: FailedBatchesSchema.describe(
      'What was given up; null: without deadLetter nothing is kept, or lastError tells why it is unknown',
    ),
    givenUp: z
      .object({
        kept: GivenUpSchema.describe('In deadLetter'),
        gone: GivenUpSchema.describe('Kept nowhere, as there was no deadLetter'),
        newest: NewestFailedSchema.nullable().describe('null: nothing was given up'),
      })
      .describe('Since sinceTime; what fails again after a replay counts again'),
    held: z
      .object({
        by: z
          .enum(['pause', 'configuration'])
          .describe('What holds it back: a pause, or functions.*.paused'),
        reason: z.string(),
      })
      .nullable()
      .describe('Why no call is begun now; null: it is not held back'),
    required: z.boolean().describe('Pins what it has not had yet'),
    state: z
      .enum(['starting', 'running', 'backing-off', 'waiting'])
      .describe('backing-off: failed, and will be tried again; waiting: held back, see held'),
    lastError: z
      .string()
      .nullable()
      .describe('What goes wrong now; null: nothing. What was given up is in givenUp'),
    advice: z.string().nullable().describe('What to do about lastError; null: nothing but to wait'),
    sinceTime: countedSince,
    records: count.describe('Done, or given up, since sinceTime'),
    backlog: BacklogSchema,
    metrics: z
      .object({
        Invocations: count,
        Errors: count.describe('Calls that the function failed'),
        Throttles: count.describe('Calls that did not reach the function, or that it put off'),
        Duration: z.object({ Average: z.number().min(0), Maximum: z.number().min(0) }),
        IteratorAge: z.number().min(0).describe('Of the last record of the last batch'),
        DeadLetterErrors: count,
        FilteredOutEventCount: count,
        DroppedEventCount: count.describe('Records given up, kept or not'),
      })
      .describe('Under the names of Lambda, since sinceTime; times in milliseconds'),
  })
  .openapi('Function');

export const FunctionReplaySchema = z
  .object({ name: z.string(), batches: count.describe('That had failed by then') })
  .openapi('FunctionReplay');

export const RemovedFunctionSchema = z
  .object({
    name: z.string(),
    backlog: BacklogSchema,
    deadLetter: z
      .string()
      .nullable()
      .describe('Where it kept what it gave up; null: nowhere, or its stream is gone'),
    failed: FailedBatchesSchema.describe('null: nothing was kept, or it can not be read'),
  })
  .openapi('RemovedFunction');

export const FunctionsSchema = z
  .object({
    functions: z.array(FunctionSchema),
    removed: z
      .array(RemovedFunctionSchema)
      .describe('No longer configured: they go on where they were, until they are forgotten'),
  })
  .openapi('Functions');

export const ReloadSchema = z
  .object({
    changed: z.array(z.string()).describe('What was taken over, such as cameras.front'),
    needsRestart: z.array(z.string()).describe('What a restart only takes over, such as http.port'),
    withoutEffect: z
      .array(z.string())
      .describe('What is written and nothing comes of, such as another number of shards'),
  })
  .openapi('Reload');

// ---------------------------------------------------------------- types

export type ApiError = z.infer<typeof ErrorSchema>;
export type Health = z.infer<typeof HealthSchema>;
export type MqttStatus = z.infer<typeof MqttStatusSchema>;
export type RtspStatus = z.infer<typeof RtspStatusSchema>;
export type Loss = z.infer<typeof LossSchema>;
export type ClockAnswer = z.infer<typeof ClockSchema>;
export type ReloadAnswer = z.infer<typeof ReloadSchema>;
export type BackupAnswer = z.infer<typeof BackupSchema>;
export type Status = z.infer<typeof StatusSchema>;
export type Rate = z.infer<typeof RateSchema>;
export type Shard = z.infer<typeof ShardSchema>;
export type Shards = z.infer<typeof ShardsSchema>;
export type Stream = z.infer<typeof StreamSchema>;
export type Streams = z.infer<typeof StreamsSchema>;
export type StreamRecord = z.infer<typeof RecordSchema>;
export type StreamRecords = z.infer<typeof RecordsSchema>;
export type DeliveryMeteringAnswer = z.infer<typeof DeliveryMeteringSchema>;
export type MeteringAnswer = z.infer<typeof MeteringSchema>;
export type Keys = z.infer<typeof KeysSchema>;
export type Series = z.infer<typeof SeriesSchema>;
export type FileSources = z.infer<typeof FileSourcesSchema>;
export type Records = z.infer<typeof RecordsSchema>;
export type Places = z.infer<typeof PlacesSchema>;
export type StreamFunction = z.infer<typeof FunctionSchema>;
export type Functions = z.infer<typeof FunctionsSchema>;
export type Delivery = z.infer<typeof DeliverySchema>;
export type Deliveries = z.infer<typeof DeliveriesSchema>;
