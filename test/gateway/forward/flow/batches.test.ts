/** Held back in the middle of a plan that goes in batches. */
import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import type { Delivery } from '../../../../gateway/forward/delivery.ts';
import { SinkError, type Batch, type BatchSink } from '../../../../gateway/forward/sink.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from '../support/rig.ts';

/** Takes batches of ten as a test tells it. */
class Batches implements BatchSink {
  readonly kind = 'http';
  readonly description = 'memory';
  readonly limits = { records: 10, bytes: 100_000, recordBytes: 10_000 };
  readonly taken: number[] = [];
  readonly ids: string[] = [];
  calls = 0;
  isUp = true;
  during: () => Promise<void> = () => Promise.resolve();

  async deliver({ items }: Batch): Promise<readonly (SinkError | null)[]> {
    this.calls += 1;
    await this.during();
    if (!this.isUp) throw new SinkError('unreachable', 'no link');
    for (const { id, data } of items) {
      this.ids.push(id);
      this.taken.push((JSON.parse(data.toString()) as { id: number }).id);
    }
    return items.map(() => null);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

interface Scene {
  readonly rig: Rig;
  readonly clock: ManualClock;
  readonly sink: Batches;
  readonly delivery: Delivery;
}

async function start(context: TestContext, retrySeconds: number | null): Promise<Scene> {
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  await rig.store.log.append('readings', numbered(0, 100, 1));
  const sink = new Batches();
  const delivery = rig.start(
    {
      ...{ name: 'hook', from: { stream: 'readings' }, to: { folder: { path: '' } } },
      ...{ buffer: { maxBytes: 100_000, maxSeconds: 1 }, retrySeconds },
    },
    sink,
  );
  return { rig, clock, sink, delivery };
}

it('a plan stops between two batches, and goes on with those that are left', async (context) => {
  const { rig, clock, sink, delivery } = await start(context, null);
  let go = (): void => undefined;
  sink.during = () =>
    sink.calls === 4
      ? new Promise((resolve) => {
          go = resolve;
        })
      : Promise.resolve();
  await runClock(rig, clock, () => sink.calls === 4);
  await delivery.pause();
  go();
  for (let minute = 0; minute < 10; minute += 1) {
    clock.advance(60_000);
    await settle(rig);
  }
  assert.equal(sink.calls, 4, 'what was under way was finished, and nothing after it');
  assert.equal(sink.taken.length, 40);
  const status = await delivery.status();
  assert.deepEqual([status.state, status.failures], ['waiting', 0]);
  await delivery.resume();
  await runClock(rig, clock, () => sink.taken.length >= 100);
  await settle(rig);
  assert.deepEqual(sink.taken, [...Array(100).keys()], 'each once, in order');

  await delivery.rewind('earliest');
  await runClock(rig, clock, () => sink.taken.length >= 200);
  assert.deepEqual(sink.ids.slice(100), sink.ids.slice(0, 100), 'a record keeps its id');
});

it('the time in which it is held back is no part of retrySeconds', async (context) => {
  const { rig, clock, sink, delivery } = await start(context, 60);
  sink.isUp = false;
  await runClock(rig, clock, () => sink.calls === 2);
  await delivery.pause();
  // First its back-off, then what it is held back for.
  for (const passedMs of [5000, 3_600_000]) {
    clock.advance(passedMs);
    await settle(rig);
  }
  await delivery.resume();
  await runClock(rig, clock, () => sink.calls === 3);
  await settle(rig);
  assert.equal((await delivery.status()).failedRecords, 0, 'an hour was waited, and not tried');
  sink.isUp = true;
  await runClock(rig, clock, () => sink.taken.length === 100);
  await settle(rig);
  assert.equal((await delivery.status()).failedRecords, 0);
});
