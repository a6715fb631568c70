import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { ffmpegCommand } from '../../../ingest/camera/ffmpeg.ts';
import { concealed } from '../../../ingest/camera/input-script.ts';
import { ffmpegPath } from '../../support/tools.ts';

describe('the credentials of a camera', () => {
  it('are not on the command line', () => {
    const args = ['-rtsp_transport', 'tcp', '-timeout', '10', '-i', "rtsp://me:it's@h:1/x"];
    const command = ffmpegCommand({ args, description: '' }, 'copy');
    assert.ok(!command.args.some((argument) => argument.includes('rtsp://')));
    assert.equal(
      command.script,
      [
        'ffconcat version 1.0',
        "file 'rtsp://me:it'\\''s@h:1/x'",
        "option rtsp_transport 'tcp'",
        "option timeout '10'",
        '',
      ].join('\n'),
    );
  });

  it('where there are none, or options that a script does not know, nothing changes', () => {
    for (const args of [
      ['-rtsp_transport', 'tcp', '-i', 'rtsp://host/x@y'],
      ['-re', '-i', 'clip.mp4'],
      ['-f', 'mpegts', '-i', 'tcp://127.0.0.1:1'],
      ['-unheard_of', '1', '-i', 'rtsp://a:b@h/x'],
      ['-i', 'rtsp://a:b@h/x\nfile /etc/passwd'],
    ]) {
      assert.deepEqual(concealed(args), { args, script: null });
    }
  });

  it('reach the camera all the same', async (t) => {
    // A camera that asks for Basic credentials and notes what it is given.
    let heard = '';
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => {
        const request = bytes.toString();
        heard += request;
        const sequence = /CSeq: (\d+)/.exec(request)?.[1] ?? '1';
        const answer = request.includes('Authorization:')
          ? 'RTSP/1.0 404 Not Found'
          : 'RTSP/1.0 401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"';
        socket.write(`${answer}\r\nCSeq: ${sequence}\r\n\r\n`);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const { args, script } = concealed([
      ...['-rtsp_transport', 'tcp', '-i', `rtsp://me:it's secret@127.0.0.1:${port}/x`],
    ]);
    const child = execFile(
      ffmpegPath,
      ['-v', 'error', ...args, '-f', 'null', '-'],
      () => undefined,
    );
    child.stdin?.end(script);
    await once(child, 'close');
    const given = /Authorization: Basic (\S+)/.exec(heard)?.[1] ?? '';
    assert.equal(Buffer.from(given, 'base64').toString(), "me:it's secret");
  });
});
