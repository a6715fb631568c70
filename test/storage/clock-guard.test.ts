import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../support/manual-clock.ts';
import { hourMs, openTestStore, streamOptions } from './support/open.ts';
import type { Store } from '../../storage/store.ts';

const dayMs = 24 * hourMs;
const yearMs = 365 * dayMs;

async function append(store: Store): Promise<void> {
  await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(10) }]);
}

/** The first record that is still there, after a pass of retention. */
async function firstKept(store: Store): Promise<number> {
  await store.retention.run();
  return store.log.stream('readings').shards[0]!.trimSequence;
}

for (const [name, stepMs] of [
  ['an hour and a minute', hourMs + 60_000],
  ['a day', dayMs],
  ['50 years', 50 * yearMs],
] as const) {
  for (const direction of [1, -1]) {
    const words = direction === 1 ? 'forward' : 'back';
    test(`after a step of ${name} ${words} nothing is deleted for one retention, then ageing is normal`, async (t) => {
      const { store, clock } = await openTestStore(t);
      await store.log.createStream(streamOptions());
      await append(store);
      clock.advance(60_000);
      clock.stepWall(direction * stepMs);
      assert.equal(await firstKept(store), 0);
      assert.equal(store.clockGuard.suspended, true, 'the step was noticed');
      clock.advance(23 * hourMs);
      await append(store);
      assert.equal(await firstKept(store), 0, 'too early');
      clock.advance(2 * hourMs);
      await store.retention.run();
      assert.equal(store.clockGuard.suspended, false, 'it heals by itself');
      clock.advance(23 * hourMs);
      assert.equal(await firstKept(store), 2, 'and both records had their time');
    });
  }

  test(`a step of ${name} forth and back undoes itself`, async (t) => {
    const { store, clock } = await openTestStore(t);
    await store.log.createStream(streamOptions());
    await append(store);
    clock.stepWall(stepMs);
    await append(store);
    assert.equal(await firstKept(store), 0);
    clock.advance(hourMs / 2);
    clock.stepWall(-stepMs);
    await append(store);
    await store.retention.run();
    assert.equal(store.clockGuard.suspended, false, 'it is what it was');
    assert.equal(store.clockGuard.status().steps.length, 2);
    const { id } = store.log.stream('readings').shards[0]!;
    assert.equal(await store.log.sequenceAt(id, clock.nowMs()), 1, 'the future record is found');
    clock.advance(50 * hourMs);
    assert.equal(await firstKept(store), 3, 'what is dated in the future goes with the rest');
  });
}

test('what was stored while the clock was behind is not deleted as it is set right', async (t) => {
  const { store, clock } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  await append(store);
  clock.stepWall(-yearMs);
  await store.retention.run();
  await append(store);
  clock.stepWall(yearMs);
  assert.equal(await firstKept(store), 0);
  clock.advance(23 * hourMs);
  assert.equal(await firstKept(store), 0);
  clock.advance(2 * hourMs);
  assert.equal(await firstKept(store), 2);
});

test('a step of less than an hour, and drift of 500 ppm for a month, are no steps', async (t) => {
  const { store, clock } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  clock.stepWall(59 * 60_000);
  await store.retention.run();
  clock.stepWall(-59 * 60_000);
  await store.retention.run();
  for (let hour = 0; hour < 30 * 24; hour += 1) {
    clock.advance(hourMs);
    clock.stepWall(Math.round(hourMs * 0.0005));
    store.clockGuard.look();
  }
  assert.equal(store.clockGuard.suspended, false);
  await append(store);
  clock.advance(25 * hourMs);
  assert.equal(await firstKept(store), 1);
});

test('a suspension and the time that it has lasted outlive restarts', async (t) => {
  const opened = await openTestStore(t);
  const { clock } = opened;
  await opened.store.log.createStream(streamOptions());
  await append(opened.store);
  clock.stepWall(50 * yearMs);
  assert.equal(await firstKept(opened.store), 0);
  for (let restart = 0; restart < 4; restart += 1) {
    clock.advance(6 * hourMs);
    assert.equal(await firstKept(await opened.reopen()), restart === 3 ? 1 : 0, `start ${restart}`);
  }
  assert.equal(opened.store.clockGuard.suspended, false);
});

