import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RtspError } from '../../../ingest/rtsp/errors.ts';
import { RtspParser, type RtspInput } from '../../../ingest/rtsp/parser.ts';

const sdp = 'v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n';
const stream = Buffer.concat([
  Buffer.from('OPTIONS rtsp://box/gate RTSP/1.0\r\nCSeq: 1\r\n\r\n'),
  Buffer.from(
    `ANNOUNCE rtsp://box/gate RTSP/1.0\r\ncseq:2\r\nContent-Length: ${sdp.length}\r\n\r\n${sdp}`,
  ),
  Buffer.from('\r\n'),
  frame(0, Buffer.alloc(40, 7)),
  frame(1, Buffer.alloc(0)),
  Buffer.from('RTSP/1.0 200 OK\r\nCSeq: 9\r\nContent-Length: 3\r\n\r\nabc'),
  frame(255, Buffer.from('$$$$')),
  Buffer.from('TEARDOWN rtsp://box/gate RTSP/1.0\nCSeq: 3\nSession: 1;timeout=60\n\n'),
]);

function frame(channel: number, payload: Buffer): Buffer {
  const header = Buffer.from([0x24, channel, 0, 0]);
  header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}

/** What the pieces give, as plain text, and the error's code where it ends in one. */
function read(pieces: readonly Buffer[], parser = new RtspParser()): string[] {
  const found: string[] = [];
  try {
    for (const piece of pieces) {
      for (const input of parser.push(piece)) found.push(shown(input));
    }
  } catch (error) {
    assert.ok(error instanceof RtspError, String(error));
    assert.equal(error.fatal, true);
    found.push(`${error.status}`);
  }
  return found;
}

function shown(input: RtspInput): string {
  if (input.kind === 'response') return 'response';
  if (input.kind === 'frame') return `frame ${input.channel} ${input.frame.toString('hex')}`;
  const { method, url, version, headers, body } = input.request;
  return JSON.stringify([method, url, version, [...headers], body.toString()]);
}

function readText(text: string): string[] {
  return read([Buffer.from(text, 'latin1')]);
}

describe('RTSP parser', () => {
  const whole = read([stream]);

  it('reads requests, answers and frames', () => {
    assert.deepEqual(whole, [
      '["OPTIONS","rtsp://box/gate","1.0",[["cseq","1"]],""]',
      `["ANNOUNCE","rtsp://box/gate","1.0",[["cseq","2"],["content-length","${sdp.length}"]],${JSON.stringify(sdp)}]`,
      `frame 0 24000028${'07'.repeat(40)}`,
      'frame 1 24010000',
      'response',
      'frame 255 24ff000424242424',
      '["TEARDOWN","rtsp://box/gate","1.0",[["cseq","3"],["session","1;timeout=60"]],""]',
    ]);
  });

  it('gives the same wherever the bytes are cut', () => {
    for (let cut = 0; cut <= stream.length; cut += 1) {
      assert.deepEqual(read([stream.subarray(0, cut), stream.subarray(cut)]), whole);
    }
    const single = [...stream].map((byte) => Buffer.from([byte]));
    assert.deepEqual(read(single), whole);
  });

  it('gives a typed error, or goes on, whichever byte is changed to whatever', () => {
    for (let at = 0; at < stream.length; at += 1) {
      for (const value of [0x00, 0x0a, 0x0d, 0x20, 0x24, 0x2d, 0x39, 0x3a, 0x41, 0x80, 0xff]) {
        const mutated = Buffer.from(stream);
        mutated[at] = value;
        const once = read([mutated]);
        const pieces = [mutated.subarray(0, at), mutated.subarray(at)];
        assert.deepEqual(read(pieces), once, `byte ${at} as ${value}`);
      }
    }
  });

  it('waits for the rest of what is cut off, at every length', () => {
    for (let length = 0; length < stream.length; length += 1) {
      const found = read([stream.subarray(0, length)]);
      assert.deepEqual(found, whole.slice(0, found.length));
    }
  });

  it('refuses what is not RTSP', () => {
    assert.deepEqual(readText('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), ['400']);
    assert.deepEqual(readText('\x16\x03\x01\x02\x00\x01'), ['400']);
    assert.deepEqual(readText('options rtsp://x RTSP/1.0\r\n\r\n'), ['400']);
    assert.deepEqual(readText('OPTIONS rtsp://x y RTSP/1.0\r\n\r\n'), ['400']);
    assert.deepEqual(readText('OPTIONS * RTSP/1.0\r\nno colon here\r\n\r\n'), ['400']);
    assert.deepEqual(readText('OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n folded\r\n\r\n'), ['400']);
  });

  it('refuses a Content-Length that lies', () => {
    for (const [value, status] of [
      ['-1', '400'],
      ['1e3', '400'],
      ['0x10', '400'],
      ['', '400'],
      ['5, 5', '400'],
      ['99999999999999999999', '400'],
      ['32769', '413'],
      ['4294967296', '413'],
    ] as const) {
      const text = `ANNOUNCE * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: ${value}\r\n\r\n`;
      assert.deepEqual(readText(text), [status], value);
    }
    const twice = 'ANNOUNCE * RTSP/1.0\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc';
    assert.deepEqual(readText(twice), ['400']);
  });

  it('tells which request was at fault where it could be read', () => {
    const parser = new RtspParser();
    const text = 'ANNOUNCE * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: -1\r\n\r\n';
    assert.throws(
      () => [...parser.push(Buffer.from(text))],
      (error: unknown) => error instanceof RtspError && error.cseq === '7',
    );
  });

  it('ends floods at its limits, however they come', () => {
    const letters = Buffer.alloc(1024, 'A');
    const flood = (start: string, piece: Buffer): { found: string[]; sent: number } => {
      const parser = new RtspParser();
      let found = read([Buffer.from(start)], parser);
      let sent = 0;
      while (found.length === 0 && sent < 100_000) {
        found = read([piece], parser);
        sent += piece.length;
      }
      return { found, sent };
    };
    const line = flood('', letters);
    assert.deepEqual(line.found, ['414']);
    assert.ok(line.sent <= 10_240, `${line.sent} bytes`);
    const header = flood('OPTIONS * RTSP/1.0\r\nX: ', letters);
    assert.deepEqual(header.found, ['400']);
    assert.ok(header.sent <= 10_240, `${header.sent} bytes`);
    const many = flood('OPTIONS * RTSP/1.0\r\n', Buffer.from('A: b\r\n'.repeat(50)));
    assert.deepEqual(many.found, ['400']);
    const few = 'OPTIONS * RTSP/1.0\r\n' + 'A: b\r\n'.repeat(65) + '\r\n';
    assert.deepEqual(readText(few), ['400'], 'too many headers within the bytes allowed');
  });
});
