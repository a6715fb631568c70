/** `rtsp` and `webrtc`: the ways in and out for pictures as they are taken. */
import { z } from 'zod';
import { flag, host, keyNotes, port, size, whole } from './leaves.ts';
import { user } from './users.ts';

const MiB = 2 ** 20;

export const rtsp = z.strictObject({
  enabled: flag().default(true).describe('Whether cameras can push here and players read.'),
  host: host().default('127.0.0.1').describe('Address to listen on.'),
  port: port()
    .default(8554)
    .describe('Port of the RTSP server. A camera pushes to, and players read, rtsp://…/<camera>.'),
  tlsPort: port()
    .default(8322)
    .describe(
      'Port of RTSP over TLS (rtsps://…/<camera>), which is served where the gateway has a certificate.',
    ),
  readers: z
    .array(user)
    .max(1000)
    .register(keyNotes, {
      allowed: 'a list of {username, password}',
      example: [{ username: 'viewer', password: '${VIEWER_PASSWORD:-change-me}' }],
    })
    .default([])
    .describe('Who may watch the cameras with a player.'),
  maxConnections: whole(1, 10_000).default(512).describe('Further connections are refused.'),
  maxReaderBufferBytes: size(64 * 1024)
    .default(8 * MiB)
    .describe('A player that falls this far behind is dropped.'),
});

export const webrtc = z.strictObject({
  enabled: flag()
    .default(true)
    .describe('Whether cameras can be published by WHIP and watched by WHEP, over HTTP.'),
  host: host()
    .default('127.0.0.1')
    .describe('Address that the media go to. "listen: lan" listens on every one.'),
  port: port().default(44400).describe('Port of the media, UDP and TCP alike.'),
  announcedAddresses: z
    .array(host())
    .max(8)
    .register(keyNotes, { allowed: 'a list of addresses', example: ['203.0.113.7'] })
    .default([])
    .describe(
      'Addresses by which clients reach that port besides those of this machine, as behind a router that forwards it.',
    ),
  maxSessions: whole(1, 10_000)
    .default(256)
    .describe('Publishers and viewers together; further ones are refused.'),
});
