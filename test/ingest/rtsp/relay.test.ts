/** The server with real cameras and players: ffmpeg, and GStreamer as a second opinion. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startChild } from '../../support/child.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import { publishers, reader, startServer } from './helpers.ts';
import { addressOf, framesOf, makeClip, playFrames, pushClip } from './media.ts';

const signal = new AbortController().signal;
const gate = publishers.get('gate')!;
const yard = publishers.get('yard')!;

describe('RTSP relay', { concurrency: true }, () => {
  it('passes every frame of two cameras that push on one port at once', async (t) => {
    const folder = await temporaryFolder(t);
    const { server, port } = await startServer(t);
    const clips = await Promise.all([
      makeClip(folder, { name: 'gate', seconds: 3, audio: ['-c:a', 'aac'] }),
      makeClip(folder, {
        name: 'yard',
        seconds: 3,
        pattern: 'testsrc2',
        video: ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '3'],
      }),
    ]);
    const played = await Promise.all(
      [gate, yard].map(async (user, index) => {
        const camera = ['gate', 'yard'][index]!;
        const clip = clips[index]!;
        pushClip(t, clip, addressOf(port, camera, user));
        const publication = await server.waitForPublication(camera, signal);
        return playFrames(t, folder, server.recorderUrl(publication!)).frames;
      }),
    );
    for (const [index, frames] of played.entries()) {
      assert.equal(frames.length, 75);
      assert.deepEqual(frames, await framesOf(['-i', clips[index]!]));
    }
  });

  it('lets a player that asks for UDP fall back to TCP', async (t) => {
    const folder = await temporaryFolder(t);
    const { server, port } = await startServer(t);
    const clip = await makeClip(folder, { name: 'gate', seconds: 2 });
    pushClip(t, clip, addressOf(port, 'gate', gate), { loop: true });
    await server.waitForPublication('gate', signal);
    const url = addressOf(port, 'gate', reader);
    const { child, frames } = playFrames(t, folder, url, [], ['-frames:v', '30']);
    const all = new Set(await framesOf(['-i', clip]));
    const seen = await frames;
    assert.equal(seen.length, 30, child.lines.join('\n'));
    assert.equal(seen.filter((frame) => !all.has(frame)).length, 0, 'undamaged');
  });

  it('is understood by GStreamer', async (t) => {
    if (!needs(t, 'gst-launch-1.0')) return;
    const folder = await temporaryFolder(t);
    const { server, port } = await startServer(t);
    const clip = await makeClip(folder, { name: 'gate', seconds: 2, audio: ['-c:a', 'aac'] });
    pushClip(t, clip, addressOf(port, 'gate', gate), { loop: true });
    await server.waitForPublication('gate', signal);
    const player = startChild(t, 'gst-launch-1.0', [
      ...['rtspsrc', `location=rtsp://127.0.0.1:${port}/gate`, 'protocols=tcp'],
      ...[`user-id=${reader.username}`, `user-pw=${reader.password}`],
      ...['!', 'rtph264depay', '!', 'h264parse', '!', 'identity', 'eos-after=30', '!', 'fakesink'],
    ]);
    const { code } = await player.exited;
    assert.equal(code, 0, player.lines.join('\n'));
  });

  it('refuses a wrong password, a wrong path and a second publisher, in words', async (t) => {
    const folder = await temporaryFolder(t);
    const { server, port } = await startServer(t);
    const clip = await makeClip(folder, { name: 'gate', seconds: 2 });
    const first = pushClip(t, clip, addressOf(port, 'gate', gate), { loop: true });
    const publication = await server.waitForPublication('gate', signal);
    const refused = async (url: string, transport: 'tcp' | 'udp', said: RegExp): Promise<void> => {
      const child = pushClip(t, clip, url, { transport });
      const { code } = await child.exited;
      assert.notEqual(code, 0);
      assert.match(child.lines.join('\n'), said);
    };
    await Promise.all([
      refused(addressOf(port, 'yard', { ...yard, password: 'wrong' }), 'tcp', /401 Unauthorized/),
      refused(addressOf(port, 'yard', gate), 'tcp', /401 Unauthorized/),
      refused(addressOf(port, 'nowhere', gate), 'tcp', /404 Not Found: no camera named "nowhere"/),
      refused(addressOf(port, 'gate', gate), 'tcp', /503 .*"gate" has a publisher already/),
      refused(addressOf(port, 'yard', yard), 'udp', /461|Unsupported|transport/i),
    ]);
    assert.equal(publication?.end, null, 'the first one goes on');
    await first.stop('SIGKILL');
  });

  it('gives the path back at once when a camera is killed', async (t) => {
    const folder = await temporaryFolder(t);
    const { server, port } = await startServer(t);
    const clip = await makeClip(folder, { name: 'gate', seconds: 2 });
    const first = pushClip(t, clip, addressOf(port, 'gate', gate), { loop: true });
    const before = await server.waitForPublication('gate', signal);
    before?.confirmRecorded();
    const { child } = playFrames(t, folder, addressOf(port, 'gate', reader));
    await child.line(/Stream mapping/);
    await first.stop('SIGKILL');
    await child.exited;
    assert.equal(before?.end, 'left');
    pushClip(t, clip, addressOf(port, 'gate', gate), { loop: true });
    const after = await server.waitForPublication('gate', signal);
    assert.notEqual(after, before);
  });
});
