import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import type { Applications, Lease, Plan, SourceKey } from '../../../storage/model.ts';
import { openTestStore, streamOptions, type TestStore } from '../support/open.ts';

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

const leaseMs = 10_000;

/** A stream with ten records in its only shard, and an application. */
async function withApplication(
  context: TestContext,
): Promise<TestStore & { applications: Applications; source: SourceKey }> {
  const opened = await openTestStore(context);
  const { log } = opened.store;
  const { shards } = await log.createStream(streamOptions());
  const records = Array.from({ length: 10 }, () => ({ partitionKey: 'k', data: Buffer.from('x') }));
  await log.append('readings', records);
  await log.applications.ensure({ name: 'uplink', required: true });
  const source: SourceKey = { kind: 'shard', id: shards[0]!.id };
  return Object.assign(opened, { applications: log.applications, source });
}

const plan = (from: number, to: number, detail: unknown = null): Plan => ({
  from,
  to,
  detail,
  createdMs: 1,
});

test('a lease is held until it expires, then the next worker takes it over', async (t) => {
  const { applications, source, clock } = await withApplication(t);
  const first = await applications.acquire('uplink', source, 'a', leaseMs, 3);
  assert.equal(first.checkpoint, 3);
  const take = (): Promise<Lease> => applications.acquire('uplink', source, 'b', leaseMs, 0);
  clock.advance(leaseMs - 1);
  await assert.rejects(take(), code('lease-held'));
  clock.advance(1);
  const second = await take();
  assert.equal(second.checkpoint, 3, 'the checkpoint goes with the source, not with the worker');
  assert.ok(second.counter > first.counter);
});

test('a step of the wall clock neither ends nor prolongs a lease', async (t) => {
  const { applications, source, clock } = await withApplication(t);
  await applications.acquire('uplink', source, 'a', leaseMs, 0);
  clock.stepWall(1000 * leaseMs);
  const take = (): Promise<Lease> => applications.acquire('uplink', source, 'b', leaseMs, 0);
  await assert.rejects(take(), code('lease-held'));
  clock.stepWall(-2000 * leaseMs);
  clock.advance(leaseMs);
  await take();
});

test('renewing keeps the lease; every lease object of the tenure stays good', async (t) => {
  const { applications, source, clock } = await withApplication(t);
  const first = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  clock.advance(leaseMs - 1);
  const renewed = await applications.renew(first, leaseMs);
  assert.ok(renewed.counter > first.counter);
  clock.advance(leaseMs - 1);
  await assert.rejects(applications.acquire('uplink', source, 'b', leaseMs, 0), code('lease-held'));
  // A heartbeat and a checkpoint of one worker that cross do not throw it out.
  const [, checkpointed] = await Promise.all([
    applications.renew(renewed, leaseMs),
    applications.checkpoint(first, 4),
  ]);
  assert.equal(checkpointed.checkpoint, 4);
});

test('a superseded worker can do nothing any more', async (t) => {
  const { applications, source, clock } = await withApplication(t);
  const old = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  clock.advance(leaseMs);
  const held = await applications.acquire('uplink', source, 'b', leaseMs, 0);
  const lost = code('lease-lost');
  await assert.rejects(applications.checkpoint(old, 5), lost);
  await assert.rejects(applications.renew(old, leaseMs), lost);
  await assert.rejects(applications.savePlan(old, plan(0, 5)), lost);
  await assert.rejects(applications.completePlan(old), lost);
  await applications.release(old);
  assert.equal((await applications.checkpoint(held, 1)).checkpoint, 1);
});

test('the same owner taking the lease again puts its earlier self out', async (t) => {
  const { applications, source } = await withApplication(t);
  const before = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  const after = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  await assert.rejects(applications.checkpoint(before, 1), code('lease-lost'));
  await applications.checkpoint(after, 1);
});

test('of two workers that ask in the same commit one gets the lease', async (t) => {
  const { applications, source } = await withApplication(t);
  const results = await Promise.allSettled(
    ['a', 'b', 'c'].map((owner) => applications.acquire('uplink', source, owner, leaseMs, 0)),
  );
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected'],
  );
});

test('what a superseded worker emits with its checkpoint is undone with it', async (t) => {
  const { applications, source, clock, store } = await withApplication(t);
  await store.log.createStream(streamOptions({ name: 'alerts' }));
  const old = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  clock.advance(leaseMs);
  await applications.acquire('uplink', source, 'b', leaseMs, 0);
  const emit = store.writer.transact(async (transaction) => {
    await transaction.append('alerts', [{ partitionKey: 'k', data: Buffer.from('too late') }]);
    await store.applications.checkpointIn(transaction, old, 5);
  });
  await assert.rejects(emit, code('lease-lost'));
  assert.equal(store.log.stream('alerts').shards[0]!.nextSequence, 0);
});

