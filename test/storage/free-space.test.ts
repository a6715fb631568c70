import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Log } from '../../storage/model.ts';
import { openTestStore, streamOptions } from './support/open.ts';

const floorBytes = 100_000_000;

async function append(log: Log, stream: string): Promise<unknown> {
  return log.append(stream, [{ partitionKey: 'k', data: Buffer.alloc(1000) }]);
}

test('below the floor the log drops what nobody needs, then refuses, and takes again', async (t) => {
  let free = floorBytes * 2;
  const { store, logger } = await openTestStore(t, {
    minFreeBytes: floorBytes,
    freeBytes: () => Promise.resolve(free),
    video: { minFreeBytes: 0 },
  });
  const { log } = store;
  await log.createStream(streamOptions({ name: 'free' }));
  const needed = await log.createStream(streamOptions({ name: 'needed' }));
  const dropping = await log.createStream(
    streamOptions({ name: 'dropping', whenFull: 'drop-oldest', maxBytes: 1e9 }),
  );
  await log.applications.ensure({ name: 'uplink', required: true });
  for (const { shards } of [needed, dropping]) {
    const source = { kind: 'shard', id: shards[0]!.id } as const;
    await log.applications.acquire('uplink', source, 'me', 1e9, 0);
  }
  for (const stream of ['free', 'needed', 'dropping']) {
    for (let index = 0; index < 20; index += 1) await append(log, stream);
  }
  await store.retention.run();
  assert.ok(log.stream('free').storedBytes > 0, 'there is room');

  free = floorBytes - 10_000;
  await store.retention.run();
  assert.ok(log.stream('free').storedBytes < 20_000, 'what nobody needs goes first');
  assert.equal(log.shard(dropping.shards[0]!.id).trimSequence, 0, 'and no more than is missing');
  await assert.rejects(append(log, 'free'), (error: Error) => {
    assert.match(error.message, /less free space than log\.minFreeBytes/);
    return 'code' in error && error.code === 'disk-full';
  });

  free = floorBytes / 2;
  await store.retention.run();
  assert.equal(log.stream('free').storedBytes, 0);
  assert.equal(log.stream('dropping').storedBytes, 0, 'its policy lets it go');
  assert.equal(log.shard(needed.shards[0]!.id).trimSequence, 0, 'what is needed stays');
  const [loss] = store.losses.report();
  assert.deepEqual([loss?.kind, loss?.subject, loss?.count], ['records-dropped', 'dropping', 20]);

  free = floorBytes + 1;
  await store.retention.run();
  await assert.rejects(append(log, 'free'), { code: 'disk-full' }, 'not at the very edge');
  free = floorBytes * 1.1;
  await store.retention.run();
  await append(log, 'free');
  assert.equal(logger.lines.filter(({ message }) => message.includes('minFreeBytes')).length, 1);
});

test('what was lost is remembered over restarts', async (t) => {
  const opened = await openTestStore(t);
  const { log, losses } = opened.store;
  const { shards } = await log.createStream(
    streamOptions({ whenFull: 'drop-oldest', maxBytes: 10_000 }),
  );
  await log.applications.ensure({ name: 'uplink', required: true });
  await log.applications.acquire('uplink', { kind: 'shard', id: shards[0]!.id }, 'me', 1e9, 0);
  for (let index = 0; index < 30; index += 1) await append(log, 'readings');
  const [before] = losses.report();
  assert.equal(before?.count, log.shard(shards[0]!.id).trimSequence);
  losses.add('announcements-lost', 'gate');
  losses.add('announcements-lost', 'gate', { count: 2 });
  const after = (await opened.reopen()).losses.report();
  assert.deepEqual(
    after.find(({ kind }) => kind === 'records-dropped'),
    before,
  );
  assert.equal(after.find(({ kind }) => kind === 'announcements-lost')?.count, 3);
});
