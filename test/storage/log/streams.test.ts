import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { hourMs, openTestStore, streamOptions } from '../support/open.ts';

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

test('updateStream changes what is given and nothing else, also when called twice at once', async (t) => {
  const { store, reopen } = await openTestStore(t);
  const before = await store.log.createStream(streamOptions({ shardCount: 3, maxBytes: 1e6 }));
  const [, after] = await Promise.all([
    store.log.updateStream('readings', { retentionMs: 48 * hourMs, maxBytes: null }),
    store.log.updateStream('readings', { mode: 'provisioned', compression: 'deflate' }),
  ]);
  const { attributes, shards, ...rest } = before;
  const changed = { retentionMs: 48 * hourMs, maxBytes: null, mode: 'provisioned' };
  assert.deepEqual(after, { ...rest, ...changed, compression: 'deflate', attributes, shards });
  assert.deepEqual(await store.log.updateStream('readings', {}), after);
  assert.deepEqual((await reopen()).log.stream('readings'), after);
});

test('updateStream refuses what createStream refuses', async (t) => {
  const { store } = await openTestStore(t);
  const before = await store.log.createStream(streamOptions());
  const { log } = store;
  await assert.rejects(log.updateStream('readings', { retentionMs: 1 }), code('invalid-argument'));
  await assert.rejects(log.updateStream('readings', { maxBytes: 0.5 }), code('invalid-argument'));
  await assert.rejects(log.updateStream('nowhere', { maxBytes: 5 }), code('not-found'));
  assert.deepEqual(log.stream('readings'), before);
});

test('a smaller budget is kept to at once', async (t) => {
  const { store } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  for (let index = 0; index < 20; index += 1) {
    await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(1000) }]);
  }
  await store.log.updateStream('readings', { maxBytes: 5000 });
  await store.retention.run();
  assert.ok(store.log.stream('readings').storedBytes <= 5000);
});

test('attributes last, are copies, and go with their stream', async (t) => {
  const { store, reopen, folder } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  const tags: Record<string, unknown> = { team: 'a', 'häuser/🏠': [1, null, { deep: true }] };
  await store.log.setAttribute('readings', 'tags', tags);
  await store.log.setAttribute('readings', '__proto__', 'harmless');
  await store.log.setAttribute('readings', 'passing', 1);
  tags['team'] = 'changed afterwards';
  await store.log.setAttribute('readings', 'passing', undefined);
  await store.log.setAttribute('readings', 'never', undefined);
  const expected = Object.fromEntries<unknown>([
    ['tags', { team: 'a', 'häuser/🏠': [1, null, { deep: true }] }],
    ['__proto__', 'harmless'],
  ]);
  assert.deepEqual(store.log.stream('readings').attributes, expected);
  const { log } = await reopen();
  assert.deepEqual(log.stream('readings').attributes, expected);
  await log.deleteStream('readings');
  await log.createStream(streamOptions());
  assert.deepEqual(log.stream('readings').attributes, {});
  assert.deepEqual((await reopen()).log.stream('readings').attributes, {});
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
});

test('what is no attribute is refused, and nothing is lost', async (t) => {
  const { store } = await openTestStore(t);
  const { log } = store;
  await log.createStream(streamOptions());
  await log.setAttribute('readings', 'tags', 1);
  const set = (key: string, value: unknown): Promise<void> =>
    log.setAttribute('readings', key, value);
  for (const key of ['', 'a b', 'ä', 'x'.repeat(257), '\0']) {
    await assert.rejects(set(key, 1), code('invalid-argument'));
  }
  for (const value of [() => 1, Symbol('x'), 1n, 'x'.repeat(256 * 1024)]) {
    await assert.rejects(set('tags', value), code('invalid-argument'));
  }
  await assert.rejects(log.setAttribute('nowhere', 'tags', 1), code('not-found'));
  assert.deepEqual(log.stream('readings').attributes, { tags: 1 });
});

test('a stream has at most a thousand attributes', async (t) => {
  const { store } = await openTestStore(t);
  const { log } = store;
  await log.createStream(streamOptions());
  const all = Array.from({ length: 1000 }, (_, index) => `key-${index}`);
  await Promise.all(all.map((key) => log.setAttribute('readings', key, key)));
  await assert.rejects(log.setAttribute('readings', 'more', 1), code('invalid-argument'));
  await log.setAttribute('readings', 'key-7', 'changed');
  assert.equal(log.stream('readings').attributes['key-7'], 'changed');
});
