import assert from 'node:assert/strict';
import { chown, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import {
  AccessKeyError,
  AccessKeys,
  type AccessKeysOptions,
} from '../../../gateway/security/access-keys.ts';
import { PolicyError } from '../../../gateway/security/policy-document.ts';
import { StorageError } from '../../../storage/errors.ts';
import { localMasterKey } from '../../../storage/keys.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const masterKey = localMasterKey(Buffer.alloc(32, 1));
const reader = '{"Statement":{"Effect":"Allow","Action":"kinesis:Get*","Resource":"*"}}';

interface Opened {
  readonly keys: AccessKeys;
  readonly folder: string;
  readonly again: (options?: Partial<AccessKeysOptions>) => Promise<AccessKeys>;
}

async function open(t: TestContext): Promise<Opened> {
  const folder = join(await temporaryFolder(t), 'access');
  const clock = new ManualClock();
  const again = (options: Partial<AccessKeysOptions> = {}): Promise<AccessKeys> =>
    AccessKeys.open({ folder, masterKey, configured: [], clock, ...options });
  return { keys: await again(), folder, again };
}

test('a key is found by its id, with its secret and its policies', async (t) => {
  const { keys, again } = await open(t);
  const { accessKeyId, secretAccessKey } = await keys.create('plant', [reader]);
  assert.match(accessKeyId, /^AKIA[A-Z2-7]{16}$/);
  assert.match(secretAccessKey, /^[\w+/]{40}$/);
  for (const opened of [keys, await again()]) {
    const found = await opened.find(accessKeyId);
    assert.equal(found?.name, 'plant');
    assert.equal(found.secretAccessKey, secretAccessKey);
    assert.equal(found.policies.length, 1);
    assert.deepEqual(opened.policiesOf(accessKeyId), found.policies);
  }
  assert.deepEqual(await keys.list(), [
    {
      ...{ accessKeyId, name: 'plant', createdMs: Date.UTC(2026, 0, 1), policies: 1 },
      configured: false,
    },
  ]);
});

test('what is no key is none', async (t) => {
  const { keys, folder } = await open(t);
  const { accessKeyId } = await keys.create('plant', []);
  await writeFile(join(folder, 'outside'), '{}');
  for (const id of [
    '',
    '.',
    '..',
    '../outside',
    accessKeyId.toLowerCase(),
    `${accessKeyId}x`,
    '\0',
  ]) {
    assert.equal(await keys.find(id), null, id);
    assert.equal(keys.policiesOf(id), null);
    assert.equal(await keys.revoke(id), false);
  }
  assert.notEqual(await keys.find(accessKeyId), null);
});

test('a key made or revoked by another process counts at once', async (t) => {
  const { keys, again } = await open(t);
  const elsewhere = await again();
  const { accessKeyId } = await elsewhere.create('plant', []);
  assert.notEqual(await keys.find(accessKeyId), null);
  assert.notEqual(keys.policiesOf(accessKeyId), null);
  assert.equal(await elsewhere.revoke(accessKeyId), true);
  assert.equal(keys.policiesOf(accessKeyId), null);
  assert.equal(await keys.find(accessKeyId), null);
  assert.equal(await elsewhere.revoke(accessKeyId), false);
  assert.deepEqual(await keys.list(), []);
});

test('no secret is on the disk, and nobody else may read what is', async (t) => {
  const { keys, folder } = await open(t);
  const { accessKeyId, secretAccessKey } = await keys.create('plant', []);
  assert.equal((await stat(join(folder, 'keys'))).mode & 0o777, 0o700);
  assert.deepEqual(await readdir(join(folder, 'keys')), [accessKeyId]);
  const path = join(folder, 'keys', accessKeyId);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const text = await readFile(path, 'utf8');
  assert.equal(text.includes(secretAccessKey), false);
  assert.equal(text.includes(Buffer.from(secretAccessKey).toString('base64')), false);
});

test('another master key is an error that names both', async (t) => {
  const { keys, again } = await open(t);
  const { accessKeyId } = await keys.create('plant', []);
  const other = localMasterKey(Buffer.alloc(32, 2));
  const wrong = await again({ masterKey: other });
  await assert.rejects(wrong.find(accessKeyId), (error) => {
    assert.ok(error instanceof StorageError);
    assert.equal(error.code, 'wrong-key');
    for (const part of [accessKeyId, masterKey.id, other.id])
      assert.ok(error.message.includes(part));
    return true;
  });
  assert.equal(wrong.policiesOf(accessKeyId), null);
  assert.equal(await wrong.revoke(accessKeyId), true, 'it can still be taken away');
});

test('a torn or changed file lets nobody in and stops nobody', async (t) => {
  const { keys, folder, again } = await open(t);
  const { accessKeyId } = await keys.create('torn', []);
  const path = join(folder, 'keys', accessKeyId);
  const whole = await readFile(path, 'utf8');
  const fine = await keys.create('fine', []);
  for (let length = 0; length < whole.length - 1; length += 7) {
    await writeFile(path, whole.slice(0, length));
    assert.equal(await (await again()).find(accessKeyId), null, String(length));
  }
  for (const rubbish of ['null', '[]', '"x"', '\0'.repeat(99), whole.replace('[]', '["{}"]')]) {
    await writeFile(path, rubbish);
    const opened = await again();
    assert.equal(await opened.find(accessKeyId), null, rubbish);
    assert.notEqual(await opened.find(fine.accessKeyId), null);
  }
  const listed = await keys.list();
  assert.deepEqual(new Set(listed.map(({ name }) => name)), new Set([null, 'fine']));
  assert.equal(await keys.revoke(accessKeyId), true);
  // A secret of another key does not become this one's.
  const stolen = await readFile(join(folder, 'keys', fine.accessKeyId), 'utf8');
  await writeFile(path, stolen);
  await assert.rejects((await again()).find(accessKeyId), { code: 'wrong-key' });
});

test('keys of the configuration come first, change with it, and are not revoked here', async (t) => {
  const { again } = await open(t);
  const configured = [
    { name: 'demo', accessKeyId: 'test', secretAccessKey: 'test', policies: [] },
    { name: 'reader', accessKeyId: 'AKIAREADER', secretAccessKey: 's', policies: [reader] },
  ];
  const keys = await again({ configured });
  assert.deepEqual(await keys.find('test'), {
    ...{ name: 'demo', secretAccessKey: 'test', policies: [] },
  });
  assert.deepEqual(keys.policiesOf('test'), []);
  assert.equal(keys.policiesOf('AKIAREADER')?.length, 1);
  await assert.rejects(keys.revoke('test'), AccessKeyError);
  await keys.create('made', []);
  assert.deepEqual(
    (await keys.list()).map(({ name }) => name),
    ['demo', 'reader', 'made'],
  );
  keys.update(configured.slice(1));
  assert.equal(await keys.find('test'), null);
  assert.equal(keys.policiesOf('test'), null);
});

test('a name or a policy that is none makes no key', async (t) => {
  const { keys } = await open(t);
  for (const name of ['', 'a b', 'a/b', 'x'.repeat(65), 'ü']) {
    await assert.rejects(keys.create(name, []), AccessKeyError);
  }
  await assert.rejects(keys.create('plant', [reader, '{}']), PolicyError);
  assert.deepEqual(await keys.list(), []);
});

test('keys past 1,000 are refused', async (t) => {
  const { keys, folder } = await open(t);
  for (let count = 0; count < 999; count += 1) {
    await writeFile(join(folder, 'keys', `AKIA${count}`), '');
  }
  await keys.create('last', []);
  await assert.rejects(keys.create('more', []), /1000 access keys already/);
});

test('what root makes in the folder of another user is for that user to read', async (t) => {
  if (userInfo().uid !== 0) {
    t.skip('only root can make files for others');
    return;
  }
  const data = await temporaryFolder(t);
  await chown(data, 12_345, 12_345);
  const folder = join(data, 'access');
  const keys = await AccessKeys.open({
    ...{ folder, masterKey, configured: [], clock: new ManualClock() },
  });
  const { accessKeyId } = await keys.create('plant', []);
  for (const path of [folder, join(folder, 'keys'), join(folder, 'keys', accessKeyId)]) {
    const { uid, gid, mode } = await stat(path);
    assert.deepEqual([uid, gid, mode & 0o077], [12_345, 12_345, 0], path);
  }
});
