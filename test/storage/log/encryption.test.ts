import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { crc32 } from 'node:zlib';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { localMasterKey, type MasterKey } from '../../../storage/keys.ts';
import { batchHeaderBytes, isEncrypted, verifyBatch } from '../../../storage/log/batch.ts';
import type { LogRecord, StreamOptions } from '../../../storage/model.ts';
import { repairStore } from '../../../storage/repair.ts';
import { Database } from '../../../storage/sqlite.ts';
import { openStore, type Store, type StoreOptions } from '../../../storage/store.ts';
import { filesWith } from '../../support/plaintext.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from '../support/open.ts';

const dayMs = 24 * hourMs;
const key = localMasterKey(Buffer.alloc(32, 1));
const otherKey = localMasterKey(Buffer.alloc(32, 2));
/** Long enough that it is never found by chance. */
const secret = 'the pump leaks at valve seven';

function underKey(
  current: MasterKey = key,
  previous: readonly MasterKey[] = [],
): Pick<StoreOptions, 'masterKeys'> {
  return { masterKeys: () => Promise.resolve({ current, previous }) };
}

function encrypted(change: Partial<StreamOptions> = {}): StreamOptions {
  return streamOptions({ encryption: 'aes-256-gcm', ...change });
}

async function append(
  store: Store,
  count: number,
  { stream = 'readings', each = 1, from = 0 } = {},
): Promise<void> {
  for (let index = from; index < from + count; index += 1) {
    const records = Array.from({ length: each }, (_, of) => ({
      partitionKey: `partition key of ${secret} ${index}`,
      data: Buffer.from(`${secret}: ${index}.${of} ${'and so on '.repeat(20)}`),
    }));
    await store.log.append(stream, records);
  }
}

async function readAll(store: Store, stream = 'readings'): Promise<readonly LogRecord[]> {
  const all: LogRecord[] = [];
  for (const { id, trimSequence, nextSequence } of store.log.stream(stream).shards) {
    for (let next = trimSequence; next < nextSequence;) {
      const read = await store.log.read({
        ...{ shardId: id, fromSequence: next, maxRecords: 1000, maxBytes: 1e7 },
      });
      assert.equal(read.skipped.corrupt, 0);
      all.push(...read.records);
      next = read.nextSequence;
    }
  }
  return all;
}

function textsOf(records: readonly LogRecord[]): readonly string[] {
  return records.map(({ partitionKey, data }) => `${partitionKey}: ${data.toString()}`);
}

interface Row {
  readonly shard_id: number;
  readonly first_sequence: number;
  readonly body: Buffer;
}

function rowsOf(store: Store): Promise<readonly Row[]> {
  return store.queries.all<Row>('SELECT * FROM batch ORDER BY shard_id, first_sequence');
}

async function keyIdsOf(store: Store): Promise<readonly (number | null)[]> {
  const ids = (await rowsOf(store)).map(({ body }) => verifyBatch(body).keyId);
  return [...new Set(ids)];
}

async function assertSound(folder: string, masterKey: MasterKey | null = key): Promise<void> {
  // Nobody needs a key to find out whether anything is damaged.
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
  const withKey = { folder, masterKey: () => Promise.resolve(masterKey) };
  for await (const finding of checkStore(withKey)) assert.fail(JSON.stringify(finding));
}

function storageError(code: StorageErrorCode, ...parts: readonly string[]) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.code, code, error.message);
    for (const part of parts) assert.ok(error.message.includes(part), error.message);
    return true;
  };
}

/** Runs what is due in the background until nothing changes any more. */
async function settle({ store }: TestStore): Promise<void> {
  await store.compaction.run();
  await store.compaction.run();
}

async function change(folder: string, ...statements: readonly string[]): Promise<void> {
  const database = await Database.open(join(folder, 'headgate.db'));
  for (const statement of statements) await database.exec(statement);
  await database.close();
}

