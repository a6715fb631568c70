import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { StorageError, type StorageErrorCode } from '../../storage/errors.ts';
import {
  Keyring,
  localMasterKey,
  parseMasterKey,
  sealedOverheadBytes,
  type KeyringOptions,
  type MasterKey,
} from '../../storage/keys.ts';
import type { Transaction } from '../../storage/writer.ts';
import { openTestStore, type TestStore } from './support/open.ts';

const masterKey = localMasterKey(Buffer.alloc(32, 1));
const plain = Buffer.from('a reading');
const row = Buffer.from('stream 12, shard 3, row 4');

function keyring(test: TestStore, options: Partial<KeyringOptions> = {}): Keyring {
  const { writer, queries } = test.store;
  return new Keyring({ writer, queries, masterKey, clock: test.clock, ...options });
}

async function open(t: TestContext): Promise<{ test: TestStore; ring: Keyring }> {
  const test = await openTestStore(t);
  const ring = keyring(test);
  await ring.ready('stream/12');
  return { test, ring };
}

function storageError(code: StorageErrorCode, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

test('what is sealed opens again, also after a restart, and hides what it holds', async (t) => {
  const { test, ring } = await open(t);
  const { keyId, bytes } = ring.seal('stream/12', plain, row);
  assert.equal(bytes.length, plain.length + sealedOverheadBytes);
  assert.equal(bytes.includes(plain), false);
  assert.deepEqual(await ring.open(keyId, bytes, row), plain);
  await test.reopen();
  assert.deepEqual(await keyring(test).open(keyId, bytes, row), plain);
});

test('the same bytes are sealed differently each time', async (t) => {
  const { ring } = await open(t);
  const nonces = new Set<string>();
  for (let count = 0; count < 1000; count += 1) {
    nonces.add(ring.seal('stream/12', plain, row).bytes.subarray(0, 12).toString('hex'));
  }
  assert.equal(nonces.size, 1000);
});

test('what was changed, cut, or moved elsewhere does not open', async (t) => {
  const { ring } = await open(t);
  await ring.ready('stream/13');
  const { keyId, bytes } = ring.seal('stream/12', plain, row);
  const other = ring.seal('stream/13', plain, row);
  for (let at = 0; at < bytes.length; at += 1) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 0x10;
    await assert.rejects(ring.open(keyId, changed, row), storageError('corrupt'));
    await assert.rejects(ring.open(keyId, bytes.subarray(0, at), row), storageError('corrupt'));
  }
  await assert.rejects(ring.open(keyId, bytes, Buffer.from('row 5')), storageError('corrupt'));
  await assert.rejects(ring.open(other.keyId, bytes, row), storageError('corrupt'));
  await assert.rejects(ring.open(99, bytes, row), storageError('wrong-key', /data key 99 is lost/));
});

test('another master key is told by name, and opens nothing', async (t) => {
  const { test, ring } = await open(t);
  const { keyId, bytes } = ring.seal('stream/12', plain, row);
  const other = localMasterKey(Buffer.alloc(32, 2));
  const wrong = keyring(test, { masterKey: other });
  const named = new RegExp(`data key ${keyId} .*${masterKey.id}.*${other.id}`);
  await assert.rejects(wrong.open(keyId, bytes, row), storageError('wrong-key', named));
  await assert.rejects(wrong.ready('stream/12'), storageError('wrong-key', named));
  // A name that lies gains nothing.
  const liar: MasterKey = { ...other, id: masterKey.id };
  await assert.rejects(
    keyring(test, { masterKey: liar }).open(keyId, bytes, row),
    storageError('wrong-key'),
  );
});

test('a wrapped key opens for its own scope alone', async (t) => {
  const { test, ring } = await open(t);
  const { keyId, bytes } = ring.seal('stream/12', plain, row);
  const rows = await test.store.queries.all<{ wrapped: Buffer }>('SELECT wrapped FROM data_key');
  const context = { purpose: 'headgate data key', scope: 'stream/99' };
  await assert.rejects(masterKey.unwrap(rows[0]!.wrapped, context), storageError('wrong-key'));
  for (const table of ['data_key', 'data_key_copy']) {
    await test.store.writer.transact((transaction) =>
      transaction.run(`UPDATE ${table} SET scope = 'stream/99'`),
    );
  }
  await assert.rejects(keyring(test).open(keyId, bytes, row), storageError('wrong-key'));
});

