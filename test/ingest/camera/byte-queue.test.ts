import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, it } from 'node:test';
import { ByteQueue } from '../../../ingest/camera/byte-queue.ts';
import { ManualClock } from '../../support/manual-clock.ts';

describe('the queue before the disk', () => {
  it('keeps order and the time at which each piece came', async () => {
    const source = new PassThrough();
    const clock = new ManualClock(1_000);
    const queue = new ByteQueue(source, clock);
    const reading = queue.next();
    source.write('one');
    assert.deepEqual(await reading, { bytes: Buffer.from('one'), arrivalMs: 1_000 });
    source.write('two');
    await until(() => queue.bytes === 3);
    clock.advance(5_000);
    source.end('three');
    assert.equal((await queue.next())?.arrivalMs, 1_000);
    assert.deepEqual(await queue.next(), { bytes: Buffer.from('three'), arrivalMs: 6_000 });
    assert.equal(await queue.next(), null);
    assert.equal(await queue.next(), null);
  });

  it('stops reading at its limit, loses nothing, and goes on when there is room', async () => {
    const source = new PassThrough({ highWaterMark: 1_000 });
    const queue = new ByteQueue(source, new ManualClock(), 10_000);
    let written = 0;
    while (source.write(Buffer.alloc(1_000, written))) written += 1;
    for (; written < 100; written += 1) {
      if (!source.write(Buffer.alloc(1_000, written)) && source.isPaused()) break;
      if (source.writableNeedDrain && !source.isPaused()) await once(source, 'drain');
    }
    assert.ok(queue.bytes <= 11_000, `${queue.bytes} held`);
    assert.ok(source.isPaused());
    source.end();
    let read = 0;
    for (let piece = await queue.next(); piece !== null; piece = await queue.next()) {
      read += piece.bytes.length;
    }
    assert.ok(read >= 11_000);
    assert.equal(read % 1_000, 0);
  });

  it('drops everything once told to, so that the writer can end', async () => {
    const source = new PassThrough({ highWaterMark: 100 });
    const queue = new ByteQueue(source, new ManualClock(), 100);
    source.write(Buffer.alloc(1_000));
    await until(() => source.isPaused());
    queue.discard();
    source.end(Buffer.alloc(100_000));
    await once(source, 'close');
    assert.equal(queue.bytes, 0);
    assert.equal(await queue.next(), null);
  });

  it('hands on the failure of its source', async () => {
    const source = new PassThrough();
    const queue = new ByteQueue(source, new ManualClock());
    source.destroy(new Error('the pipe broke'));
    await assert.rejects(queue.next(), /the pipe broke/);
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