async function isRefused(t: TestContext, open: () => Promise<Store>): Promise<StorageError> {
  try {
    const store = await open();
    t.after(() => store.close());
  } catch (error) {
    assert.ok(error instanceof StorageError, String(error));
    return error;
  }
  return assert.fail('it was opened');
}

test('nothing of an encrypted stream is on the disk in the open, and everything comes back', async (t) => {
  const opened = await openTestStore(t, underKey());
  const { folder, clock } = opened;
  await opened.store.log.createStream(encrypted({ shardCount: 3 }));
  await append(opened.store, 200, { each: 3 });
  const before = textsOf(await readAll(opened.store));
  assert.equal(before.length, 600);
  assert.deepEqual(await filesWith(folder, secret), []);
  assert.ok((await rowsOf(opened.store)).every(({ body }) => isEncrypted(body)));
  await assertSound(folder);

  clock.advance(2 * hourMs);
  await settle(opened);
  assert.ok((await rowsOf(opened.store)).length < 100, 'batches were joined');
  assert.ok((await rowsOf(opened.store)).every(({ body }) => isEncrypted(body)));
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  assert.deepEqual(await filesWith(folder, secret), []);

  await opened.reopen();
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  assert.deepEqual(await filesWith(folder, secret), []);
  await assertSound(folder);
});

test('a compressed stream is compressed before it is encrypted', async (t) => {
  const opened = await openTestStore(t, underKey());
  await opened.store.log.createStream(encrypted({ compression: 'deflate' }));
  await append(opened.store, 300);
  const before = textsOf(await readAll(opened.store));
  const sizes = async (): Promise<number> =>
    (await rowsOf(opened.store)).reduce((sum, { body }) => sum + body.length, 0);
  const appended = await sizes();
  opened.clock.advance(2 * hourMs);
  await settle(opened);
  assert.ok((await sizes()) < appended / 3, `${await sizes()} of ${appended} bytes`);
  const [row] = await rowsOf(opened.store);
  assert.equal(verifyBatch(row!.body).compressed && isEncrypted(row!.body), true);
  await opened.reopen();
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  await assertSound(opened.folder);
});

test('what a stream held before its encryption began is sealed too, and no trace of it is left', async (t) => {
  const opened = await openTestStore(t, underKey());
  const { folder } = opened;
  await opened.store.log.createStream(streamOptions({ shardCount: 2, maxBytes: 10_000_000 }));
  // Small batches, which lie in the pages of the table, and large ones, which have their own.
  await append(opened.store, 500);
  await append(opened.store, 40, { each: 300, from: 1000 });
  const before = textsOf(await readAll(opened.store));
  assert.notDeepEqual(await filesWith(folder, secret), []);

  // Appends that are under way meanwhile are sealed, or marked to be.
  const appends = append(opened.store, 50, { from: 5000 });
  await opened.store.log.updateStream('readings', { encryption: 'aes-256-gcm' });
  await appends;
  const all = textsOf(await readAll(opened.store));
  assert.equal(all.length, before.length + 50);
  await settle(opened);
  assert.ok((await rowsOf(opened.store)).every(({ body }) => isEncrypted(body)));
  assert.deepEqual(await filesWith(folder, secret), []);
  assert.deepEqual(textsOf(await readAll(opened.store)), all);
  await assertSound(folder);
  const stored = (await rowsOf(opened.store)).reduce((sum, { body }) => sum + body.length, 0);
  assert.equal(opened.store.log.stream('readings').storedBytes, stored, 'the accounts add up');

  await opened.reopen();
  assert.equal(opened.store.log.stream('readings').storedBytes, stored);
  assert.deepEqual(textsOf(await readAll(opened.store)), all);
  assert.deepEqual(await filesWith(folder, secret), []);
  // Retention counts rightly what became larger.
  opened.clock.advance(25 * hourMs);
  await opened.store.clockGuard.confirm();
  await opened.store.retention.run();
  assert.equal(opened.store.log.stream('readings').storedBytes, 0);
  await assertSound(folder);
});

