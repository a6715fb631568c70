import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReorderBuffer } from '../../../ingest/webrtc/reorder.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { ManualClock } from '../../support/manual-clock.ts';

function buffer(options: { readonly packetsMax?: number } = {}) {
  const clock = new ManualClock();
  const delivered: number[] = [];
  const made = new ReorderBuffer({
    ...{ clock, waitMs: 250, ...options },
    deliver: (packet) => void delivered.push(packet.readUInt16BE()),
  });
  const push = (...sequences: readonly number[]): void => {
    for (const sequence of sequences) {
      const packet = Buffer.alloc(2);
      packet.writeUInt16BE(sequence);
      made.push(sequence, packet);
    }
  };
  return { made, clock, delivered, push };
}

test('packets come out in order, over the end of their numbers', () => {
  const { delivered, push, made } = buffer();
  push(65_534, 0, 65_535, 2, 3, 1, 1, 65_535);
  assert.deepEqual(delivered, [65_534, 65_535, 0, 1, 2, 3]);
  assert.equal(made.late, 2);
});

test('what is missing is waited for, and then left out', () => {
  const { delivered, push, clock } = buffer();
  push(1, 3, 4);
  clock.advance(249);
  assert.deepEqual(delivered, [1]);
  clock.advance(1);
  assert.deepEqual(delivered, [1, 3, 4]);
  push(2, 5);
  assert.deepEqual(delivered, [1, 3, 4, 5], 'too late');
});

test('of two gaps each has its time', () => {
  const { delivered, push, clock } = buffer();
  push(1, 3);
  clock.advance(200);
  push(5);
  clock.advance(50);
  assert.deepEqual(delivered, [1, 3]);
  push(4);
  assert.deepEqual(delivered, [1, 3, 4, 5]);
});

test('no more waits than there may', () => {
  const { delivered, push } = buffer({ packetsMax: 4 });
  push(1, 3, 4, 5, 6, 7);
  assert.deepEqual(delivered, [1, 3, 4, 5, 6, 7]);
});

test('another stream begins at once, ahead or behind, and the end lets nothing lie', () => {
  const { delivered, push, made } = buffer();
  push(1, 3, 20_000, 20_001, 100, 101, 103);
  assert.deepEqual(delivered, [1, 3, 20_000, 20_001, 100, 101]);
  made.end();
  assert.deepEqual(delivered.slice(-1), [103]);
});

test('whatever comes in whatever order goes out once and in order', () => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const random = seededRandom(seed);
    const { delivered, push, clock, made } = buffer({ packetsMax: 64 });
    const first = Math.floor(random() * 65_536);
    push(first);
    const sent = Array.from({ length: 500 }, (_, index) => index + 1)
      .filter(() => random() > 0.05)
      .map((index) => ({ index, at: index + random() * 20 }))
      .sort((a, b) => a.at - b.at);
    for (const { index } of sent) {
      push((first + index) & 0xffff);
      if (random() < 0.1) clock.advance(Math.floor(random() * 300));
    }
    made.end();
    const places = delivered.map((sequence) => (sequence - first) & 0xffff);
    for (const [at, place] of places.entries()) {
      assert.ok(at === 0 || place > places[at - 1]!, `seed ${seed}: ${place} out of order`);
    }
    assert.equal(places.length + made.late, sent.length + 1, `seed ${seed}`);
  }
});
