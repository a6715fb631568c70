/** WebRTC over a real relay and a real worker, served over HTTP; nothing is recorded. */
import type { TestContext } from 'node:test';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { relayLimits } from '../../../../gateway/cameras.ts';
import { parseConfig } from '../../../../gateway/config/load.ts';
import { startWebRtc, type RunningWebRtc } from '../../../../gateway/webrtc.ts';
import type { Publication } from '../../../../ingest/rtsp/publication.ts';
import { RtspServer } from '../../../../ingest/rtsp/server.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { makeClip } from '../../../ingest/rtsp/media.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { publish, sendClip, type TestPublisher } from '../../../support/webrtc-client.ts';
import { ffmpegPath } from '../../../support/tools.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

export const user = { username: 'cam', password: 'camera-password' };
/** As a camera says who it is. */
export const asCamera = `Bearer ${user.username}:${user.password}`;

const configuration = `
cameras:
  gate: { source: { push: { username: cam, password: camera-password } } }
  yard: { source: { push: { username: cam, password: camera-password } } }
  stored: { source: { putMedia: {} } }
  fetched: { source: { rtsp: 'rtsp://192.0.2.1/stream' } }
`;

export interface Rig {
  readonly url: string;
  readonly login: string;
  readonly relay: RtspServer;
  readonly webRtc: RunningWebRtc;
  readonly gateway: TestGateway;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
}

export async function startRig(
  t: TestContext,
  webrtc = '{ port: 0 }',
  workerPath?: string,
): Promise<Rig> {
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const clock = systemClock;
  const text = `webrtc: ${webrtc}\n${configuration}`;
  const parsed = parseConfig({ name: 'test', text, folder: '/', env: {} });
  if (!parsed.ok) throw new Error('the configuration of the test is wrong');
  const { config } = parsed;
  const relay = new RtspServer({
    ...{ host: '127.0.0.1', port: 0, clock, logger, metrics },
    path: () => ({ publisher: user, readers: [user] }),
    limits: relayLimits(true),
  });
  await relay.listen();
  t.after(() => relay.close());
  const webRtc = startWebRtc({
    config: config.webrtc,
    hosts: ['127.0.0.1'],
    cameras: () => config.cameras,
    relay: () => Promise.resolve(relay),
    substream: () => null,
    ...{ ffmpegPath, clock, logger, metrics },
    ...(workerPath === undefined ? {} : { workerPath }),
  });
  t.after(() => webRtc.close());
  const gateway = await startGateway(t, { webRtc });
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, fetch: gateway.app.fetch, clock, logger, metrics },
  });
  t.after(() => server.close());
  const login = `Bearer ${gateway.token}`;
  return { url: server.url, login, relay, webRtc, gateway, logger, metrics };
}

/** Parameter sets before every keyframe, as encoders for WebRTC send them. */
const forWebRtc = [
  ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-profile:v', 'baseline'],
  ...['-x264-params', 'repeat-headers=1'],
];

/** A clip that is published as `gate`, over and over. */
export async function publishing(
  t: TestContext,
  rig: Rig,
  options: Parameters<typeof sendClip>[3] = {},
): Promise<{ readonly publisher: TestPublisher; readonly publication: Publication }> {
  const folder = await temporaryFolder(t);
  const clip = await makeClip(folder, { name: 'clip', seconds: 5, video: forWebRtc });
  const publisher = await publish(t, `${rig.url}/whip/gate`, asCamera);
  await sendClip(t, publisher, clip, options);
  const publication = await rig.relay.waitForPublication('gate', new AbortController().signal);
  if (publication === null) throw new Error('nothing was published');
  return { publisher, publication };
}