test('batches that retention deletes before their turn leave no trace either', async (t) => {
  const opened = await openTestStore(t, underKey());
  await opened.store.log.createStream(streamOptions());
  await append(opened.store, 20, { each: 200 });
  await opened.store.log.updateStream('readings', { encryption: 'aes-256-gcm' });
  opened.clock.advance(25 * hourMs);
  await opened.store.clockGuard.confirm();
  await opened.store.retention.run();
  assert.equal(opened.store.log.stream('readings').storedBytes, 0);
  await settle(opened);
  assert.deepEqual(await filesWith(opened.folder, secret), []);
});

test('where encryption ends, what is sealed stays so, and what comes is in the open', async (t) => {
  const opened = await openTestStore(t, underKey());
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 30);
  await opened.store.log.updateStream('readings', { encryption: 'none' });
  const open = 'in the open from now on';
  for (let index = 0; index < 30; index += 1) {
    await opened.store.log.append('readings', [{ partitionKey: 'a', data: Buffer.from(open) }]);
  }
  const all = textsOf(await readAll(opened.store));
  assert.deepEqual(await filesWith(opened.folder, secret), []);
  assert.notDeepEqual(await filesWith(opened.folder, open), []);
  opened.clock.advance(2 * hourMs);
  await settle(opened);
  assert.deepEqual(await filesWith(opened.folder, secret), [], 'also when batches are joined');
  await opened.reopen();
  assert.deepEqual(textsOf(await readAll(opened.store)), all);

  // And when it begins again, that is sealed as well.
  await opened.store.log.append('readings', [{ partitionKey: 'a', data: Buffer.from(open) }]);
  await opened.store.log.updateStream('readings', { encryption: 'aes-256-gcm' });
  await settle(opened);
  assert.deepEqual(await filesWith(opened.folder, open), []);
  assert.deepEqual(textsOf(await readAll(opened.store)), [...all, `a: ${open}`]);
  await assertSound(opened.folder);
});

test('a data key gives way to a new one with time, and what it sealed is sealed anew', async (t) => {
  const opened = await openTestStore(t, { ...underKey(), dataKeyAgeMaxMs: 30 * dayMs });
  await opened.store.log.createStream(encrypted({ retentionMs: 365 * dayMs, shardCount: 2 }));
  await append(opened.store, 100);
  const before = textsOf(await readAll(opened.store));
  const [first] = await keyIdsOf(opened.store);
  opened.clock.advance(29 * dayMs);
  await settle(opened);
  assert.deepEqual(await keyIdsOf(opened.store), [first]);
  opened.clock.advance(2 * dayMs);
  await settle(opened);
  const second = await keyIdsOf(opened.store);
  assert.equal(second.length, 1);
  assert.notEqual(second[0], first);
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  // Over a restart too.
  opened.clock.advance(31 * dayMs);
  await opened.reopen();
  await settle(opened);
  assert.notDeepEqual(await keyIdsOf(opened.store), second);
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  await assertSound(opened.folder);
});

