/** What our own API says of the gateway as a whole, and of the files that it follows. */
import { z } from '@hono/zod-openapi';
import { bytes, count, time } from './leaves.ts';

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

export type Health = z.infer<typeof HealthSchema>;
export type MqttStatus = z.infer<typeof MqttStatusSchema>;
export type RtspStatus = z.infer<typeof RtspStatusSchema>;
export type Loss = z.infer<typeof LossSchema>;
export type Status = z.infer<typeof StatusSchema>;
export type FileSources = z.infer<typeof FileSourcesSchema>;
