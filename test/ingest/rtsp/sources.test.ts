/** Cameras that push and cameras that are fetched from, recorded for real into a real store. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { writeFile } from 'node:fs/promises';
import { Supervisor } from '../../../gateway/supervisor.ts';
import { recordSession } from '../../../ingest/camera/session.ts';
import { rtspPullSource } from '../../../ingest/rtsp/pull-source.ts';
import { rtspPushSource } from '../../../ingest/rtsp/push-source.ts';
import type { RecordRun } from '../../../ingest/rtsp/recording.ts';
import { SourceError, type Source } from '../../../ingest/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Fragment, LiveEvent, Run } from '../../../storage/model.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { startRtspCamera } from '../../support/rtsp-camera.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { credentialsOf, frameOf, play, publish, publishers, startServer } from './helpers.ts';
import { addressOf, framesOf, makeClip, pushClip } from './media.ts';

const gate = publishers.get('gate')!;

interface Recording {
  readonly folder: string;
  readonly store: Store;
  readonly logger: MemoryLogger;
  readonly record: RecordRun;
  readonly supervisor: Supervisor;
  /** The next event of this type that has not been asked for, from the set-up on. */
  next<T extends LiveEvent['type']>(type: T): Promise<Extract<LiveEvent, { type: T }>>;
  /** Resolves when this many fragments of this run are stored. */
  fragments(run: Run, count: number): Promise<void>;
}

async function setUp(context: TestContext): Promise<Recording> {
  const folder = await temporaryFolder(context);
  const logger = new MemoryLogger();
  const ports = { clock: systemClock, logger, metrics: new MemoryMetrics() };
  const store = await openStore({ folder: join(folder, 'data'), ...ports });
  context.after(() => store.close());
  const camera = { name: 'gate', retentionMs: null, maxBytes: null, events: null };
  await store.video.ensureCamera(camera);
  const supervisor = new Supervisor({
    ...ports,
    random: Math.random,
    backOff: { firstDelayMs: 100, maxDelayMs: 200 },
  });
  context.after(() => supervisor.close());
  const record: RecordRun = (request) =>
    recordSession({ camera: 'gate', video: store.video, ffmpegPath, ...ports, ...request });
  const next = eventsOf(store);
  const fragments = async (run: Run, count: number): Promise<void> => {
    for (let left = count; left > 0;) {
      const { fragment } = await next('fragment');
      if (fragment.runId === run.id) left -= 1;
    }
  };
  return { folder, store, logger, record, supervisor, next, fragments };
}

function eventsOf(store: Store): Recording['next'] {
  const events: LiveEvent[] = [];
  let wake = (): void => undefined;
  store.video.watch('gate', (event) => {
    if (event.type !== 'chunk') events.push(event);
    wake();
  });
  return async <T extends LiveEvent['type']>(type: T) => {
    for (;;) {
      const index = events.findIndex((event) => event.type === type);
      const [event] = index === -1 ? [] : events.splice(index, 1);
      if (event !== undefined) return event as Extract<LiveEvent, { type: T }>;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
}

/** Runs a source once; what it ended with. */
async function runOnce(source: Source): Promise<string> {
  const abort = new AbortController();
  try {
    await source.run({ signal: abort.signal, ready: () => undefined });
    return 'ended';
  } catch (error) {
    assert.ok(error instanceof SourceError, String(error));
    assert.doesNotMatch(error.message, /secret|wrong/, 'no password in a message');
    return error.code;
  }
}

async function fragmentsOf(store: Store, run: Run): Promise<readonly Fragment[]> {
  const all = await store.video.latestFragments('gate', 1000);
  return all.filter((fragment) => fragment.runId === run.id);
}

/** The decoded frames of a whole run, as it is stored. */
async function storedFrames(recording: Recording, run: Run): Promise<readonly string[]> {
  const { folder, store } = recording;
  const fragments = await fragmentsOf(store, run);
  const first = fragments[0];
  assert.ok(first !== undefined, 'the run has no fragment');
  const init = await store.video.init(first.initId);
  const parts = await Promise.all(fragments.map((one) => store.video.readFragment(one)));
  const path = join(folder, `run-${run.id}.mp4`);
  await writeFile(path, Buffer.concat([init.bytes, ...parts]));
  return framesOf(['-i', path]);
}

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
