/** Cameras: where their pictures come from, and what is kept of them. */
import { z } from 'zod';
import { privateNetworks } from '../../ingest/rtsp/client/guard.ts';
import {
  choice,
  decimal,
  eventKind,
  flag,
  keyNotes,
  name,
  network,
  oneOf,
  size,
  topicFilter,
  url,
} from './leaves.ts';
import { user } from './users.ts';

const GB = 1e9;
const MiB = 2 ** 20;

/** A camera, by its name. */
export const camera = z.strictObject({
  source: oneOf({
    rtsp: url(['rtsp', 'rtsps']).describe('The gateway fetches the stream from this address.'),
    push: user.describe(
      'The camera sends its stream to rtsp://…/<camera>, or by WebRTC to http://…/whip/<camera>, with these credentials.',
    ),
    putMedia: z
      .strictObject({})
      .describe(
        'A producer of Kinesis Video Streams sends the stream of this name here, with a key of auth.keys.',
      ),
  }).describe('Where the pictures come from: rtsp, push or putMedia.'),
  substream: z
    .strictObject({
      rtsp: url(['rtsp', 'rtsps'])
        .nullable()
        .default(null)
        .describe('The gateway fetches it from this address; null: there is none.'),
    })
    .prefault({})
    .describe(
      'A smaller picture of the same camera, which the page shows where it shows many at once. It is fetched only while somebody watches, and never kept.',
    ),
  transport: choice(['tcp', 'udp'])
    .default('tcp')
    .describe('How the packets of source.rtsp come; udp is for cameras that know nothing else.'),
  verifyTls: flag()
    .default(true)
    .describe(
      'Whether a camera at rtsps://… must have a certificate that this machine trusts. Most have made their own: false accepts any.',
    ),
  confined: flag()
    .default(false)
    .describe(
      'Connects to source.rtsp only where sources.allowedNetworks says; cameras that were added over the API are.',
    ),
  retentionHours: decimal(1, 87_600)
    .nullable()
    .default(168)
    .describe('Footage is kept this long; null: until another limit is reached.'),
  maxBytes: size(16 * MiB)
    .nullable()
    .default(null)
    .describe('Bytes of footage kept, the oldest go first; null: no limit of its own.'),
  events: name()
    .nullable()
    .default(null)
    .describe('A stream in which every fragment announces itself; null: none.'),
  encryption: choice(['aes-256-gcm', 'none'])
    .default('aes-256-gcm')
    .describe(
      'How footage is encrypted on disk, under a key of the camera that the master key (encryption) wraps. It counts for what is recorded from now on: what is there stays as it is until it is deleted.',
    ),
  record: choice(['continuous', 'events', 'off'])
    .default('continuous')
    .describe(
      'What is kept: everything; what events touch; nothing but the newest minute, for who watches it live. Footage that an event holds is kept in any case.',
    ),
  preRollSeconds: decimal(0, 600)
    .default(10)
    .describe('Footage before an event that belongs to it.'),
  postRollSeconds: decimal(0, 600).default(30).describe('Footage after it.'),
  marks: z
    .array(
      z.strictObject({
        topic: topicFilter().describe('Topic filter, with + for one level and # for the rest.'),
        kind: eventKind().default('mark').describe('What its events are called.'),
        hold: flag()
          .default(false)
          .describe('Keeps their footage until somebody releases it, whatever its age.'),
      }),
    )
    .max(20)
    .register(keyNotes, {
      allowed: 'a list of {topic, kind, hold}',
      example: [{ topic: 'alarms/gate/#', kind: 'alarm', hold: true }],
    })
    .default([])
    .describe(
      'MQTT messages that are events of this camera. Messages that follow each other within postRollSeconds are one.',
    ),
  stallSeconds: decimal(1, 3600)
    .default(10)
    .describe('A camera that sends nothing for this long is connected to again.'),
});

export const cameras = z.record(name(), camera).register(keyNotes, {
  allowed: 'a map of cameras by name',
  example: {
    front: {
      source: { push: { username: 'front', password: '${FRONT_PASSWORD:-change-me}' } },
      events: 'camera-events',
    },
    yard: {
      source: { rtsp: 'rtsp://viewer:change-me@192.0.2.10/stream1' },
      maxBytes: 50 * GB,
      marks: [{ topic: 'alarms/yard/#', kind: 'alarm', hold: true }],
    },
    van: { source: { putMedia: {} } },
  },
});

/** What holds for all cameras. */
export const video = z.strictObject({
  minFreeBytes: size(0)
    .default(2 * GB)
    .describe('Disk space that stays free: below it, the oldest footage is deleted.'),
  imageCpuShare: decimal(0.01, 64)
    .default(0.5)
    .describe('How much of one core images and thumbnails may take on average; 1 is all of it.'),
  thumbnails: choice(['on-demand', 'ahead'])
    .default('on-demand')
    .describe(
      'When small pictures for the timeline are made: when they are looked at, or one per camera and half minute as it is recorded, too.',
    ),
});

/** Of cameras that are made over the API. */
export const sources = z.strictObject({
  allowedNetworks: z
    .array(network())
    .max(100)
    .register(keyNotes, { allowed: 'a list of networks', example: [...privateNetworks] })
    .default([...privateNetworks])
    .describe(
      'Where cameras that are added over the API may be, and where cameras may redirect to. Never this machine, link-local or multicast addresses, whatever is said here. The default is the private networks below.',
    ),
});