test('a wrong master key is told by name, changes nothing, and the right one opens all again', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 20);
  const before = textsOf(await readAll(opened.store));
  await opened.store.close();
  const hashed = async (): Promise<string> =>
    createHash('sha256')
      .update(await readFile(join(folder, 'headgate.db')))
      .digest('hex');
  const hash = await hashed();
  const { clock, logger, metrics } = opened;
  const parts = { folder, clock, logger, metrics, reserveBytes: 0 };
  const refused = await isRefused(t, () => openStore({ ...parts, ...underKey(otherKey) }));
  storageError('wrong-key', key.id, otherKey.id)(refused);
  assert.equal(await hashed(), hash, 'nothing was changed');

  const findings = [];
  const masterKey = (): Promise<MasterKey> => Promise.resolve(otherKey);
  for await (const finding of checkStore({ folder, masterKey })) findings.push(finding);
  assert.deepEqual(
    findings.map(({ code, where }) => [code, where]),
    [['key-trouble', `master key ${key.id}`]],
  );
  assert.match(findings[0]!.what, new RegExp(otherKey.id));
  assert.match(findings[0]!.advice, /nothing is lost/);

  // Without any key at all what is not encrypted still works.
  const keyless = await openStore(parts);
  t.after(() => keyless.close());
  await keyless.log.createStream(streamOptions({ name: 'open' }));
  await keyless.log.append('open', [{ partitionKey: 'a', data: Buffer.from('1') }]);
  await assert.rejects(readAll(keyless), storageError('key-unavailable'));
  await assert.rejects(append(keyless, 1), storageError('key-unavailable', 'stream readings'));
  await assert.rejects(
    keyless.log.createStream(encrypted({ name: 'another' })),
    storageError('key-unavailable'),
  );
  await keyless.close();

  await opened.reopen();
  assert.deepEqual(textsOf(await readAll(opened.store)), before);
  await assertSound(folder);
});

test('under a new master key everything opens, and the old one is needed no more', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await opened.store.log.createStream(encrypted({ name: 'others' }));
  await append(opened.store, 20);
  const before = textsOf(await readAll(opened.store));
  await opened.store.close();

  const changed = await openTestStore(t, { ...underKey(otherKey, [key]), folder });
  assert.deepEqual(textsOf(await readAll(changed.store)), before);
  await append(changed.store, 1);
  await changed.store.close();

  const after = await openTestStore(t, { ...underKey(otherKey), folder });
  assert.equal((await readAll(after.store)).length, 21);
  await append(after.store, 1, { stream: 'others' });
  await assertSound(folder, otherKey);
});

test('a master key that can not be asked holds up its streams alone, until it answers', async (t) => {
  const folder = await temporaryFolder(t);
  let answers = true;
  const away = (): Promise<never> =>
    Promise.reject(new StorageError('key-unavailable', 'the key service does not answer'));
  const remote: MasterKey = {
    id: 'kms:far-away',
    wrap: (...args) => (answers ? key.wrap(...args) : away()),
    unwrap: (...args) => (answers ? key.unwrap(...args) : away()),
  };
  const opened = await openTestStore(t, { ...underKey(remote), folder });
  await opened.store.log.createStream(encrypted());
  await opened.store.log.createStream(streamOptions({ name: 'open' }));
  await append(opened.store, 5);
  answers = false;
  await opened.reopen();
  await append(opened.store, 5, { stream: 'open' });
  await assert.rejects(append(opened.store, 1), storageError('key-unavailable'));
  await assert.rejects(readAll(opened.store), storageError('key-unavailable'));
  const { id } = opened.store.log.stream('readings').shards[0]!;
  assert.equal((await opened.store.log.backlog(id, 2)).records, 3);
  await settle(opened);
  answers = true;
  await settle(opened);
  await append(opened.store, 5, { from: 5 });
  assert.equal((await readAll(opened.store)).length, 10);
  await assertSound(folder, remote);
});

test('damage costs its own batch, is found without a key, and can be repaired without one', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 10);
  await opened.store.close();
  await change(folder, 'UPDATE batch SET body = zeroblob(length(body)) WHERE first_sequence = 4');
  const codes: string[] = [];
  for await (const { code } of checkStore({ folder })) codes.push(code);
  assert.deepEqual(codes, ['batch-corrupt']);
  await opened.reopen();
  const { id } = opened.store.log.stream('readings').shards[0]!;
  const all = { shardId: id, fromSequence: 0, maxRecords: 100, maxBytes: 1e7 };
  const { records, skipped } = await opened.store.log.read(all);
  assert.deepEqual([records.length, skipped.corrupt], [9, 1]);
  await opened.store.close();
  const nowMs = opened.clock.nowMs();
  const mediaFolder = join(folder, 'media');
  for await (const done of repairStore({ folder, mediaFolder, nowMs })) t.diagnostic(done);
  await assertSound(folder);
  assert.deepEqual(await filesWith(folder, secret), []);
  await opened.reopen();
  assert.equal((await opened.store.log.read(all)).records.length, 9);
});

