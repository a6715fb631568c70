import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../gateway/config/load.ts';
import type { Config } from '../../gateway/config/schema.ts';
import { ensureStreams, keptShards } from '../../gateway/configured-streams.ts';
import { localMasterKey } from '../../storage/keys.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from '../storage/support/open.ts';
import type { Scope } from '../support/scope.ts';

function openKeyedStore(scope: Scope): Promise<TestStore> {
  const current = localMasterKey(Buffer.alloc(32, 7));
  const masterKeys = { masterKeys: () => Promise.resolve({ current, previous: [] }) };
  return openTestStore(scope, masterKeys);
}

function configured(stream: string): Config {
  const text = `streams: { readings: ${stream} }`;
  const result = parseConfig({ name: 'test', text, folder: '/nonexistent', env: {} });
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

test('a change over the API outlives starts, until the configuration says something else', async (t) => {
  const opened = await openKeyedStore(t);
  const first = configured('{ mode: provisioned, retentionHours: 48, maxBytes: 10000000 }');
  await ensureStreams(opened.store.log, first, null);
  await opened.store.log.updateStream('readings', {
    ...{ retentionMs: 72 * hourMs, mode: 'on-demand', maxBytes: 20_000_000, encryption: 'none' },
  });

  const restarted = (await opened.reopen()).log;
  await ensureStreams(restarted, first, null);
  const kept = restarted.stream('readings');
  assert.deepEqual(
    [kept.retentionMs, kept.mode, kept.maxBytes, kept.encryption],
    [72 * hourMs, 'on-demand', 20_000_000, 'none'],
  );

  // One line is changed: it counts, and the others still do not.
  const second = configured('{ mode: provisioned, retentionHours: 24, maxBytes: 10000000 }');
  await ensureStreams(restarted, second, first);
  const changed = restarted.stream('readings');
  assert.deepEqual(
    [changed.retentionMs, changed.mode, changed.maxBytes],
    [24 * hourMs, 'on-demand', 20_000_000],
  );

  // Back to what it said at first is a change too.
  await ensureStreams((await opened.reopen()).log, first, null);
  assert.equal(opened.store.log.stream('readings').retentionMs, 48 * hourMs);
});

test('a stream that was made over the API is as the configuration says once it is named there', async (t) => {
  const { store } = await openKeyedStore(t);
  await store.log.createStream(streamOptions({ retentionMs: 72 * hourMs, maxBytes: null }));
  await ensureStreams(store.log, configured('{ retentionHours: 48, maxBytes: 10000000 }'), null);
  const { retentionMs, maxBytes } = store.log.stream('readings');
  assert.deepEqual([retentionMs, maxBytes], [48 * hourMs, 10_000_000]);
});

test('shards that were split over the API need no remark, a number without effect does', async (t) => {
  const { store } = await openKeyedStore(t);
  const two = configured('{ shards: 2 }');
  await ensureStreams(store.log, two, null);
  assert.deepEqual(keptShards(store.log, two), []);
  await store.log.resizeStream('readings', 4);
  assert.deepEqual(keptShards(store.log, two), [], 'as it was made');
  assert.deepEqual(keptShards(store.log, configured('{ shards: 4 }')), [], 'as it is');
  const [remark, ...more] = keptShards(store.log, configured('{ shards: 3 }'));
  assert.match(remark ?? '', /^streams\.readings\.shards: 3 has no effect/);
  assert.deepEqual(more, []);
});
