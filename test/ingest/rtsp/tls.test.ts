/** RTSP over TLS: a real camera pushes, a player and our own client read. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { once } from 'node:events';
import { it } from 'node:test';
import { openCamera } from '../../../ingest/rtsp/client/camera-session.ts';
import { anywhere } from '../../../ingest/rtsp/client/guard.ts';
import { systemClock } from '../../../storage/clock.ts';
import { selfSigned } from '../../support/certificate.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { publishers, reader, startServer } from './helpers.ts';
import { addressOf, framesOf, makeClip, playFrames, pushClip } from './media.ts';

const signal = new AbortController().signal;
const gate = publishers.get('gate')!;

it('cameras push and players read over TLS, as they do without', async (t) => {
  const pair = await selfSigned(t);
  if (pair === null) return;
  const folder = await temporaryFolder(t);
  const tls = { host: '127.0.0.1', port: 0, ...pair };
  const { server } = await startServer(t, { tls });
  const port = server.tlsAddress?.port ?? 0;
  assert.ok(port > 0 && port !== server.address.port, 'a port of its own');
  const overTls = (url: string): string => url.replace('rtsp:', 'rtsps:');
  const clip = await makeClip(folder, { name: 'clip', seconds: 2 });
  const push = pushClip(t, clip, overTls(addressOf(port, 'gate', gate)), { loop: true });
  const publication = await server.waitForPublication('gate', signal);
  assert.ok(publication !== null, push.lines.join('\n'));
  const url = overTls(addressOf(port, 'gate', reader));
  const frames = await playFrames(t, folder, url, undefined, ['-frames:v', '30']).frames;
  const all = await framesOf(['-i', clip]);
  assert.equal(frames.length, 30);
  assert.equal(frames.filter((frame) => !all.includes(frame)).length, 0);

  const session = await openCamera({
    ...{ url, transport: 'tcp', verifyTls: false, guard: anywhere, redirectGuard: anywhere },
    ...{ clock: systemClock, signal },
  });
  await new Promise<void>((resolve, reject) => {
    session.play(() => resolve()).catch(reject);
  });
  session.close();
  await session.closed;

  const plain = connect(port, '127.0.0.1');
  plain.on('error', () => undefined);
  plain.write('OPTIONS rtsp://127.0.0.1/gate RTSP/1.0\r\nCSeq: 1\r\n\r\n');
  await once(plain, 'close');
  assert.equal(server.status().length, 1, 'and the camera goes on');
  await Promise.all([server.close(), server.close()]);
});