test('a box without a battery: boots at its last shutdown or in 1970, and is set right later', async (t) => {
  for (const bootsInThePast of [false, true]) {
    const opened = await openTestStore(t);
    const { clock } = opened;
    await opened.store.log.createStream(streamOptions());
    await append(opened.store);
    await opened.store.close();
    const rightMs = clock.nowMs() + 3 * dayMs;
    if (bootsInThePast) clock.stepWall(-clock.nowMs());
    const store = await opened.reopen();
    assert.equal(store.clockGuard.suspended, bootsInThePast, 'a clock that went back is seen');
    await append(store);
    clock.stepWall(rightMs - clock.nowMs());
    assert.equal(await firstKept(store), 0, 'the sync expires nothing');
    clock.advance(dayMs + 60_000);
    assert.equal(store.clockGuard.status().suspension, null, 'no operator was needed');
    clock.advance(dayMs);
    assert.equal(await firstKept(store), 2);
  }
});

test('the very first sync, from 1970, expires nothing', async (t) => {
  const clock = new ManualClock(1000);
  const { store } = await openTestStore(t, { clock });
  await store.log.createStream(streamOptions());
  await append(store);
  clock.stepWall(56 * yearMs);
  await append(store);
  assert.equal(await firstKept(store), 0);
  const { id } = store.log.stream('readings').shards[0]!;
  assert.equal(await store.log.sequenceAt(id, clock.nowMs() - hourMs), 1);
});

test('a box that was off for days is believed; one that comes back a month ahead is not', async (t) => {
  const opened = await openTestStore(t);
  await opened.store.log.createStream(streamOptions());
  await append(opened.store);
  await opened.store.close();
  opened.clock.stepWall(3 * dayMs);
  assert.equal(await firstKept(await opened.reopen()), 1);
  await append(opened.store);
  await opened.store.close();
  opened.clock.stepWall(31 * dayMs);
  assert.equal(await firstKept(await opened.reopen()), 1);
  assert.equal(opened.store.clockGuard.status().steps.at(-1)?.whileStopped, true);
  await opened.store.clockGuard.confirm();
  assert.equal(await firstKept(opened.store), 2);
});

test('leases run on, whatever the wall clock does', async (t) => {
  const { store, clock } = await openTestStore(t);
  const { shards } = await store.log.createStream(streamOptions());
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  const { applications } = store.log;
  await applications.ensure({ name: 'reader', required: true });
  const lease = await applications.acquire('reader', source, 'me', 10_000, 0);
  clock.stepWall(50 * yearMs);
  await assert.rejects(applications.acquire('reader', source, 'other', 10_000, 0), {
    code: 'lease-held',
  });
  await applications.renew(lease, 10_000);
  clock.stepWall(-100 * yearMs);
  clock.advance(9_999);
  await assert.rejects(applications.acquire('reader', source, 'other', 10_000, 0), {
    code: 'lease-held',
  });
  clock.advance(2);
  await applications.acquire('reader', source, 'other', 10_000, 0);
});

test('a state that can be read by nobody costs nothing but the memory of steps', async (t) => {
  const opened = await openTestStore(t);
  for (const rubbish of ['', '{', '[]', '{"wallMs":"x"}', 'null']) {
    await opened.store.writer.transact((tx) =>
      tx.run('INSERT OR REPLACE INTO clock_state (id, state) VALUES (1, ?)', rubbish),
    );
    // The last save of closing would mend it.
    const kept = await opened.store.queries.get<{ state: string }>('SELECT state FROM clock_state');
    assert.equal(kept?.state, rubbish);
    await opened.store.clockGuard.save();
  }
  await opened.reopen();
});
