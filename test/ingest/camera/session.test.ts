/** Sessions with a real ffmpeg into a real store. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import {
  probeFfmpegVersion,
  recordSession,
  type SessionOptions,
} from '../../../ingest/camera/session.ts';
import { SourceError } from '../../../ingest/source.ts';
import { checkStore } from '../../../storage/check.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Fragment, LiveEvent, Run } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { stayAlive } from '../../support/stay-alive.ts';
import type { MemoryLogger } from '../../support/memory-logger.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ffmpegPath, needsShared } from '../../support/tools.ts';
import {
  cameraOptions,
  ffmpeg,
  frameHashes,
  makeFootage,
  openVideo,
} from '../../storage/video/footage.ts';

interface Bench {
  readonly folder: string;
  readonly logger: MemoryLogger;
  readonly events: readonly LiveEvent[];
  /** Records from ffmpeg's input arguments. */
  record(args: readonly string[], more?: Partial<SessionOptions>): Promise<void>;
  fragments(): Promise<readonly Fragment[]>;
  runs(): Promise<readonly Run[]>;
  /** What each media file holds, put together from its init and its fragments. */
  playable(): Promise<readonly string[]>;
  /** Resolves when the camera has that many fragments. */
  fragmentsThere(count: number): Promise<void>;
}

async function bench(t: TestContext, clock: Clock = systemClock): Promise<Bench> {
  stayAlive(t);
  const folder = await mkdtemp(join(tmpdir(), 'headgate-test-'));
  const storeFolder = join(folder, 'store');
  // In this order: what a test leaves behind must be sound.
  t.after(async () => {
    await store.close();
    const findings: unknown[] = [];
    for await (const finding of checkStore({ folder: storeFolder })) findings.push(finding);
    await rm(folder, { recursive: true, force: true });
    assert.deepEqual(findings, []);
  });
  const { store, logger, metrics } = await openVideo(t, storeFolder, { clock });
  await store.video.ensureCamera(cameraOptions('gate'));
  const events: LiveEvent[] = [];
  let look = (): void => undefined;
  store.video.watch('gate', (event) => {
    events.push(event);
    look();
  });
  const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1e6 };
  const self: Bench = {
    folder,
    logger,
    events,
    record: (args, more = {}) =>
      recordSession({
        ...{ camera: 'gate', video: store.video, ffmpegPath, clock, logger, metrics },
        input: { args, description: 'the test camera' },
        signal: new AbortController().signal,
        ...more,
      }),
    fragments: () => store.video.fragments(everything),
    runs: () => store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER),
    playable: async () => {
      const files: string[] = [];
      const byFile = new Map<number, Buffer[]>();
      for (const fragment of await self.fragments()) {
        const { bytes } = await store.video.init(fragment.initId);
        const pieces = byFile.get(fragment.mediaFileId) ?? [bytes];
        pieces.push(await store.video.readFragment(fragment));
        byFile.set(fragment.mediaFileId, pieces);
      }
      for (const [id, pieces] of byFile) {
        const path = join(folder, `file-${id}.mp4`);
        await writeFile(path, Buffer.concat(pieces));
        files.push(path);
      }
      return files;
    },
    fragmentsThere: (count) =>
      new Promise((resolve) => {
        look = () => {
          if (events.filter(({ type }) => type === 'fragment').length >= count) resolve();
        };
        look();
      }),
  };
  return self;
}

async function fileOf(bench_: Bench, name: string, bytes: Buffer): Promise<string> {
  const path = join(bench_.folder, name);
  await writeFile(path, bytes);
  return path;
}

/** A camera on a socket: sends what a test tells it to and then keeps the line open. */
async function liveInput(t: TestContext, bytes: Buffer): Promise<string> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(bytes);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function assertContiguous(fragments: readonly Fragment[]): void {
  for (const [index, { startUs }] of fragments.entries()) {
    const before = fragments[index - 1];
    if (before !== undefined) assert.equal(startUs, before.startUs + before.durationUs);
  }
}

function tracksOf(path: string): string {
  const args = [
    '-v',
    'error',
    '-show_entries',
    'stream=codec_name,codec_tag_string',
    '-of',
    'csv=p=0',
  ];
  return execFileSync('ffprobe', [...args, path])
    .toString()
    .trim()
    .split('\n')
    .join(' ');
}

