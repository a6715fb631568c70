import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { crc32, deflateRawSync } from 'node:zlib';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import {
  batchHeaderBytes,
  decodeBatch,
  encodeBatch,
  isCompressed,
  plainBytesMax,
  verifyBatch,
} from '../../../storage/log/batch.ts';
import { compressBatch, plainBatch } from '../../../storage/log/compressed-batch.ts';
import type { LogRecord, StreamOptions } from '../../../storage/model.ts';
import type { StoreOptions } from '../../../storage/store.ts';
import { openTestStore, streamOptions, type TestStore } from '../support/open.ts';

const start = Date.UTC(2026, 0, 1);

function batchOf(count: number): Buffer {
  const records = Array.from({ length: count }, (_, index) => ({
    partitionKey: 'pump-1',
    keyBytes: 6,
    data: Buffer.from(JSON.stringify({ bar: index % 7, name: 'the same every time' })),
    arrivalMs: start + index,
  }));
  return encodeBatch(1_000, records);
}

/** A compressed batch with a header that says what it likes, under a right checksum. */
function forged(body: Buffer, plainBytes: number, count = 3): Buffer {
  const blob = Buffer.concat([batchOf(3).subarray(0, batchHeaderBytes), body]);
  blob.writeUInt8(1, 5);
  blob.writeUInt32LE(count, 8);
  blob.writeUInt32LE(body.length, 12);
  blob.writeUInt32LE(plainBytes, 16);
  blob.writeUInt32LE(crc32(blob.subarray(batchHeaderBytes), crc32(blob.subarray(0, 52))), 52);
  return blob;
}

const corrupt = (error: unknown): boolean =>
  error instanceof StorageError && error.code === 'corrupt';

test('a compressed batch is much smaller and comes back to the byte', async () => {
  const plain = batchOf(1000);
  const compressed = await compressBatch(plain);
  assert.ok(compressed.length < plain.length / 5, `${compressed.length} of ${plain.length} bytes`);
  assert.equal(isCompressed(compressed), true);
  assert.equal(verifyBatch(compressed).count, 1000);
  assert.deepEqual(await plainBatch(compressed), plain);
  assert.equal(await plainBatch(plain), plain, 'a plain one is left as it is');
});

test('what does not become smaller stays plain', async () => {
  const data = randomBytes(50_000);
  const plain = encodeBatch(0, [{ partitionKey: 'k', keyBytes: 1, data, arrivalMs: start }]);
  assert.equal(await compressBatch(plain), plain);
});

test('a compressed batch with any one byte changed, or cut, is refused as corrupt', async () => {
  const sound = await compressBatch(batchOf(20));
  for (let at = 0; at < sound.length; at += 1) {
    const blob = Buffer.from(sound);
    blob[at]! ^= 0x5a;
    await assert.rejects(async () => decodeBatch(await plainBatch(blob)), corrupt, `byte ${at}`);
    const cut = sound.subarray(0, at);
    await assert.rejects(async () => decodeBatch(await plainBatch(cut)), corrupt, `cut at ${at}`);
  }
});

test('a body that decompresses to more than the batch says is given up at once', async () => {
  const bomb = deflateRawSync(Buffer.alloc(300 * 2 ** 20));
  const before = process.memoryUsage().arrayBuffers;
  await assert.rejects(plainBatch(forged(bomb, 1000)), corrupt);
  await assert.rejects(plainBatch(forged(bomb, plainBytesMax)), corrupt);
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 64 * 2 ** 20, `${grown} bytes were taken`);
});

test('lies about the length of a compressed body are refused', async () => {
  const body = deflateRawSync(batchOf(3).subarray(batchHeaderBytes));
  const plainBytes = batchOf(3).length - batchHeaderBytes;
  assert.equal(decodeBatch(await plainBatch(forged(body, plainBytes))).length, 3);
  for (const lie of [0, 1, plainBytes - 1, plainBytes + 1, plainBytesMax + 1, 0xffffffff]) {
    await assert.rejects(plainBatch(forged(body, lie)), corrupt, `${lie} bytes`);
  }
  await assert.rejects(plainBatch(forged(body, plainBytes, 0xffffffff)), corrupt, 'many records');
  await assert.rejects(plainBatch(forged(Buffer.from('rubbish'), plainBytes)), corrupt);
  await assert.rejects(plainBatch(forged(body.subarray(0, 10), plainBytes)), corrupt);
  await assert.rejects(plainBatch(forged(Buffer.alloc(0), plainBytes)), corrupt);
});

interface Opened extends TestStore {
  readonly shardId: number;
}

async function withStream(
  context: TestContext,
  change: Partial<StreamOptions> = {},
  store: Partial<StoreOptions> = {},
): Promise<Opened> {
  const opened = await openTestStore(context, store);
  const options = streamOptions({ compression: 'deflate', ...change });
  const { shards } = await opened.store.log.createStream(options);
  return Object.assign(opened, { shardId: shards[0]!.id });
}