test('a released lease is free at once and keeps its checkpoint', async (t) => {
  const { applications, source } = await withApplication(t);
  const first = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  await applications.checkpoint(first, 7);
  await applications.release(first);
  await applications.release(first);
  assert.equal((await applications.acquire('uplink', source, 'b', leaseMs, 0)).checkpoint, 7);
});

test('a checkpoint never goes back nor past the end', async (t) => {
  const { applications, source } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  await applications.checkpoint(lease, 5);
  await applications.checkpoint(lease, 5);
  const refused = code('invalid-argument');
  await assert.rejects(applications.checkpoint(lease, 4), refused);
  await assert.rejects(applications.checkpoint(lease, 11), refused);
  await assert.rejects(applications.checkpoint(lease, -1), refused);
  await assert.rejects(applications.checkpoint(lease, 5.5), refused);
  assert.equal((await applications.checkpoint(lease, 10)).checkpoint, 10);
});

test('a plan is saved once, survives a restart, and completes with its checkpoint', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  assert.equal(await applications.plan(lease), null);
  await applications.savePlan(lease, plan(2, 6, { key: 'a/b', parts: [1, 2] }));
  await assert.rejects(applications.savePlan(lease, plan(6, 7)), code('already-exists'));
  const reopened = (await reopen()).log.applications;
  const again = await reopened.acquire('uplink', source, 'b', leaseMs, 0);
  assert.deepEqual(await reopened.plan(again), plan(2, 6, { key: 'a/b', parts: [1, 2] }));
  const done = await reopened.completePlan(again);
  assert.equal(done.checkpoint, 6);
  assert.equal(await reopened.plan(again), null);
  await assert.rejects(reopened.completePlan(again), code('not-found'));
});

test('a plan that can not be is refused', async (t) => {
  const { applications, source } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 4);
  const refused = code('invalid-argument');
  await assert.rejects(applications.savePlan(lease, plan(3, 6)), refused);
  await assert.rejects(applications.savePlan(lease, plan(5, 5)), refused);
  await assert.rejects(applications.savePlan(lease, plan(5, 11)), refused);
  await assert.rejects(applications.savePlan(lease, plan(5, 6, 'x'.repeat(1_100_000))), refused);
});

test('after a restart every lease is free, and checkpoints are where they were', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  await applications.checkpoint(lease, 8);
  const listed = applications.list();
  const reopened = (await reopen()).log.applications;
  assert.deepEqual(reopened.list(), listed);
  const taken = await reopened.acquire('uplink', source, 'b', leaseMs, 0);
  assert.equal(taken.checkpoint, 8);
  await assert.rejects(reopened.checkpoint(lease, 9), code('lease-lost'));
});

test('an application is removed with all it knows; a deleted stream takes its leases along', async (t) => {
  const { applications, source, store } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 5);
  await applications.savePlan(lease, plan(5, 6));
  await applications.remove('uplink');
  assert.deepEqual(applications.list(), []);
  await assert.rejects(applications.checkpoint(lease, 6), code('lease-lost'));
  await applications.ensure({ name: 'uplink', required: false });
  const fresh = await applications.acquire('uplink', source, 'a', leaseMs, 1);
  assert.equal(fresh.checkpoint, 1);
  assert.equal(await applications.plan(fresh), null);
  await store.log.deleteStream('readings');
  assert.deepEqual(
    applications.list().map(({ leases }) => leases),
    [[]],
  );
  await assert.rejects(applications.checkpoint(fresh, 2), code('not-found'));
});

test('who does not exist is refused', async (t) => {
  const { applications, source } = await withApplication(t);
  await assert.rejects(applications.acquire('nobody', source, 'a', leaseMs, 0), code('not-found'));
  await assert.rejects(
    applications.acquire('uplink', { kind: 'shard', id: 99 }, 'a', leaseMs, 0),
    code('not-found'),
  );
  await assert.rejects(applications.remove('nobody'), code('not-found'));
  await assert.rejects(
    applications.ensure({ name: 'no spaces', required: false }),
    code('invalid-argument'),
  );
});

test('a camera is a source like a shard', async (t) => {
  const { applications } = await withApplication(t);
  const source: SourceKey = { kind: 'camera', id: 1 };
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 12);
  assert.equal((await applications.checkpoint(lease, 40)).checkpoint, 40);
});

test('a lease tells where it began, and forgetting it lets go of what it pinned', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 3);
  assert.equal(lease.start, 3);
  const moved = await applications.checkpoint(lease, 5);
  assert.equal(moved.start, 3, 'the start stays where it was');
  await applications.savePlan(moved, plan(5, 7));

  const again = (await reopen()).log.applications;
  const taken = await again.acquire('uplink', source, 'b', leaseMs, 0);
  assert.deepEqual([taken.start, taken.checkpoint], [3, 5]);
  await assert.rejects(again.forget(moved), code('lease-lost'), 'fenced');
  await again.forget(taken);
  assert.deepEqual(again.list().find(({ name }) => name === 'uplink')?.leases, []);
  await assert.rejects(again.checkpoint(taken, 9), code('lease-lost'));
  const anew = await again.acquire('uplink', source, 'b', leaseMs, 8);
  assert.deepEqual([anew.start, anew.checkpoint], [8, 8]);
  assert.equal(await again.plan(anew), null, 'the plan went with it');
});

