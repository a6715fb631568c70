import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Database } from '../../storage/sqlite.ts';
import { openTestStore, streamOptions } from './support/open.ts';

const mebibyte = 1024 * 1024;

test('under a flood, with readers at work, the write-ahead log stays within its limit', async (t) => {
  const { store, folder } = await openTestStore(t, { maxWalBytes: 4 * mebibyte });
  const { log } = store;
  const { shards } = await log.createStream(streamOptions());
  const shardId = shards[0]!.id;
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(1) }]);
  let walBytes = 0;
  let appending = true;
  const read = async (): Promise<void> => {
    for (let from = 0; appending;) {
      const result = await log.read({ shardId, fromSequence: from, maxRecords: 50, maxBytes: 1e6 });
      from = result.recordsBehind === 0 ? 0 : result.nextSequence;
    }
  };
  const append = async (): Promise<void> => {
    for (let count = 0; count < 100; count += 1) {
      await log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(100_000, count) }]);
      walBytes = Math.max(walBytes, (await stat(join(folder, 'headgate.db-wal'))).size);
    }
  };
  const readers = Promise.all([read(), read()]);
  await Promise.all([append(), append(), append(), append()]);
  appending = false;
  await readers;
  // 40 MB went through it; a group commit may begin just below the limit.
  assert.ok(walBytes < 8 * mebibyte, `${walBytes} bytes of write-ahead log`);
});

test('a long read makes the log longer, and hardly slower', async (t) => {
  const { store, folder } = await openTestStore(t, { maxWalBytes: mebibyte });
  await store.log.createStream(streamOptions());
  const append = (): Promise<unknown> =>
    store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(100_000) }]);
  await append();
  const reader = await Database.open(join(folder, 'headgate.db'), { readOnly: true });
  t.after(() => reader.close());
  await reader.exec('BEGIN; SELECT count(*) FROM batch;');
  for (let count = 0; count < 40; count += 1) await append();
  const { size } = await stat(join(folder, 'headgate.db-wal'));
  assert.ok(size > 3 * mebibyte, `${size} bytes: nothing was refused`);
  await reader.exec('COMMIT');
  for (let count = 0; count < 40; count += 1) await append();
  const { size: after } = await stat(join(folder, 'headgate.db-wal'));
  assert.ok(after < size + 2 * mebibyte, `${after} bytes: it begins anew once the read is over`);
});

test('closing the store leaves everything in one file', async (t) => {
  const { store, folder } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(100_000) }]);
  await store.close();
  await assert.rejects(stat(join(folder, 'headgate.db-wal')), { code: 'ENOENT' });
  assert.ok((await stat(join(folder, 'headgate.db'))).size > 100_000);
});