async function append({ store, clock }: Opened, batches: number, records: number): Promise<void> {
  for (let batch = 0; batch < batches; batch += 1) {
    const inputs = Array.from({ length: records }, (_, index) => {
      const data = Buffer.from(JSON.stringify({ batch, index, state: 'running', alarm: null }));
      return { partitionKey: `pump-${index % 5}`, data };
    });
    await store.log.append('readings', inputs);
    clock.advance(100);
  }
}

async function everything({ store, shardId }: Opened): Promise<readonly LogRecord[]> {
  const all = { shardId, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
  return (await store.log.read(all)).records;
}

async function assertSound({ store, folder }: Opened): Promise<void> {
  const sum = 'SELECT sum(length(body)) AS bytes FROM batch';
  const row = await store.queries.get<{ bytes: number }>(sum);
  assert.equal(store.log.stream('readings').storedBytes, row!.bytes);
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

test('a stream that asks for it takes up a fraction, and reads as before', async (t) => {
  const opened = await withStream(t);
  await append(opened, 120, 20);
  // Large enough to be no part of a run.
  await append(opened, 3, 3000);
  await append(opened, 1, 1);
  const before = await everything(opened);
  const { storedBytes } = opened.store.log.stream('readings');
  await opened.store.compaction.run();
  const after = opened.store.log.stream('readings').storedBytes;
  assert.ok(after < storedBytes / 4, `${after} of ${storedBytes} bytes`);
  for (const reopened of [false, true]) {
    if (reopened) await opened.reopen();
    const { log } = opened.store;
    assert.deepEqual(await everything(opened), before);
    const { arrivalMs } = before[1234]!;
    const first = before.findIndex((record) => record.arrivalMs >= arrivalMs);
    assert.equal(await log.sequenceAt(opened.shardId, arrivalMs), first);
    assert.equal((await log.backlog(opened.shardId, 1234)).records, before.length - 1234);
    assert.equal(log.stream('readings').storedBytes, after);
    assert.equal(log.stream('readings').compression, 'deflate');
  }
  await assertSound(opened);
});

test('what is saved makes room in the budget of the stream', async (t) => {
  const maxBytes = 300_000;
  const kept = async (compression: 'none' | 'deflate'): Promise<number> => {
    const opened = await withStream(t, { maxBytes, whenFull: 'drop-oldest', compression });
    for (let round = 0; round < 40; round += 1) {
      await append(opened, 10, 30);
      await opened.store.compaction.run();
      assert.ok(opened.store.log.stream('readings').storedBytes <= maxBytes, 'the budget holds');
    }
    await assertSound(opened);
    return (await everything(opened)).length;
  };
  const [plain, compressed] = [await kept('none'), await kept('deflate')];
  assert.ok(compressed > plain * 2, `${compressed} records are kept, ${plain} without`);
});

test('changing the setting leaves what is stored as it is', async (t) => {
  const opened = await withStream(t, { compression: 'none' });
  const { store } = opened;
  await append(opened, 120, 20);
  await store.compaction.run();
  const bodies = 'SELECT body FROM batch ORDER BY first_sequence';
  const [first] = await store.queries.all<{ body: Buffer }>(bodies);
  assert.equal(isCompressed(first!.body), false);
  const options = streamOptions();
  await store.log.ensureStream({ ...options, compression: 'deflate' });
  await append(opened, 200, 20);
  await store.compaction.run();
  const after = await store.queries.all<{ body: Buffer }>(bodies);
  assert.deepEqual(after[0]!.body, first!.body);
  assert.equal(isCompressed(after[1]!.body), true);
  await store.log.ensureStream({ ...options, compression: 'none' });
  await append(opened, 400, 20);
  await store.compaction.run();
  const last = await store.queries.all<{ body: Buffer }>(bodies);
  assert.equal(isCompressed(last[1]!.body), true);
  assert.ok(
    last.slice(3).every(({ body }) => !isCompressed(body)),
    'later ones are plain again',
  );
  assert.equal((await everything(opened)).length, 720 * 20);
  await assertSound(opened);
});

test('a compressed batch that is damaged costs its own records and nothing else', async (t) => {
  const opened = await withStream(t, {}, { readCacheBytes: 0 });
  await append(opened, 400, 20);
  await opened.store.compaction.run();
  const before = await everything(opened);
  await opened.store.writer.transact(async (transaction) => {
    const row = await transaction.get<{ id: number; body: Buffer }>(
      'SELECT id, body FROM batch ORDER BY first_sequence LIMIT 1',
    );
    const body = forged(deflateRawSync(Buffer.alloc(50 * 2 ** 20)), 5000);
    await transaction.run('UPDATE batch SET body = ? WHERE id = ?', body, row!.id);
  });
  const options = { shardId: opened.shardId, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
  const { records, skipped } = await opened.store.log.read(options);
  assert.ok(skipped.corrupt > 0 && skipped.corrupt < before.length / 2, 'one batch is lost');
  assert.deepEqual(records, before.slice(skipped.corrupt));
});
