/**
 * headgate.yaml, as one schema: every key with its description, default and limits, units last.
 * Here are its sections and what has none; a section of some size has a file of its own.
 *
 * The loader, the environment variables, the reference file, the printed configuration and the
 * masking of secrets are all made from this tree; nothing about a key is said anywhere else. What
 * keys mean together (references between sections, listening beyond loopback) is in rules.ts.
 */
import { z } from 'zod';
import { auth } from './auth.ts';
import { camera, cameras, sources, video } from './cameras.ts';
import { deliveries } from './deliveries.ts';
import { encryption } from './encryption.ts';
import { functions } from './event-sources.ts';
import { files } from './file-sources.ts';
import { firehose } from './firehose.ts';
import { hooks } from './hooks.ts';
import { http, tls } from './http.ts';
import { accountId, choice, decimal, flag, keyNotes, path, regionName, size } from './leaves.ts';
import { rtsp, webrtc } from './live-video.ts';
import { mqtt } from './mqtt.ts';
import { checkRules } from './rules.ts';
import { log, streams } from './streams.ts';

const aws = z.strictObject({
  region: regionName()
    .default('us-east-1')
    .describe('The region that the gateway takes itself for; clients set the same.'),
  accountId: accountId().default('000000000000').describe('The account that its ARNs name.'),
});

const kinesis = z.strictObject({
  enforceLimits: flag()
    .default(true)
    .describe(
      'Whether provisioned streams keep to the limits of their shards: 1 MiB and 1000 records a second in, 2 MiB and 5 reads a second out.',
    ),
});

const logging = z.strictObject({
  level: choice(['debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The least important lines that are written.'),
  format: choice(['auto', 'text', 'json'])
    .default('auto')
    .describe('text for people, json for machines; auto is text on a terminal and json elsewhere.'),
});

/** Beside the configuration file. */
export const defaultDataDir = './data';

/** The whole file. Everything has a default: an empty file is a configuration. */
export const configSchema = z
  .strictObject({
    dataDir: path('a folder').default(defaultDataDir).describe('Where everything is stored.'),
    mediaDir: path('a folder')
      .register(keyNotes, { allowed: 'a folder', path: true, example: '/mnt/footage' })
      .nullable()
      .default(null)
      .describe('Where footage is stored, for another disk; null: inside dataDir.'),
    ffmpegPath: path('a program')
      .register(keyNotes, {
        allowed: 'a program',
        path: true,
        program: true,
        example: '/usr/bin/ffmpeg',
      })
      .nullable()
      .default(null)
      .describe('The ffmpeg to use, version 5 or newer; null: the one in PATH.'),
    listen: choice(['loopback', 'lan'])
      .default('loopback')
      .describe(
        'Who can connect: loopback, this machine only; lan, other machines too, over TLS (RTSP: with digest authentication). With lan, a certificate and the users that are not configured are made; "headgate credentials" shows them.',
      ),
    tls: tls
      .prefault({})
      .describe('A certificate of your own; without it the gateway makes one where it needs one.'),
    shutdownTimeoutSeconds: decimal(1, 300)
      .default(10)
      .describe('After this long the gateway ends, when it is told to, whatever still hangs.'),
    http: http.prefault({}).describe('The page, the REST API, HLS, metrics.'),
    auth: auth.prefault({}).describe('Who may use the AWS APIs.'),
    encryption: encryption.prefault({}).describe('The key for what is encrypted on disk.'),
    mqtt: mqtt.prefault({}).describe('Telemetry in: an MQTT broker.'),
    rtsp: rtsp.prefault({}).describe('Video in: the server that cameras push to and players read.'),
    webrtc: webrtc.prefault({}).describe('Video in and out for browsers: WHIP and WHEP.'),
    log: log.prefault({}).describe('The record log on disk.'),
    aws: aws.prefault({}).describe('What the gateway is to AWS clients.'),
    kinesis: kinesis
      .prefault({})
      .describe('The Kinesis Data Streams API, which AWS clients speak on the port of http.'),
    firehose: firehose
      .prefault({})
      .describe('The Firehose API, which AWS clients speak on the port of http.'),
    logging: logging.prefault({}).describe('What the gateway says about itself, on stdout.'),
    video: video.prefault({}).describe('The store of footage.'),
    sources: sources.prefault({}).describe('What a source may be.'),
    streams: streams.prefault({}).describe('Data streams, by name.'),
    files: files
      .prefault({})
      .describe('Files whose lines go to a stream, as they are written; by name.'),
    cameras: cameras.prefault({}).describe('Cameras, by name.'),
    uplink: z
      .strictObject({
        maxBytesPerSecond: size(1024)
          .nullable()
          .default(null)
          .describe(
            'What all deliveries together send in a second at most. A delivery of higher priority goes first, what is new goes before a backlog, and the deliveries take turns. null: as much as there is.',
          ),
      })
      .prefault({})
      .describe('The way out that all deliveries share.'),
    deliveries: deliveries.prefault({}).describe('What is sent on, and where, by name.'),
    functions: functions
      .prefault({})
      .describe(
        "Functions that get the records of streams in batches, by Lambda's contract for Kinesis, by name.",
      ),
    hooks: hooks
      .prefault({})
      .describe(
        'Programs that look at cameras, by name. What one answers, {"labels": [{"name", "confidence", "box"}]}, becomes a tag of the fragment under the name of the hook, and a record. They are set here only, never over an API.',
      ),
  })
  .superRefine(checkRules, { when: () => true });

/** A valid configuration, defaults filled in; sizes in bytes. */
export type Config = z.output<typeof configSchema>;

/**
 * A camera that is recorded from PutMedia, with what the configuration leaves out.
 * @param retentionHours 0: nothing is kept but the file that is being written
 */
export function putMediaCamera(retentionHours: number): Config['cameras'][string] {
  return { ...camera.parse({ source: { putMedia: {} } }), retentionHours };
}