test('a sealed batch opens in its own place and with its own header alone', async (t) => {
  const opened = await openTestStore(t, { ...underKey(), readCacheBytes: 0 });
  const { log, writer } = opened.store;
  await log.createStream(encrypted({ shardCount: 2 }));
  await log.createStream(encrypted({ name: 'others' }));
  const [first, second] = log.stream('readings').shards;
  const [third] = log.stream('others').shards;
  const record = { partitionKey: 'a', data: Buffer.from(secret) };
  await log.append('readings', [{ ...record, explicitHashKey: 0n }]);
  await log.append('readings', [{ ...record, explicitHashKey: 2n ** 127n }]);
  await log.append('others', [record]);
  const bodyOf = async (shardId: number): Promise<Buffer> =>
    (await rowsOf(opened.store)).find((row) => row.shard_id === shardId)!.body;
  const sound = await bodyOf(first!.id);
  const put = (shardId: number, body: Buffer): Promise<unknown> =>
    writer.transact((transaction) =>
      transaction.run('UPDATE batch SET body = ? WHERE shard_id = ?', body, shardId),
    );
  const corrupt = async (shardId: number): Promise<number> =>
    (await log.read({ shardId, fromSequence: 0, maxRecords: 9, maxBytes: 1e6 })).skipped.corrupt;
  assert.equal(await corrupt(first!.id), 0);
  // In another shard, and in another stream.
  for (const shard of [second!, third!]) {
    await put(shard.id, sound);
    assert.equal(await corrupt(shard.id), 1, shard.stream);
  }
  // With another arrival time in the header, under a checksum that is right.
  const forged = Buffer.from(sound);
  forged.writeUInt8(forged.readUInt8(40) ^ 1, 40);
  forged.writeUInt8(forged.readUInt8(32) ^ 1, 32);
  forged.writeUInt32LE(crc32(forged.subarray(batchHeaderBytes), crc32(forged.subarray(0, 52))), 52);
  verifyBatch(forged);
  await put(first!.id, forged);
  assert.equal(await corrupt(first!.id), 1);
});

test('a torn keyring: one of two places is enough, and a repair makes it whole', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 5);
  for (const damage of [
    "UPDATE data_key SET wrapped = CAST(x'00ff' || substr(wrapped, 3) AS BLOB)",
    'UPDATE data_key SET wrapped = zeroblob(60)',
    "UPDATE data_key SET scope = 'stream/99'",
    "UPDATE data_key SET master_key_id = 'local:other'",
    'DELETE FROM data_key',
    'UPDATE data_key_copy SET checksum = checksum + 1',
    'DELETE FROM data_key_copy',
  ]) {
    await opened.store.close();
    await change(folder, damage);
    const codes: string[] = [];
    for await (const { code, severity } of checkStore({ folder }))
      codes.push(`${severity} ${code}`);
    assert.deepEqual([...new Set(codes)], ['warning key-trouble'], damage);
    await opened.reopen();
    await append(opened.store, 1);
    await readAll(opened.store);
    await opened.store.close();
    const nowMs = opened.clock.nowMs();
    for await (const done of repairStore({ folder, mediaFolder: join(folder, 'media'), nowMs })) {
      assert.match(done, /whole again/);
    }
    await assertSound(folder);
    await opened.reopen();
  }
  assert.equal((await readAll(opened.store)).length, 12);
});

