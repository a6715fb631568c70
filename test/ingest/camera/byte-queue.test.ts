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
    const queue = new ByteQueue(source, new ManualClock(), undefined, 10_000);
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

  it('copies what it keeps, so that its source may write over it', async () => {
    const source = new PassThrough();
    const taken: number[] = [];
    const queue = new ByteQueue(source, new ManualClock(), (bytes) => taken.push(bytes));
    const memory = Buffer.alloc(200_000);
    const read: string[] = [];
    const sizes = [10, 20, 200_000, 30];
    for (const [index, size] of sizes.entries()) {
      source.emit('data', memory.fill(`${index}`).subarray(0, size));
    }
    for (let left = sizes.length; left > 0; left -= 1) {
      read.push((await queue.next())!.bytes.toString());
      memory.fill('x');
      source.emit('data', memory.fill('y').subarray(0, 40));
    }
    assert.deepEqual(
      read,
      sizes.map((size, index) => `${index}`.repeat(size)),
    );
    assert.equal((await queue.next())?.bytes.toString(), 'y'.repeat(40));
    assert.deepEqual(taken, [...sizes, 40, 40, 40, 40]);
  });

  it('drops everything once told to, so that the writer can end', async () => {
    const source = new PassThrough({ highWaterMark: 100 });
    const queue = new ByteQueue(source, new ManualClock(), undefined, 100);
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
