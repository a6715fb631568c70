import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { failureOf, isAudioFailure } from '../../../ingest/camera/ffmpeg-errors.ts';
import { FfmpegLog, maskCredentials } from '../../../ingest/camera/ffmpeg-log.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';

describe('what ffmpeg says', () => {
  it('shows no credentials, wherever they stand', () => {
    for (const [text, masked] of [
      ['rtsp://admin:secret@10.0.0.5/live', 'rtsp://***@10.0.0.5/live'],
      [
        '[tcp] rtsp://a:b@c:8554/x?u=1 and rtsps://u@h',
        '[tcp] rtsp://***@c:8554/x?u=1 and rtsps://***@h',
      ],
      ['rtsp://user:p@ss:w@rd@host/x', 'rtsp://***@host/x'],
      ['rtsp://host/x@y', 'rtsp://host/x@y'],
      ['no url at all: me@home', 'no url at all: me@home'],
    ] as const) {
      assert.equal(maskCredentials(text), masked);
    }
    const logger = new MemoryLogger();
    const log = new FfmpegLog(logger, () => undefined);
    log.write('[rtsp] [error] rtsp://admin:sec');
    log.write('ret@10.0.0.5/live: 404\n');
    log.end();
    assert.ok(!JSON.stringify([logger.lines, log.lastLines]).includes('secret'));
  });

  it('says each kind of thing once, then how often', () => {
    const logger = new MemoryLogger();
    const log = new FfmpegLog(logger, () => undefined);
    for (let index = 0; index < 5_000; index += 1) {
      log.write(`[rtsp @ 0x55${index}] [error] RTP timestamp ${index} went back\n`);
    }
    log.end();
    assert.equal(logger.lines.length, 2);
    assert.match(JSON.stringify(logger.lines[1]?.fields), /5000 ×/);
  });

  it('holds no flood: neither of kinds nor of an endless line', () => {
    const logger = new MemoryLogger();
    const log = new FfmpegLog(logger, () => undefined);
    for (let index = 0; index < 2_000; index += 1) {
      log.write(`[error] ${'abcdefghij'.repeat(3)}${String.fromCharCode(97 + (index % 26))}`);
      log.write(`${(index * 7919).toString(26).replace(/\d/g, 'x')}\n`);
    }
    log.write('x'.repeat(10_000_000));
    log.end();
    assert.ok(logger.lines.length <= 70);
    assert.ok(log.lastLines.join('').length < 10_000);
  });

  it('holds what an attempt fails at, until it is known what came of it', () => {
    const levels = (expected: boolean): readonly string[] => {
      const logger = new MemoryLogger();
      const log = new FfmpegLog(logger, () => undefined, true);
      log.write('[mp4 @ 0x1] [error] Could not find tag for codec pcm_mulaw\n[error] \n');
      assert.deepEqual(logger.lines, []);
      log.release(expected);
      log.write('[error] something else\n');
      log.end();
      return logger.lines.map(({ level }) => level);
    };
    assert.deepEqual(levels(true), ['debug', 'warn']);
    assert.deepEqual(levels(false), ['warn', 'warn']);
  });

  it('notices that packets were lost', () => {
    let damaged = 0;
    const log = new FfmpegLog(new MemoryLogger(), () => (damaged += 1));
    log.write('[rtsp @ 0x1] [warning] RTP: missed 3 packets\n');
    log.write('[rtsp @ 0x1] [warning] something harmless\n');
    assert.equal(damaged, 1);
  });

  it('tells apart why a camera could not be recorded', () => {
    for (const [line, code] of [
      ['[rtsp @ 0x1] [error] method DESCRIBE failed: 401 Unauthorized', 'unauthorized'],
      ['[error] rtsp://h/x: Server returned 404 Not Found', 'not-found'],
      [
        '[tcp @ 0x1] [error] Connection to tcp://127.0.0.1:9 failed: Connection refused',
        'unreachable',
      ],
      ['[error] rtsp://nowhere/x: Name or service not known', 'unreachable'],
      ["[fatal] Stream map '0:v:0' matches no streams.", 'unsupported'],
      ['[error] pipe:: Invalid data found when processing input', 'malformed'],
      ['[error] rtsp://h/x: Connection timed out', 'unreachable'],
      ['[error] av_interleaved_write_frame(): Input/output error', 'ended'],
      ['something nobody has seen before', 'ended'],
    ] as const) {
      const error = failureOf('rtsp://h/x', [line]);
      assert.equal(error.code, code, line);
      assert.ok(!/0x1|\[/.test(error.message), error.message);
    }
    assert.ok(
      isAudioFailure(['[mp4] [error] Could not find tag for codec pcm_mulaw in stream #1']),
    );
    assert.ok(!isAudioFailure(['[error] Connection refused']));
  });
});
