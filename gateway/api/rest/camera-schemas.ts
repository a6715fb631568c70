/** What our own API says of cameras. */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

export const CameraStateSchema = z
  .enum(['disabled', 'starting', 'waiting', 'recording', 'backing-off', 'stopped'])
  .describe('waiting: for the camera to push; backing-off: failed, and will be tried again');

export const TrackSchema = z
  .object({
    kind: z.enum(['video', 'audio']),
    codec: z.string().describe('RFC 6381, such as avc1.64001f'),
    width: count.nullable(),
    height: count.nullable(),
    sampleRate: count.nullable(),
    channels: count.nullable(),
  })
  .openapi('Track');

export const FragmentSchema = z
  .object({
    number: count,
    runId: count,
    initId: count,
    startTime: time,
    durationMs: z.number().min(0),
    producerTime: time.nullable().describe("By the camera's own clock, when it told one"),
    serverTime: time.describe('When its first byte arrived here'),
    bytes,
    damaged: z.boolean(),
    tags: z.record(z.string(), z.string()).describe('What was noted of it'),
    url: z.string().describe('Its media (fMP4, without init)'),
    initUrl: z.string().describe('The init that goes before it'),
  })
  .openapi('Fragment');

export const CameraEventSchema = z
  .object({
    id: count,
    kind: z.string().describe('What happened'),
    startTime: time,
    endTime: time.describe('The same as startTime for an instant'),
    data: z.unknown().describe('Whatever came with it: any JSON'),
    hold: z.boolean().describe('Keeps its footage from being deleted by age and bytes'),
    createdTime: time,
  })
  .openapi('CameraEvent');

export const CameraEventsSchema = z
  .object({
    events: z.array(CameraEventSchema),
    complete: z.boolean().describe('false: there are more of them, later'),
  })
  .openapi('CameraEvents');

export const CameraSchema = z
  .object({
    name: z.string(),
    state: CameraStateSchema,
    stateTime: time.nullable().describe('Since when'),
    source: z.string().nullable().describe('How it comes in, credentials masked'),
    lastError: z.string().nullable(),
    restarts: count,
    nextAttemptTime: time.nullable(),
    tracks: z.array(TrackSchema).describe('Of the newest fragment; empty before the first'),
    lastFrameTime: time.nullable().describe('End of the fragment recorded last'),
    bitsPerSecond: z.number().min(0).nullable().describe('Over the newest fragments'),
    storedBytes: bytes,
    firstTime: time.nullable().describe('Start of the earliest footage'),
    lastTime: time
      .nullable()
      .describe('End of the latest footage; a clock may have dated it ahead'),
    retentionMs: count.nullable(),
    maxBytes: bytes.nullable(),
    events: z.string().nullable().describe('The stream in which its fragments announce themselves'),
    encryption: z.enum(['none', 'aes-256-gcm']).describe('Of what is recorded now'),
    record: z.enum(['continuous', 'events', 'off']).describe('What of it is kept'),
    liveUrl: z.string().describe('HLS; 404 until something is recorded'),
    whepUrl: z
      .string()
      .nullable()
      .describe('WebRTC; null while it does not send, or sends what browsers do not play so'),
    substream: z
      .object({
        liveUrl: z.string().describe('HLS'),
        whepUrl: z.string().nullable().describe('WebRTC; null where browsers do not play it so'),
        lastError: z
          .string()
          .nullable()
          .describe('Why it did not come when it was last wanted; null: nothing speaks against it'),
      })
      .nullable()
      .describe('Its small picture, fetched while somebody watches it; null: it has none'),
  })
  .openapi('Camera');

export const CamerasSchema = z.object({ cameras: z.array(CameraSchema) }).openapi('Cameras');

export const RunSchema = z
  .object({
    id: count,
    startTime: time,
    endTime: time.nullable().describe('null while it goes on'),
    endReason: z.string().nullable(),
  })
  .openapi('Run');

export const RunsSchema = z
  .object({
    runs: z.array(RunSchema),
    complete: z.boolean().describe('false: only the newest of them are here'),
  })
  .openapi('Runs');

export const FragmentsSchema = z
  .object({
    fragments: z.array(FragmentSchema),
    nextCursor: z.string().nullable().describe('Pass as `cursor` for the next page; null: the end'),
  })
  .openapi('Fragments');

export const TimelineSchema = z
  .object({
    startTime: time,
    endTime: time,
    spans: z
      .array(z.object({ startTime: time, endTime: time }))
      .describe('Footage, in order; neighbours closer than mergeGapMs are joined'),
    gaps: z
      .array(
        z.object({
          startTime: time,
          endTime: time,
          reason: z.string().nullable().describe('Why the run before it ended'),
        }),
      )
      .describe('Between the spans'),
    complete: z.boolean().describe('false: too many runs; the oldest are left out'),
  })
  .openapi('Timeline');

export const CameraSourceSchema = z
  .strictObject({
    source: z
      .strictObject({
        rtsp: z
          .string()
          .max(2048)
          .describe('rtsp:// or rtsps://, to a host in sources.allowedNetworks'),
      })
      .describe('Where the gateway fetches the stream from'),
    substream: z
      .strictObject({ rtsp: z.string().max(2048).describe('As source.rtsp') })
      .optional()
      .describe('A smaller picture of it, fetched only while somebody watches'),
    transport: z.enum(['tcp', 'udp']).optional().describe('How packets come; tcp by default'),
    verifyTls: z.boolean().optional().describe('false accepts any certificate'),
    retentionHours: z.number().min(1).max(87_600).nullable().optional(),
    maxBytes: z
      .int()
      .min(16 * 2 ** 20)
      .nullable()
      .optional(),
    events: z.string().max(128).nullable().optional().describe('A stream for its announcements'),
    stallSeconds: z.number().min(1).max(3600).optional(),
  })
  .openapi('CameraSource');

export type CameraSource = z.infer<typeof CameraSourceSchema>;
export type CameraState = z.infer<typeof CameraStateSchema>;
export type Track = z.infer<typeof TrackSchema>;
export type CameraFragment = z.infer<typeof FragmentSchema>;
export type CameraEvent = z.infer<typeof CameraEventSchema>;
export type CameraEvents = z.infer<typeof CameraEventsSchema>;
export type CameraFragments = z.infer<typeof FragmentsSchema>;
export type Camera = z.infer<typeof CameraSchema>;
export type Cameras = z.infer<typeof CamerasSchema>;
export type CameraRun = z.infer<typeof RunSchema>;
export type CameraRuns = z.infer<typeof RunsSchema>;
export type Timeline = z.infer<typeof TimelineSchema>;