describe('a session of a camera', () => {
  for (const [name, video] of [
    ['H.264 without B-frames', ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0']],
    ['H.264 with B-frames', ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '3']],
  ] as const) {
    it(`keeps every frame of ${name}, in fragments of 2 s without a gap`, async (t) => {
      const b = await bench(t);
      const source = await fileOf(b, 'source.mkv', await makeFootage({ seconds: 9, video }));
      let first = 0;
      await b.record(['-i', source], { onFirstFragment: () => (first += 1) });
      assert.equal(first, 1);
      const fragments = await b.fragments();
      assert.equal(fragments.length, 5);
      assertContiguous(fragments);
      for (const { durationUs } of fragments.slice(0, -1)) {
        assert.ok(Math.abs(durationUs - 2_000_000) < 67_000, `${durationUs}`);
      }
      const [file] = await b.playable();
      assert.deepEqual(await frameHashes(file!), await frameHashes(source));
      const [run] = await b.runs();
      assert.equal(run?.endReason, 'ended');
      assert.equal(run.startUs, fragments[0]?.startUs);
      const lasted = (run.endUs ?? 0) - run.startUs;
      assert.ok(Math.abs(lasted - 9_000_000) < 90_000, `${lasted} µs`);
      assert.ok(
        fragments.every(({ chunks }) => chunks.every(({ durationUs }) => durationUs <= 270_000)),
      );
    });
  }

  for (const clip of ['bottle-detection.mp4', 'car-detection.mp4']) {
    it(`keeps every frame of a real clip: ${clip}`, async (t) => {
      const source = needsShared(t, 'footage', clip);
      if (source === null) return;
      const b = await bench(t);
      await b.record(['-i', source]);
      const hashes: string[] = [];
      for (const file of await b.playable()) hashes.push(...(await frameHashes(file)));
      assert.deepEqual(hashes, await frameHashes(source));
      assertContiguous(await b.fragments());
    });
  }

  it('copies AAC, transcodes other audio to AAC, and needs none', async (t) => {
    for (const [audio, expected] of [
      [['-c:a', 'aac'], 'h264,avc1 aac,mp4a'],
      [['-c:a', 'pcm_mulaw', '-ar', '8000'], 'h264,avc1 aac,mp4a'],
      [['-c:a', 'libopus'], 'h264,avc1 aac,mp4a'],
      [['-c:a', 'libmp3lame'], 'h264,avc1 aac,mp4a'],
      [null, 'h264,avc1'],
    ] as const) {
      await t.test(audio?.[1] ?? 'no audio', async (t) => {
        const b = await bench(t);
        const made = await makeFootage({ seconds: 3, ...(audio === null ? {} : { audio }) });
        const source = await fileOf(b, 'source.mkv', made);
        await b.record(['-i', source]);
        const [file] = await b.playable();
        assert.equal(tracksOf(file!), expected);
        assert.deepEqual(await frameHashes(file!), await frameHashes(source));
        assert.equal((await b.runs()).length, 1, 'attempts leave no runs behind');
        const warnings = b.logger.lines.filter(({ level }) => level === 'warn');
        assert.deepEqual(warnings, [], 'nothing is wrong');
      });
    }
    await t.test('audio left out', async (t) => {
      const b = await bench(t);
      const made = await makeFootage({ seconds: 3, audio: ['-c:a', 'aac'] });
      await b.record(['-i', await fileOf(b, 'source.mkv', made)], { audio: 'leave out' });
      assert.equal(tracksOf((await b.playable())[0]!), 'h264,avc1');
    });
  });

  it('records pictures although the audio that was announced never comes', async (t) => {
    const b = await bench(t);
    const pictures = await fileOf(
      b,
      'p.mkv',
      await makeFootage({ seconds: 12, framesPerSecond: 25 }),
    );
    const source = await fileOf(
      b,
      'source.mkv',
      await ffmpeg(
        ...['-i', pictures, '-itsoffset', '60', '-f', 'lavfi', '-i', 'sine=duration=1'],
        ...['-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', 'pcm_mulaw', '-t', '12'],
        ...['-f', 'matroska', 'pipe:1'],
      ),
    );
    await b.record(['-i', source]);
    const [file] = await b.playable();
    assert.deepEqual(await frameHashes(file!), await frameHashes(pictures));
  });

  it('goes on without delay when the audio stops in mid-stream', async (t) => {
    const b = await bench(t);
    const silentAfter = 2;
    const pictures = await fileOf(b, 'pictures.mkv', await makeFootage({ seconds: 10 }));
    const stream = await ffmpeg(
      ...['-i', pictures, '-f', 'lavfi', '-i', `sine=duration=${silentAfter}`],
      ...['-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', 'aac', '-f', 'mpegts', 'pipe:1'],
    );
    const stop = new AbortController();
    const url = await liveInput(t, stream);
    const recording = b.record(['-f', 'mpegts', '-i', url], { signal: stop.signal });
    // The source stays open and says no more: only what does not wait for audio gets here.
    await b.fragmentsThere(4);
    stop.abort();
    await recording;
    assertContiguous(await b.fragments());
  });

  it('hands HEVC on as hvc1', async (t) => {
    const b = await bench(t);
    const video = [
      '-c:v',
      'libx265',
      '-preset',
      'ultrafast',
      '-x265-params',
      'log-level=none:bframes=0',
    ];
    const source = await fileOf(b, 'source.mkv', await makeFootage({ seconds: 3, video }));
    await b.record(['-i', source]);
    const [file] = await b.playable();
    assert.equal(tracksOf(file!), 'hevc,hvc1');
    assert.deepEqual(await frameHashes(file!), await frameHashes(source));
  });

  for (const [codec, format, encoder] of [
    ['H.264', 'h264', ['-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0']],
    [
      'H.265',
      'hevc',
      ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none:bframes=0'],
    ],
  ] as const) {
    it(`makes a new init when the resolution of ${codec} changes in mid-stream`, async (t) => {
      const b = await bench(t);
      const raw = { seconds: 3, video: encoder, format: ['-f', format] };
      const small = await makeFootage({ ...raw, size: '192x108' });
      const large = await makeFootage({ ...raw, size: '320x180' });
      const source = await fileOf(b, `source.${format}`, Buffer.concat([small, large, small]));
      await b.record(['-f', format, '-framerate', '15', '-i', source]);
      assert.equal((await b.runs()).length, 1, 'one session, one run');
      const fragments = await b.fragments();
      assertContiguous(fragments);
      const inits = [...new Set(fragments.map(({ initId }) => initId))];
      assert.equal(inits.length, 2, 'the first one comes back at the end');
      const expectedSmall = await frameHashes(await fileOf(b, `small.${format}`, small));
      const expectedLarge = await frameHashes(await fileOf(b, `large.${format}`, large));
      const files = await b.playable();
      assert.equal(files.length, 3, 'a media file has one init');
      assert.deepEqual(await frameHashes(files[0]!), expectedSmall);
      assert.deepEqual(await frameHashes(files[1]!), expectedLarge);
      assert.deepEqual(await frameHashes(files[2]!), expectedSmall);
    });
  }

  it('stores what ffmpeg still holds when it is told to stop', async (t) => {
    const b = await bench(t);
    const source = await fileOf(b, 'source.mkv', await makeFootage({ seconds: 30 }));
    const stop = new AbortController();
    const recording = b.record(['-re', '-i', source], { signal: stop.signal });
    await b.fragmentsThere(1);
    stop.abort();
    await recording;
    const [run] = await b.runs();
    assert.equal(run?.endReason, 'gateway stopped');
    const [file] = await b.playable();
    const frames = await frameHashes(file!);
    assert.ok(
      frames.length > 30,
      `${frames.length} frames: more than the fragment that was closed`,
    );
    assert.deepEqual(frames, (await frameHashes(source)).slice(0, frames.length));
  });

  it('ends as stalled when no picture comes for too long, what came before stored', async (t) => {
    const clock = new ManualClock();
    const b = await bench(t, clock);
    const url = await liveInput(t, await makeFootage({ seconds: 6, format: ['-f', 'mpegts'] }));
    const recording = b.record(['-f', 'mpegts', '-i', url], { stallTimeoutMs: 10_000 });
    const outcome = assert.rejects(recording, isSourceError('stalled'));
    await b.fragmentsThere(2);
    // What is still under way counts as life, so time passes until it was all silence.
    const over = new AbortController();
    void outcome.finally(() => over.abort());
    while (!over.signal.aborted) {
      clock.advance(1_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await outcome;
    const [run] = await b.runs();
    assert.match(run?.endReason ?? '', /^failed: .*no picture for 10 s/);
    assert.ok((await b.fragments()).length >= 2);
  });

  it('keeps what was recorded when ffmpeg is killed', async (t) => {
    const b = await bench(t);
    const source = await fileOf(b, 'source.mkv', await makeFootage({ seconds: 30 }));
    const recording = b.record(['-re', '-i', source]);
    const outcome = assert.rejects(
      recording,
      (error) => error instanceof SourceError && error.retryable,
    );
    await b.fragmentsThere(1);
    const children = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8');
    for (const pid of children.trim().split(/\s+/)) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      if (command.includes(source)) process.kill(Number(pid), 'SIGKILL');
    }
    await outcome;
    const [run] = await b.runs();
    assert.match(run?.endReason ?? '', /^failed: /);
    const [file] = await b.playable();
    assert.ok((await frameHashes(file!)).length >= 30);
  });

  it('says why it can not record, without credentials', async (t) => {
    const b = await bench(t);
    const sound = await ffmpeg(
      ...['-f', 'lavfi', '-i', 'sine=duration=2', '-c:a', 'aac', '-f', 'matroska', 'pipe:1'],
    );
    const mjpeg = await makeFootage({
      seconds: 1,
      video: ['-c:v', 'mjpeg', '-pix_fmt', 'yuvj420p'],
    });
    const url = 'rtsp://admin:secret@127.0.0.1:1/live';
    for (const [args, code] of [
      [['-i', await fileOf(b, 'sound.mkv', sound)], 'unsupported'],
      [['-i', await fileOf(b, 'mjpeg.mkv', mjpeg)], 'unsupported'],
      [['-f', 'matroska', '-i', await fileOf(b, 'rubbish', Buffer.alloc(9_999, 'x'))], 'malformed'],
      [['-i', join(b.folder, 'nothing.mkv')], 'not-found'],
      [['-rtsp_transport', 'tcp', '-i', url], 'unreachable'],
    ] as const) {
      await assert.rejects(b.record(args), isSourceError(code), args.join(' '));
    }
    await assert.rejects(
      b.record(['-i', url], { ffmpegPath: '/nowhere/ffmpeg' }),
      isSourceError('unsupported'),
    );
    assert.ok(!JSON.stringify(b.logger.lines).includes('secret'));
    assert.deepEqual(await b.runs(), []);
  });

  it('fails as storage when the disk does not take it', async (t) => {
    const b = await bench(t);
    const source = await fileOf(b, 'source.mkv', await makeFootage({ seconds: 3 }));
    const blocked = join(b.folder, 'store', 'media', 'gate.1');
    await writeFile(blocked, 'in the way of the folder');
    await assert.rejects(b.record(['-i', source]), isSourceError('storage'));
    execFileSync('rm', [blocked]);
    await b.record(['-i', source]);
    assert.equal((await b.runs()).length, 1);
  });

  it('refuses an ffmpeg that is too old or none', async (t) => {
    assert.match(await probeFfmpegVersion(ffmpegPath), /\d/);
    const folder = await temporaryFolder(t);
    const old = join(folder, 'ffmpeg');
    await writeFile(
      old,
      '#!/bin/sh\necho "ffmpeg version 4.4.2"\necho "libavformat    58. 76.100"\n',
    );
    await chmod(old, 0o755);
    await assert.rejects(probeFfmpegVersion(old), /4\.4\.2; 5 or newer is needed/);
    await assert.rejects(probeFfmpegVersion('/bin/true'), isSourceError('unsupported'));
    await assert.rejects(probeFfmpegVersion('/nowhere/ffmpeg'), isSourceError('unsupported'));
  });
});

function isSourceError(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof SourceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(!error.message.includes('secret'));
    return true;
  };
}
