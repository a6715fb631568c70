/** Cameras that push and cameras that are fetched from, recorded for real into a real store. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rtspPullSource } from '../../../ingest/rtsp/pull-source.ts';
import { rtspPushSource } from '../../../ingest/rtsp/push-source.ts';
import type { RecordRun } from '../../../ingest/rtsp/recording.ts';
import { SourceError, type Source } from '../../../ingest/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { startRtspCamera } from '../../support/rtsp-camera.ts';
import { credentialsOf, frameOf, play, publish, publishers, startServer } from './helpers.ts';
import { addressOf, framesOf, makeClip, pushClip } from './media.ts';
import { fragmentsOf, runOnce, setUp, storedFrames } from './recordings.ts';

const gate = publishers.get('gate')!;

describe('RTSP sources', { concurrency: 2 }, () => {
  it('record a camera that pushes from its first frame to its last', async (t) => {
    const recording = await setUp(t);
    const { server, port } = await startServer(t);
    const { record, supervisor } = recording;
    supervisor.start(rtspPushSource({ camera: 'gate', server, record }));
    const clip = await makeClip(recording.folder, {
      name: 'clip',
      seconds: 5,
      audio: ['-c:a', 'aac'],
    });
    const camera = pushClip(t, clip, addressOf(port, 'gate', gate));
    const { run } = await recording.next('run-ended');
    assert.equal((await camera.exited).code, 0);
    assert.equal(run.endReason, 'ended');
    assert.deepEqual(await storedFrames(recording, run), await framesOf(['-i', clip]));
    await supervisor.close();
  });

  it('lose nothing of a camera whose audio must be transcoded', async (t) => {
    const recording = await setUp(t);
    const { server, port } = await startServer(t);
    const { record, supervisor } = recording;
    supervisor.start(rtspPushSource({ camera: 'gate', server, record }));
    const clip = await makeClip(recording.folder, {
      name: 'clip',
      seconds: 6,
      audio: ['-c:a', 'libopus'],
    });
    pushClip(t, clip, addressOf(port, 'gate', gate));
    const { run } = await recording.next('run-ended');
    const fragments = await fragmentsOf(recording.store, run);
    const init = await recording.store.video.init(fragments[0]!.initId);
    assert.deepEqual(
      init.tracks.map((track) => track.kind),
      ['video', 'audio'],
    );
    assert.deepEqual(await storedFrames(recording, run), await framesOf(['-i', clip]));
    await supervisor.close();
  });

  it('make two runs of a camera that is killed and comes back', async (t) => {
    const recording = await setUp(t);
    const { server, port } = await startServer(t);
    const { record, supervisor, store } = recording;
    const task = supervisor.start(rtspPushSource({ camera: 'gate', server, record }));
    const clip = await makeClip(recording.folder, { name: 'clip', seconds: 4 });
    const url = addressOf(port, 'gate', gate);
    const first = pushClip(t, clip, url, { loop: true });
    await recording.fragments((await recording.next('run-started')).run, 2);
    assert.equal(task.status().state, 'running');
    await first.stop('SIGKILL');
    await recording.next('run-ended');
    pushClip(t, clip, url, { loop: true });
    const { run: second } = await recording.next('run-started');
    await recording.fragments(second, 2);
    await supervisor.close();
    const runs = await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.equal(runs.length, 2);
    assert.equal(runs[1]?.id, second.id);
    assert.equal(runs[1].endReason, 'gateway stopped');
    assert.ok((runs[0]?.endUs ?? Infinity) < runs[1].startUs, 'the gap is visible');
    const all = await framesOf(['-i', clip]);
    assert.deepEqual((await storedFrames(recording, runs[1])).slice(0, 25), all.slice(0, 25));
  });

  it('end with `stalled` when a camera that pushes goes silent', async (t) => {
    const clock = new ManualClock();
    const { server, port } = await startServer(t, { clock });
    const record: RecordRun = ({ signal }) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
    const ended: RecordRun = (request) =>
      Promise.race([record(request), publicationEnd.then(() => undefined)]);
    const camera = await publish(t, port);
    const publication = await server.waitForPublication('gate', new AbortController().signal);
    const publicationEnd = new Promise<void>((resolve) => {
      publication!.onClosed(() => resolve());
    });
    const outcome = runOnce(rtspPushSource({ camera: 'gate', server, record: ended }));
    clock.advance(10_000);
    assert.equal(await outcome, 'stalled');
    await camera.closed;
  });

  it('dismiss a camera whose session can not be read, and keep it when the disk is full', async (t) => {
    const { server, port } = await startServer(t);
    const failing = (code: 'malformed' | 'storage'): Source =>
      rtspPushSource({
        camera: 'gate',
        server,
        record: () => Promise.reject(new SourceError(code, 'no')),
      });
    const camera = await publish(t, port);
    assert.equal(await runOnce(failing('storage')), 'storage');
    assert.equal((await camera.request('GET_PARAMETER', 'gate')).status, 200);
    assert.equal(await runOnce(failing('malformed')), 'malformed');
    await camera.closed;
  });

  it('fail with `storage` when the recorder does not keep up', async (t) => {
    const limits = { queueBytesMax: 64 * 1024, heldBytesMax: 64 * 1024 };
    const { server, port } = await startServer(t, { limits });
    const camera = await publish(t, port);
    const source = rtspPushSource({
      camera: 'gate',
      server,
      record: async ({ input }) => {
        const recorder = await play(t, port, 'gate', credentialsOf(input.args.at(-1)!));
        recorder.socket.pause();
        const packet = frameOf(0, Buffer.alloc(60_000));
        while (server.status()[0]?.readers === 1) {
          camera.raw(packet);
          await camera.request('GET_PARAMETER', 'gate');
        }
      },
    });
    assert.equal(await runOnce(source), 'storage');
    assert.equal((await camera.request('GET_PARAMETER', 'gate')).status, 200, 'viewers go on');
  });

  it('stop at once when told to, waiting or recording', async (t) => {
    const { server, port } = await startServer(t);
    const abort = new AbortController();
    const waiting = rtspPushSource({
      camera: 'yard',
      server,
      record: () => Promise.reject(new Error('must not record')),
    }).run({ signal: abort.signal, ready: () => undefined });
    const camera = await publish(t, port);
    const recording = rtspPushSource({
      camera: 'gate',
      server,
      record: ({ signal }) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
    }).run({ signal: abort.signal, ready: () => undefined });
    // Both have begun to wait once the server has answered something else.
    await camera.request('GET_PARAMETER', 'gate');
    abort.abort();
    await Promise.all([waiting, recording]);
    await camera.closed;
  });

  it('make two runs of a camera that is fetched from, unplugged and plugged in', async (t) => {
    const recording = await setUp(t);
    const { record, supervisor, store, folder } = recording;
    const clip = await makeClip(folder, { name: 'clip', seconds: 40 });
    const options = ['--file', clip, '--user', 'viewer', '--password', 'secret'];
    const first = await startRtspCamera(t, ...options);
    if (first === null) return;
    const { server } = await startServer(t);
    const url = `rtsp://viewer:secret@127.0.0.1:${first.port}/cam`;
    const pull = { camera: 'gate', url, server, record, clock: systemClock };
    supervisor.start(rtspPullSource(pull));
    await recording.fragments((await recording.next('run-started')).run, 1);
    await first.child.stop('SIGKILL');
    await recording.next('run-ended');
    const again = await startRtspCamera(t, ...options, '--port', String(first.port));
    if (again === null) return;
    await recording.fragments((await recording.next('run-started')).run, 1);
    await supervisor.close();
    const runs = await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER);
    assert.equal(runs.length, 2);
    const all = new Set(await framesOf(['-i', clip]));
    for (const run of runs) {
      const frames = await storedFrames(recording, run);
      assert.ok(frames.length >= 50, `run ${run.id} has ${frames.length} frames`);
      assert.equal(frames.filter((frame) => !all.has(frame)).length, 0);
    }
    assert.doesNotMatch(JSON.stringify(recording.logger.lines), /secret/);
  });

  it('say what is wrong with a camera that is fetched from', async (t) => {
    const recording = await setUp(t);
    const { record } = recording;
    const { server } = await startServer(t);
    const common = { camera: 'gate', server, record, clock: systemClock };
    for (const method of ['digest', 'basic']) {
      const camera = await startRtspCamera(
        t,
        ...['--user', 'viewer', '--password', 'secret', '--auth', method],
      );
      if (camera === null) return;
      const pull = (address: string): Promise<string> =>
        runOnce(rtspPullSource({ ...common, url: `rtsp://${address}` }));
      assert.equal(await pull(`viewer:wrong@127.0.0.1:${camera.port}/cam`), 'unauthorized');
      if (method === 'basic') continue;
      assert.equal(await pull(`viewer:secret@127.0.0.1:${camera.port}/nowhere`), 'not-found');
      await camera.child.stop();
      assert.equal(await pull(`viewer:secret@127.0.0.1:${camera.port}/cam`), 'unreachable');
    }
    const other = await startRtspCamera(t, '--codec', 'mjpeg');
    if (other === null) return;
    const url = `rtsp://127.0.0.1:${other.port}/cam`;
    assert.equal(await runOnce(rtspPullSource({ ...common, url })), 'unsupported');
  });
});