test('the database holds neither data keys nor the master key', async (t) => {
  const { test, ring } = await open(t);
  const [stored] = await test.store.queries.all<{ wrapped: Buffer }>('SELECT * FROM data_key');
  const unwrapped = await masterKey.unwrap(stored!.wrapped, {
    purpose: 'headgate data key',
    scope: 'stream/12',
  });
  assert.equal(unwrapped.length, 32);
  assert.equal(stored!.wrapped.includes(unwrapped), false);
  assert.equal(masterKey.id.includes(Buffer.alloc(32, 1).toString('hex').slice(0, 8)), false);
  ring.seal('stream/12', plain, row);
});

test('uses are counted before they happen, over restarts', async (t) => {
  const test = await openTestStore(t);
  const usesOnDisk = async (): Promise<number> =>
    (await test.store.queries.get<{ uses: number }>('SELECT sum(uses) AS uses FROM data_key'))!
      .uses;
  const first = keyring(test, { usesAtOnce: 100 });
  await first.ready('stream/1');
  assert.equal(await usesOnDisk(), 100);
  for (let count = 0; count < 10; count += 1) first.seal('stream/1', plain, row);
  const second = keyring(test, { usesAtOnce: 100 });
  await second.ready('stream/1');
  assert.equal(await usesOnDisk(), 200, 'whatever the first one did not use is given up');
});

test('a key gives way to a new one well before its limit, and still opens what it sealed', async (t) => {
  const test = await openTestStore(t);
  const ring = keyring(test, { usesAtOnce: 4, usesMax: 16 });
  const sealed: { keyId: number; bytes: Buffer }[] = [];
  for (let count = 0; count < 100; count += 1) {
    await ring.ready('stream/1');
    sealed.push(ring.seal('stream/1', plain, row));
    // What it counts in the background goes through the writer before this does.
    await test.store.writer.transact(() => Promise.resolve());
    await test.store.writer.transact(() => Promise.resolve());
  }
  const uses = new Map<number, number>();
  for (const { keyId, bytes } of sealed) {
    uses.set(keyId, (uses.get(keyId) ?? 0) + 1);
    assert.deepEqual(await ring.open(keyId, bytes, row), plain);
  }
  assert.ok(uses.size >= 100 / 16);
  assert.ok(Math.max(...uses.values()) <= 16 + 4);
});

test('when uses can not be counted, nothing more is sealed', async (t) => {
  const { test } = await open(t);
  let isBroken = false;
  const writer = {
    transact: <T>(work: (transaction: Transaction) => Promise<T>): Promise<T> =>
      isBroken
        ? Promise.reject(new StorageError('disk-full', 'the disk is full'))
        : test.store.writer.transact(work),
  };
  const ring = keyring(test, { writer, usesAtOnce: 8 });
  await ring.ready('stream/1');
  isBroken = true;
  let sealed = 0;
  assert.throws(() => {
    for (; sealed < 100; sealed += 1) ring.seal('stream/1', plain, row);
  }, storageError('overloaded'));
  assert.equal(sealed, 8);
  isBroken = false;
  await ring.rotate('stream/1');
  ring.seal('stream/1', plain, row);
});

test('several that need a key at once get one and the same', async (t) => {
  const test = await openTestStore(t);
  const ring = keyring(test);
  await Promise.all(Array.from({ length: 20 }, () => ring.ready('stream/5')));
  const [{ count } = { count: 0 }] = await test.store.queries.all<{ count: number }>(
    'SELECT count(*) AS count FROM data_key',
  );
  assert.equal(count, 1);
  const before = ring.seal('stream/5', plain, row).keyId;
  await ring.rotate('stream/5');
  assert.notEqual(ring.seal('stream/5', plain, row).keyId, before);
});

test('a scope that is none is refused, and one that was not made ready is a mistake', async (t) => {
  const { ring } = await open(t);
  for (const scope of ['', 'stream', 'stream/', '12', 'stream/x', "stream/1'"]) {
    await assert.rejects(ring.ready(scope), storageError('invalid-argument'));
  }
  assert.throws(() => ring.seal('stream/77', plain, row), storageError('key-unavailable'));
});

test('a master key is 32 bytes, in Base64 or hexadecimal', () => {
  const key = randomBytes(32);
  for (const text of [
    key.toString('hex'),
    `  ${key.toString('hex').toUpperCase()}\n`,
    key.toString('base64'),
    key.toString('base64url'),
    `${key.toString('base64')}\n`,
  ]) {
    assert.deepEqual(parseMasterKey(text), key, text);
  }
  for (const text of [
    '',
    'x',
    key.toString('hex').slice(1),
    key.toString('base64').slice(2),
    '='.repeat(44),
  ]) {
    assert.equal(parseMasterKey(text), null, text);
  }
  assert.throws(() => localMasterKey(Buffer.alloc(16)), storageError('invalid-argument'));
});
