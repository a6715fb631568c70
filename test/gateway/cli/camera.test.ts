/** `headgate camera`, with packets of real clips and files that are really written. */
import assert from 'node:assert/strict';
import { chmod, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { reportOn } from '../../../gateway/cli/camera-report.ts';
import { runCli } from '../../../gateway/cli/cli.ts';
import { VideoWatch } from '../../../ingest/rtsp/client/media-watch.ts';
import type { CameraFindings } from '../../../ingest/rtsp/client/probe.ts';
import { makeClip, type ClipOptions } from '../../ingest/rtsp/media.ts';
import {
  capturePackets,
  PacketCamera,
  type PacketCameraOptions,
} from '../../support/packet-camera.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { FakeProcess } from './support.ts';

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(
  folder: string,
  env: Record<string, string>,
  ...args: readonly string[]
): Promise<Outcome> {
  const process = new FakeProcess();
  const code = await runCli(process.context(['camera', ...args], { folder, env }));
  return { code, out: process.stdout, err: process.stderr };
}

/** A camera that plays a clip all at once, tells this time, and hangs up. */
async function cameraOf(
  t: TestContext,
  folder: string,
  clip: ClipOptions,
  options: PacketCameraOptions = {},
): Promise<PacketCamera> {
  const capture = await capturePackets(t, await makeClip(folder, clip));
  return PacketCamera.start(t, capture, { hangUp: true, ...options });
}

const nowMs = new FakeProcess().clock.nowMs();

describe('headgate camera', { concurrency: 2 }, () => {
  it('probe says what a camera sends, that browsers play it, and how much it takes', async (t) => {
    const folder = await temporaryFolder(t);
    const clip = { name: 'plain', seconds: 4, audio: ['-c:a', 'aac'] };
    const camera = await cameraOf(t, folder, clip, { reportMs: () => nowMs + 100 });
    const { code, out, err } = await run(folder, {}, 'probe', camera.url);
    assert.equal(code, 0, err);
    assert.match(out, /Video +H\.264 Baseline, 320 × 240, 25 frames\/s/);
    assert.match(out, /Keyframes +every 1 s/);
    assert.match(out, /Audio +AAC/);
    assert.match(out, /Clock +as on this machine/);
    assert.match(out, /✓ It can be recorded, and browsers play it\./);
    assert.doesNotMatch(out, /✗|! /);
    const json = await run(folder, {}, 'probe', '--json', camera.url);
    assert.equal((JSON.parse(json.out) as { videoCodec: string }).videoCodec, 'H264');
  });

  it('probe says what will not work, and why', async (t) => {
    const folder = await temporaryFolder(t);
    const hard = await cameraOf(
      t,
      folder,
      {
        name: 'hard',
        seconds: 12,
        video: [
          '-c:v',
          'libx264',
          '-preset',
          'veryfast',
          '-bf',
          '2',
          '-x264-params',
          'keyint=250:min-keyint=250:scenecut=0',
        ],
        audio: ['-c:a', 'pcm_alaw', '-ar', '8000', '-f', 'mov'],
      },
      {
        reportMs: () => nowMs - 3 * 3_600_000,
        change: (packet, { index }) => (index === 40 ? [] : [packet]),
      },
    );
    const { code, out, err } = await run(folder, {}, 'probe', hard.url);
    assert.equal(code, 0, err);
    const text = out.replace(/\s+/g, ' ');
    assert.match(text, new RegExp(`Address 127\\.0\\.0\\.1:${hard.port} `));
    assert.match(text, /Keyframes every 10 s/);
    assert.match(text, /! There are up to 10 s from keyframe to keyframe/);
    assert.match(text, /Audio G\.711 A-law/);
    assert.match(text, /! It sends B-frames/);
    assert.match(text, /! The audio \(G\.711 A-law\) is transcoded/);
    assert.match(text, /! Its clock is 3\.0 h behind and is not believed/);
    assert.match(text, /✗ 1 packets were missing/);
    const hevc = await cameraOf(t, folder, {
      name: 'hevc',
      seconds: 2,
      video: [
        '-c:v',
        'libx265',
        '-preset',
        'ultrafast',
        '-x265-params',
        'log-level=none:bframes=0',
      ],
    });
    const other = await run(folder, {}, 'probe', hevc.url);
    assert.match(other.out, /Video +H\.265, 320 × 240/);
    assert.match(other.out, /✗ H\.265 is recorded, but most browsers/);
    assert.match(other.out, /! It sends no time/);
  });

  it('probe waits no longer for a camera that plays and shows nothing', async (t) => {
    const folder = await temporaryFolder(t);
    const process = new FakeProcess();
    const media = ['m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000', 'a=control:track1'];
    const sdp = ['v=0', ...media, ''].join('\r\n');
    const camera = await PacketCamera.start(
      t,
      { sdp, packets: [], lengthMs: 0, rates: [90_000] },
      {
        answer: ({ method }) => {
          if (method === 'PLAY') process.clock.advance(12_000);
          return undefined;
        },
      },
    );
    const context = process.context(['camera', 'probe', camera.url], { folder });
    assert.equal(await runCli(context), 1);
    assert.match(process.stderr, /no picture came in 12 s/);
  });

  it('add writes the camera into the file, and tells what comes next', async (t) => {
    const folder = await temporaryFolder(t);
    const camera = await cameraOf(t, folder, { name: 'plain', seconds: 3 });
    const url = camera.url.replace('//', '//admin:p%40ss@');
    const dry = await run(folder, {}, 'add', url, '--dry-run');
    assert.match(dry.out, /cameras:\n {2}camera-127-0-0-1:\n {4}source:\n {6}rtsp: /);
    const substream = ['--substream', 'rtsp://${SMALL}/sub'];
    const withSmall = await run(folder, { SMALL: 'x' }, 'add', url, '--dry-run', ...substream);
    assert.match(withSmall.out, /\n {4}substream:\n {6}rtsp: rtsp:\/\/\$\{SMALL\}\/sub\n/);
    await assert.rejects(readFile(join(folder, 'headgate.yaml')), /ENOENT/);

    const first = await run(folder, {}, 'add', url);
    assert.equal(first.code, 0, first.err);
    assert.match(first.out, /Added as "camera-127-0-0-1" to headgate\.yaml, which is new/);
    assert.match(first.out, /CAMERA_127_0_0_1_PASSWORD/);
    const file = join(folder, 'headgate.yaml');
    assert.equal((await stat(file)).mode & 0o777, 0o600, 'it holds a password');

    const text = `# mine\n${await readFile(file, 'utf8')}# the end\n`;
    const real = join(folder, 'real.yaml');
    await writeFile(real, text);
    await chmod(real, 0o640);
    await symlink(real, join(folder, 'link.yaml'));
    const env = { YARD_PASSWORD: 'p@ss' };
    const given = camera.url.replace('//', '//admin:${YARD_PASSWORD}@');
    const second = await run(folder, env, 'add', given, '--name', 'yard', '-c', 'link.yaml');
    assert.equal(second.code, 0, second.err);
    assert.match(second.out, /takes the camera over by itself/);
    assert.doesNotMatch(second.out, /in the clear/);
    const changed = await readFile(real, 'utf8');
    const added = `  yard:\n    source:\n      rtsp: ${given}\n`;
    assert.equal(changed, text.replace('# the end\n', `${added}# the end\n`));
    assert.equal((await stat(real)).mode & 0o777, 0o640);

    const again = await run(folder, env, 'add', given, '--name', 'yard', '-c', 'link.yaml');
    assert.equal(again.code, 1);
    assert.match(again.err, /There is a camera named yard already/);
    const third = await run(folder, {}, 'add', url);
    assert.match(third.out, /Added as "camera-127-0-0-1-2"/);
    for (const { out, err } of [dry, first, second, again, third]) {
      assert.doesNotMatch(
        (out + err).replace(/ +rtsp: .*/g, ''),
        /p%40ss|p@ss/,
        'no password is printed',
      );
    }
  });

  it('writes nothing when the camera can not be used, unless told to', async (t) => {
    const folder = await temporaryFolder(t);
    const capture = { sdp: '', packets: [], lengthMs: 0, rates: [] };
    const on = (status: string) =>
      PacketCamera.start(t, capture, {
        answer: ({ method }) => (method === 'DESCRIBE' ? { status } : undefined),
      });
    const describing = async (...media: readonly string[]): Promise<string> => {
      const sdp = ['v=0', ...media, ''].join('\r\n');
      return (await PacketCamera.start(t, { ...capture, sdp })).url;
    };
    const locked = await PacketCamera.start(t, capture, {
      answer: () => ({
        status: '401 Unauthorized',
        headers: { 'WWW-Authenticate': 'Digest realm="x", nonce="y"' },
      }),
    });
    for (const [url, said] of [
      [(await on('401 Unauthorized')).url, /wants a user and a password[^]*percent-encoded/],
      [
        locked.url.replace('//', '//admin:wrong@'),
        /401: the camera refuses this user and password/,
      ],
      [(await on('404 Not Found')).url, /no such path[^]*manual/],
      [await describing('m=video 0 RTP/AVP 26'), /no H\.264 or H\.265 video among: video JPEG/],
      [await describing('m=audio 0 RTP/AVP 8'), /no H\.264 or H\.265 video among: audio PCMA/],
      [
        await describing('m=video 0 RTP/SAVP 96', 'a=rtpmap:96 H264/90000'),
        /video among: video H264 over RTP\/SAVP/,
      ],
      ['rtsp://nobody.invalid/', /there is no host named nobody\.invalid[^]*switched on/],
    ] as const) {
      const { code, out, err } = await run(folder, {}, 'add', url);
      assert.equal(code, 1, url);
      assert.match(err, said);
      assert.match(err, /Nothing was written\. --force/);
      assert.doesNotMatch(out, /Added/);
    }
    const gone = await on('200 OK');
    await gone.close();
    const refused = await run(folder, {}, 'probe', gone.url);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /connection refused[^]*switched on/);
    const forced = await run(
      folder,
      {},
      'add',
      gone.url,
      '--force',
      '--name',
      'later',
      '--transport',
      'udp',
      '--no-verify-tls',
    );
    assert.equal(forced.code, 0, forced.err);
    assert.match(
      await readFile(join(folder, 'headgate.yaml'), 'utf8'),
      /later:\n {4}source:\n {6}rtsp: .*\n {4}transport: udp\n {4}verifyTls: false\n/,
    );
    for (const [args, code, said] of [
      [['probe', 'http://10.0.0.5/'], 2, /rtsp:\/\/ or rtsps:\/\//],
      [['probe', 'rtsp://a:${NOBODY}@b/'], 2, /NOBODY, which is not set/],
      [['probe', 'rtsp://a:${file:/etc/shadow}@b/'], 2, /can't be read/],
      [['probe'], 2, /missing required argument/],
      [['add', gone.url, '--substream', 'http://x/'], 2, /rtsp:\/\/ or rtsps:\/\//],
      [['add', gone.url, '--force', '--name', '../x'], 78, /cameras/],
      [['add', gone.url, '--name', 'my cam', '--dry-run'], 78, /is not allowed as a name/],
      [['probe', 'rtsp://gw:p@ss/w@127.0.0.1/'], 2, /@ is written %40 and \/ is written %2F/],
      [['add', gone.url, '--transport', 'smtp'], 2, /Allowed choices are tcp, udp/],
    ] as const) {
      const found = await run(folder, {}, ...args);
      assert.equal(found.code, code, args.join(' ') + found.err);
      assert.match(found.err, said);
      assert.equal(found.out, '', 'nothing is looked at for that');
    }
  });
});

describe('what is said of a camera', () => {
  const usual: CameraFindings = {
    remote: '192.0.2.1:554',
    videoCodec: 'H264',
    video: {
      ...{ width: 1920, height: 1080, profile: 'Main', frames: 100, keyframes: 4 },
      ...{ framesPerSecond: 25, bitsPerSecond: 4e6, groupSeconds: 1, hasBFrames: false },
      ...{ clockRate: 1.01, missingPackets: 0, bitDepth: 8, chroma: '4:2:0' },
    },
    audioCodec: 'MPEG4-GENERIC',
    clockAheadMs: 20,
    watchedMs: 4_000,
  };
  const { video } = usual;

  it('is nothing of a camera without faults', () => {
    assert.deepEqual(
      reportOn(usual).remarks.filter(({ kind }) => kind !== 'fine'),
      [],
    );
  });

  for (const [kind, said, found] of [
    [
      'problem',
      /^No keyframe came in 4 s/,
      { video: { ...video, keyframes: 0, groupSeconds: null } },
    ],
    [
      'problem',
      /^Only one keyframe came/,
      { video: { ...video, keyframes: 1, groupSeconds: null } },
    ],
    ['note', /^There are up to 20 s from/, { video: { ...video, groupSeconds: 20 } }],
    ['problem', /^Its timestamps advance 2 s in a second/, { video: { ...video, clockRate: 2 } }],
    ['problem', /^Its timestamps advance 0 s in a second/, { video: { ...video, clockRate: 0 } }],
    ['note', /^Its clock is 2 s behind, and its footage will/, { clockAheadMs: -2_000 }],
    ['note', /^Its clock is 2\.0 d ahead and is not believed/, { clockAheadMs: 2 * 86_400_000 }],
    ['note', /^It sends no time/, { clockAheadMs: null }],
    ['note', /^The audio \(G\.711 µ-law\) is transcoded.*spare it\.$/, { audioCodec: 'PCMU' }],
    ['note', /over WebRTC do not hear it\.$/, { audioCodec: 'G726-32' }],
    ['problem', /^H\.264 with 10 bits and chroma 4:2:0/, { video: { ...video, bitDepth: 10 } }],
    ['problem', /^H\.264 with 8 bits and chroma 4:4:4/, { video: { ...video, chroma: '4:4:4' } }],
  ] as const) {
    it(`is a ${kind}: ${said.source}`, () => {
      const remarks = reportOn({ ...usual, ...found }).remarks.filter((one) => one.kind !== 'fine');
      assert.deepEqual(
        remarks.map((one) => one.kind),
        [kind],
      );
      assert.match(remarks[0]?.text ?? '', said);
    });
  }
});

describe('the packets of a video track', () => {
  const packet = (sequence: number, timestamp: number, payload: readonly number[]): Buffer => {
    const header = Buffer.alloc(12);
    header.writeUInt32BE(0x8060_0000 + sequence, 0);
    header.writeUInt32BE(timestamp >>> 0, 4);
    return Buffer.concat([header, Buffer.from(payload)]);
  };

  it('tell the rate of its clock, and its keyframes, also where it wraps around', () => {
    const watch = new VideoWatch('H264', null);
    for (let frame = 0; frame < 100; frame += 1) {
      const type = frame % 25 === 0 ? [0x7c, 0x85, 1] : [0x41, 1];
      watch.push(packet(frame, 0xffff_f000 + frame * 7200, type), frame * 40);
    }
    const found = watch.findings();
    assert.equal(found.frames, 100);
    assert.equal(found.keyframes, 4);
    assert.equal(found.groupSeconds, 2, 'by its own clock');
    assert.equal(found.hasBFrames, false);
    assert.ok(Math.abs((found.clockRate ?? 0) - 2) < 0.01, `${found.clockRate}`);
    assert.equal(found.width, null);
  });

  it('may be rubbish', () => {
    for (const codec of ['H264', 'H265'] as const) {
      const watch = new VideoWatch(codec, Buffer.from([0x67]));
      for (const payload of [
        [],
        [0x78],
        [0x78, 0xff, 0xff, 1],
        [0x60, 1, 0, 0],
        [0x62, 1],
        [0x67, 100],
      ]) {
        watch.push(packet(1, 1, payload), 0);
        watch.push(packet(2, 1, payload).subarray(0, 11), 0);
      }
      assert.equal(watch.findings().width, null);
      assert.equal(watch.findings().framesPerSecond, null);
    }
  });
});