test('a data key that is lost for good is said, costs what it sealed, and nothing else', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await opened.store.log.createStream(encrypted({ name: 'others' }));
  await append(opened.store, 5);
  await append(opened.store, 5, { stream: 'others' });
  await opened.store.close();
  const torn = "SET wrapped = zeroblob(60) WHERE scope = 'stream/1'";
  await change(folder, `UPDATE data_key ${torn}; UPDATE data_key_copy ${torn}`);
  const codes: string[] = [];
  for await (const { code, severity } of checkStore({ folder })) codes.push(`${severity} ${code}`);
  assert.deepEqual(codes, ['error key-trouble', 'error key-trouble']);

  await opened.reopen();
  assert.equal((await readAll(opened.store, 'others')).length, 5);
  await assert.rejects(readAll(opened.store), storageError('wrong-key', 'data key 1 is lost'));
  await append(opened.store, 5, { from: 5 });
  await settle(opened);
  await opened.store.close();
  const nowMs = opened.clock.nowMs();
  for await (const done of repairStore({ folder, mediaFolder: join(folder, 'media'), nowMs })) {
    t.diagnostic(done);
  }
  await assertSound(folder);
  assert.equal((await readdir(join(folder, 'damaged', String(nowMs)))).length, 6);
  await opened.reopen();
  const { id } = opened.store.log.stream('readings').shards[0]!;
  const all = { shardId: id, fromSequence: 0, maxRecords: 100, maxBytes: 1e7 };
  const { records, skipped } = await opened.store.log.read(all);
  assert.deepEqual([records.length, skipped.corrupt], [5, 5]);
});

test('a database that is made anew of a damaged one still opens', async (t) => {
  const folder = await temporaryFolder(t);
  const opened = await openTestStore(t, { ...underKey(), folder });
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 50);
  await opened.store.close();
  const database = await Database.open(join(folder, 'headgate.db'));
  await database.exec(
    "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = NULL WHERE name = 'batch_position'",
  );
  await database.close();
  const nowMs = opened.clock.nowMs();
  const done: string[] = [];
  for await (const said of repairStore({ folder, mediaFolder: join(folder, 'media'), nowMs })) {
    done.push(said);
  }
  assert.match(done.join('\n'), /rows were copied into a new file/);
  await opened.reopen();
  assert.equal((await readAll(opened.store)).length, 50);
  assert.deepEqual(await filesWith(folder, secret), []);
});

test('the keys of a stream go with it', async (t) => {
  const opened = await openTestStore(t, underKey());
  await opened.store.log.createStream(encrypted());
  await append(opened.store, 5);
  await opened.store.log.deleteStream('readings');
  await opened.store.retention.run();
  for (const table of ['stream', 'data_key', 'data_key_copy']) {
    assert.deepEqual(await opened.store.queries.all(`SELECT * FROM ${table}`), [], table);
  }
  // A later stream of the name has an id and a key of its own.
  await opened.store.log.createStream(encrypted());
  assert.equal(opened.store.log.stream('readings').id, 2);
  await append(opened.store, 5);
  await opened.reopen();
  assert.equal((await readAll(opened.store)).length, 5);
});

test('shards that a reshard opens are sealed as all others', async (t) => {
  const opened = await openTestStore(t, underKey());
  await opened.store.log.createStream(streamOptions());
  await append(opened.store, 50);
  await Promise.all([
    append(opened.store, 50, { from: 50 }),
    opened.store.log.resizeStream('readings', 3),
    opened.store.log.updateStream('readings', { encryption: 'aes-256-gcm' }),
    append(opened.store, 50, { from: 100 }),
  ]);
  const { shards } = await opened.store.log.resizeStream('readings', 2);
  await append(opened.store, 50, { from: 150 });
  await settle(opened);
  assert.ok(shards.length >= 5);
  assert.ok((await rowsOf(opened.store)).every(({ body }) => isEncrypted(body)));
  assert.equal((await readAll(opened.store)).length, 200);
  assert.deepEqual(await filesWith(opened.folder, secret), []);
  await assertSound(opened.folder);
});