test('a lease that outlives the process stands for its last duration after a restart', async (t) => {
  const { applications, source, clock, reopen } = await withApplication(t);
  const lease = await applications.acquire('uplink', source, 'a', leaseMs, 0, true);
  const renewed = await applications.renew(lease, 3 * leaseMs);

  const second = (await reopen()).log.applications;
  const take = (from: Applications): Promise<Lease> =>
    from.acquire('uplink', source, 'b', leaseMs, 0);
  await assert.rejects(take(second), code('lease-held'));
  clock.advance(3 * leaseMs - 1);
  assert.equal(second.heldForMs('uplink', source), 1);
  await second.renew(renewed, leaseMs);
  assert.equal(second.heldForMs('uplink', source), leaseMs, 'the holder came back in time');

  const third = (await reopen()).log.applications;
  clock.advance(leaseMs);
  assert.equal(third.heldForMs('uplink', source), 0);
  await take(third);
  await assert.rejects(third.renew(renewed, leaseMs), code('lease-lost'), 'it came too late');

  // Taken by a worker of the process itself, it ends with the process again.
  const fourth = (await reopen()).log.applications;
  assert.equal(fourth.heldForMs('uplink', source), 0);
});

test('a lease that was given back is free after a restart', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  await applications.release(await applications.acquire('uplink', source, 'a', leaseMs, 0, true));
  const again = (await reopen()).log.applications;
  assert.equal((await again.acquire('uplink', source, 'b', leaseMs, 0)).counter, 2);
});

test('where an application begins is said once, for all sources or none', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  const at = (position: number): Promise<void> =>
    applications.begin('uplink', [{ source, position }]);
  await assert.rejects(
    applications.begin('uplink', [
      { source, position: 4 },
      { source, position: 11 },
    ]),
    code('invalid-argument'),
    'past the end',
  );
  await at(4);
  await at(7);
  const again = (await reopen()).log.applications;
  assert.deepEqual(again.list()[0]?.leases, [
    { application: 'uplink', source, owner: '', counter: 0, start: 4, checkpoint: 4 },
  ]);
  const lease = await again.acquire('uplink', source, 'a', leaseMs, 0);
  assert.deepEqual([lease.start, lease.checkpoint, lease.counter], [4, 4, 1]);
  await again.begin('uplink', [{ source, position: 9 }]);
  assert.equal((await again.checkpoint(lease, 5)).checkpoint, 5, 'it is still held');
  await assert.rejects(again.begin('nobody', [{ source, position: 0 }]), code('not-found'));
});

test('an application begins anew: its lanes and plans are forgotten, and no old lease is good', async (t) => {
  const { applications, source, reopen } = await withApplication(t);
  await applications.ensure({ name: 'uplink:lane-2', required: true });
  const first = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  const second = await applications.acquire('uplink:lane-2', source, 'a', leaseMs, 6);
  await applications.savePlan(first, plan(0, 4));
  await applications.savePlan(second, plan(6, 8));
  const lanes = ['uplink', 'uplink:lane-2', 'uplink:lane-3'];
  const anew = (position: number): Promise<void> =>
    applications.beginAnew('uplink', lanes, [{ source, position }]);
  await assert.rejects(anew(2), code('lease-held'));
  await applications.release(first);
  await assert.rejects(anew(2), code('lease-held'), 'a lane is at work');
  assert.equal((await applications.plan(first))?.to, 4, 'all or nothing');
  await applications.release(second);
  await assert.rejects(anew(11), code('invalid-argument'));
  await assert.rejects(
    applications.beginAnew('uplink', lanes, [{ source: { kind: 'shard', id: 99 }, position: 0 }]),
    code('not-found'),
  );

  await anew(2);
  const leases = (all: Applications): readonly (readonly [string, number, number])[] =>
    all
      .list()
      .flatMap(({ leases: each }) =>
        each.map(({ application, start, checkpoint }) => [application, start, checkpoint] as const),
      );
  assert.deepEqual(leases(applications), [['uplink', 2, 2]]);
  assert.equal(await applications.plan(first), null);
  assert.equal(await applications.plan(second), null);
  const taken = await applications.acquire('uplink', source, 'a', leaseMs, 0);
  assert.equal(taken.checkpoint, 2);
  await assert.rejects(applications.checkpoint(first, 5), code('lease-lost'), 'the same owner too');
  await applications.savePlan(taken, plan(2, 3));
  await applications.completePlan(taken);
  await applications.release(taken);
  await anew(7);
  await anew(1);
  assert.deepEqual(leases(applications), [['uplink', 1, 1]], 'forwards and back');
  const again = await reopen();
  assert.deepEqual(leases(again.log.applications), [['uplink', 1, 1]]);
});
