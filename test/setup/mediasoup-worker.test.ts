import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import { appendFile, cp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { RouterRtpCodecCapability } from 'mediasoup/types';
import { Child } from '../support/child.ts';
import { copyProject, projectRoot } from './project.ts';

const workerPath = join(projectRoot, 'build/mediasoup-worker/mediasoup-worker');

describe("mediasoup's worker", () => {
  it('is built, and takes part in a conversation, in the clear and encrypted', async (t) => {
    // Waits for the build that `npm test` has begun, or does it, or finds it done.
    const build = new Child(process.execPath, [
      join(projectRoot, 'gateway/setup/build-worker.cjs'),
      '0',
    ]);
    const { code } = await build.exited;
    const named = process.env['MEDIASOUP_WORKER_BIN'] ?? workerPath;
    if (code !== 0 && build.lines.some((line) => /command not found|ENOENT/.test(line))) {
      t.skip('needs a compiler and the libraries that the set-up lists');
      return;
    }
    assert.equal(code, 0, build.lines.join('\n'));
    assert.ok(existsSync(named));

    process.env['MEDIASOUP_WORKER_BIN'] = named;
    const mediasoup = await import('mediasoup');
    const worker = await mediasoup.createWorker({ logLevel: 'warn' });
    t.after(() => worker.close());
    const mediaCodecs: RouterRtpCodecCapability[] = [
      {
        kind: 'video',
        mimeType: 'video/H264',
        clockRate: 90_000,
        parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f' },
      },
    ];
    const router = await worker.createRouter({ mediaCodecs });
    const transport = await router.createPlainTransport({
      listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
      rtcpMux: true,
      comedia: true,
    });
    const producer = await transport.produce({
      kind: 'video',
      rtpParameters: {
        codecs: [
          {
            mimeType: 'video/H264',
            payloadType: 96,
            clockRate: 90_000,
            parameters: { 'packetization-mode': 1, 'profile-level-id': '42e01f' },
          },
        ],
        encodings: [{ ssrc: 0x1234 }],
      },
    });
    // The way to the second worker is encrypted, by SRTP with keys of their own making.
    const other = await mediasoup.createWorker({ logLevel: 'warn' });
    t.after(() => other.close());
    const second = await other.createRouter({ mediaCodecs });
    const { pipeProducer } = await router.pipeToRouter({
      producerId: producer.id,
      router: second,
      enableSrtp: true,
    });
    assert.ok(pipeProducer);
    await pipeProducer.enableTraceEvent(['rtp']);
    const traced = once(pipeProducer.observer, 'trace') as Promise<[{ type: string }]>;
    // RFC 3550 5.1: version 2, marker and payload type 96, sequence 1, timestamp 0, the SSRC; then
    // an H.264 parameter set, with which a consumer may begin.
    const header = [0x80, 0x80 | 96, 0, 1, 0, 0, 0, 0, 0, 0, 0x12, 0x34];
    const packet = Buffer.from([...header, 0x67, 0x42, 0xe0, 0x1f]);
    const socket = createSocket('udp4');
    t.after(() => socket.close());
    socket.send(packet, transport.tuple.localPort, '127.0.0.1');
    const [trace] = await traced;
    assert.equal(trace.type, 'rtp');
  });

  it('is not taken for ready when it is damaged, or was made for another version', async (t) => {
    if (!existsSync(workerPath)) {
      t.skip('needs the worker, which could not be built');
      return;
    }
    const project = await copyProject(t);
    const folder = project.path('build/mediasoup-worker');
    await cp(dirname(workerPath), folder, { recursive: true });
    const isReady = () =>
      project.evaluate(`setup('mediasoup-worker').isReady(process.env).then(console.log)`);
    assert.equal(await isReady(), 'true');

    const whole = await readFile(workerPath);
    await writeFile(join(folder, 'mediasoup-worker'), whole.subarray(0, whole.length / 2));
    assert.equal(await isReady(), 'false');
    await writeFile(join(folder, 'mediasoup-worker'), whole);
    assert.equal(await isReady(), 'true');

    await appendFile(project.path('gateway/setup/mediasoup-worker/Makefile'), '# changed');
    assert.equal(await isReady(), 'false');
  });

  it('that was named and does not run stops the set-up with a sentence', async (t) => {
    const project = await copyProject(t);
    const { code, text } = await project.run('start.cjs', [], {
      env: { MEDIASOUP_WORKER_BIN: '/etc/passwd' },
    });
    assert.equal(code, 1);
    assert.match(text, /MEDIASOUP_WORKER_BIN is \/etc\/passwd, which is not a mediasoup worker/);
  });
});
