/** Backups of source records: all of them, as they came, whatever becomes of the delivery. */
import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { unpinRemoved } from '../../../gateway/forward/removed.ts';
import { adviceInOwner, withBackups } from '../../../gateway/forward/source-backup.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { dead, sentAll, startAll, statusUntil } from './support/backups.ts';
import { numbered, openRig, streamOptions, type Rig } from './support/rig.ts';

const buffer = { maxBytes: 4_000, maxSeconds: 0.05 };
async function openStreams(t: TestContext): Promise<Rig> {
  const rig = await openRig(t);
  await rig.store.log.ensureStream(streamOptions('readings', 2));
  return rig;
}

function delivery(more: Partial<DeliveryOptions> & Pick<DeliveryOptions, 'to'>): DeliveryOptions {
  return { name: 'archive', from: { stream: 'readings' }, buffer, ...more };
}

/** Everything in the objects of a folder, shard by shard in order. */
async function contentOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const objects = await Promise.all(
    files.map(async ({ parentPath, name }) =>
      gunzipSync(await readFile(join(parentPath, name))).toString(),
    ),
  );
  return objects.join('');
}

/** The ids of records that were appended by `numbered`, from lines or from one text. */
function idsIn(text: string): number[] {
  return [...text.matchAll(/"id":(\d+)/g)].map(([, id]) => Number(id)).sort((a, b) => a - b);
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, id) => id);

test('everything is kept as it came, whatever the delivery makes of it', async (t) => {
  const rig = await openStreams(t);
  const [out, originals] = [await temporaryFolder(t), await temporaryFolder(t)];
  const path = join(await temporaryFolder(t), 'drop.mjs');
  await writeFile(
    path,
    `export const handler = ({ records }) => ({ records: records.map(({ recordId, data }) => {
      const { id } = JSON.parse(Buffer.from(data, 'base64'));
      const made = Buffer.from(JSON.stringify({ id, changed: true })).toString('base64');
      if (id % 5 === 0) return { recordId, result: 'Dropped' };
      return { recordId, result: id % 5 === 1 ? 'ProcessingFailed' : 'Ok', data: made };
    }) });`,
  );
  const deliveries = startAll(t, rig, [
    delivery({
      to: { folder: { path: out } },
      filter: 'id < `100`',
      transform: {
        function: { module: { path, export: 'handler', memoryMaxMiB: 64, concurrency: 1 } },
        ...{ batchBytes: 2 ** 20, retries: 0, timeoutSeconds: 10 },
      },
      backup: { to: { folder: { path: originals } }, buffer },
    }),
  ]);
  const records = numbered(0, 200);
  await rig.store.log.append('readings', records);
  const backup = await statusUntil(deliveries, 'archive.backup', sentAll(200));
  const owner = await statusUntil(deliveries, 'archive', sentAll(60));
  assert.deepEqual([backup.backupOf, owner.backupOf], ['archive', null]);
  assert.deepEqual([backup.keeps, owner.keeps], ['records', null]);
  assert.deepEqual(backup.to, { kind: 'folder', description: originals });
  assert.deepEqual(
    (await deliveries.status()).map(({ name }) => name),
    ['archive', 'archive.backup'],
  );
  assert.equal(idsIn(await contentOf(out)).length, 60);
  const kept = await contentOf(originals);
  assert.deepEqual(idsIn(kept), upTo(200));
  assert.ok(!kept.includes('changed') && !kept.includes('\n'), 'raw: nothing between them');
  assert.equal(
    kept.length,
    records.reduce((sum, { data }) => sum + data.length, 0),
  );
});

test('a backup that can not be written holds up nothing, nor is it held up', async (t) => {
  const rig = await openStreams(t);
  const [out, originals] = [await temporaryFolder(t), await temporaryFolder(t)];
  const deliveries = startAll(t, rig, [
    delivery({ name: 'one', to: { folder: { path: out } }, backup: { to: dead, buffer } }),
    delivery({
      ...{ name: 'other', to: dead },
      backup: { to: { folder: { path: originals } }, format: { type: 'ndjson' }, buffer },
    }),
  ]);
  await rig.store.log.append('readings', numbered(0, 100));
  await statusUntil(deliveries, 'one', sentAll(100));
  await statusUntil(deliveries, 'other.backup', sentAll(100));
  for (const name of ['one.backup', 'other']) {
    const { backlog } = await statusUntil(deliveries, name, (one) => one.state === 'backing-off');
    assert.equal(backlog.records, 100);
  }
  assert.deepEqual(idsIn(await contentOf(out)), upTo(100));
  assert.deepEqual(idsIn(await contentOf(originals)), upTo(100));
});

test('it is paused and rewound by its own name, and goes on over a restart', async (t) => {
  const rig = await openStreams(t);
  const [out, originals] = [await temporaryFolder(t), await temporaryFolder(t)];
  const options = delivery({
    to: { folder: { path: out } },
    backup: { to: { folder: { path: originals } }, buffer },
  });
  const first = startAll(t, rig, [options]);
  await statusUntil(first, 'archive', ({ state }) => state === 'idle');
  await first.pause('archive');
  await rig.store.log.append('readings', numbered(0, 50));
  await statusUntil(first, 'archive.backup', sentAll(50));
  assert.equal((await first.pause('archive.backup'))?.held?.by, 'pause');
  await rig.store.log.append('readings', numbered(50, 50));
  await first.resume('archive');
  await statusUntil(first, 'archive', sentAll(100));
  await first.close();

  const second = startAll(t, rig, [options]);
  const held = await statusUntil(second, 'archive.backup', ({ state }) => state === 'waiting');
  assert.equal(held.backlog.records, 50);
  await second.resume('archive.backup');
  await statusUntil(second, 'archive.backup', sentAll(50));
  assert.deepEqual(idsIn(await contentOf(originals)), upTo(100));
  await second.rewind('archive.backup', 'earliest');
  await statusUntil(second, 'archive.backup', sentAll(150));
  assert.equal(idsIn(await contentOf(originals)).length, 200, 'under names of its own');
  assert.deepEqual(idsIn(await contentOf(out)), upTo(100));
});

test('one that begins with what comes next has what its owner has still to send, too', async (t) => {
  const rig = await openStreams(t);
  const originals = await temporaryFolder(t);
  await rig.store.log.append('readings', numbered(0, 20));
  const options = delivery({ to: dead, startAt: 'latest' });
  const deliveries = startAll(t, rig, [options]);
  await statusUntil(deliveries, 'archive', ({ state }) => state === 'idle');
  await rig.store.log.append('readings', numbered(20, 20));
  await statusUntil(deliveries, 'archive', ({ state }) => state === 'backing-off');
  const backup = { to: { folder: { path: originals } }, buffer };
  await deliveries.update([{ ...options, backup }]);
  await statusUntil(deliveries, 'archive.backup', sentAll(20));
  assert.deepEqual(
    idsIn(await contentOf(originals)),
    upTo(40).filter((id) => id >= 20),
  );
});

test('it sends when its owner may', () => {
  const [owner, backup] = withBackups([
    delivery({
      ...{ to: dead, required: false, startAt: 'latest', catchUp: 'live-first', priority: 9 },
      ...{ schedule: { windows: [{ hours: '22:00-06:00' }] }, onlyWhile: { program: '/on-wifi' } },
      ...{ filter: 'a', select: 'b', deaggregate: { type: 'json' }, retrySeconds: 5, version: 4 },
      backup: { to: { folder: { path: '/b' } } },
    }),
  ]);
  assert.equal(owner !== undefined && 'backup' in owner, false);
  assert.deepEqual(backup, {
    ...{ name: 'archive.backup', backupOf: 'archive', from: { stream: 'readings' }, version: 4 },
    ...{ to: { folder: { path: '/b' } }, format: { type: 'raw' }, required: true },
    ...{ startAt: 'latest', catchUp: 'live-first', priority: 9 },
    ...{ schedule: { windows: [{ hours: '22:00-06:00' }] }, onlyWhile: { program: '/on-wifi' } },
  });
});

test('it is counted with its owner, under the names that Firehose has for it', async (t) => {
  const rig = await openStreams(t);
  const originals = await temporaryFolder(t);
  const deliveries = startAll(t, rig, [
    delivery({ to: dead, backup: { to: { folder: { path: originals } }, buffer } }),
  ]);
  const records = numbered(0, 30);
  await rig.store.log.append('readings', records);
  await statusUntil(deliveries, 'archive.backup', sentAll(30));
  await statusUntil(deliveries, 'archive', ({ state }) => state === 'backing-off');
  const { measures } = (await deliveries.metered('archive')) ?? assert.fail();
  const totals = new Map(measures.map(({ name, total }) => [name, total]));
  assert.deepEqual(
    [...totals.keys()],
    [
      ...['BackupToFolder.Bytes', 'BackupToFolder.Records', 'BackupToFolder.Success'],
      ...['BackupToFolder.DataFreshness', 'DeliveryToS3.Success', 'DeliveryToS3.DataFreshness'],
    ].sort(),
  );
  assert.equal(totals.get('BackupToFolder.Records'), 30);
  assert.equal(
    totals.get('BackupToFolder.Bytes'),
    records.reduce((sum, { data }) => sum + data.length, 0),
  );
  assert.equal(
    rig.metrics.values.get('headgate_firehose_backup_to_folder_records_total{delivery="archive"}'),
    30,
  );
  const own = (await deliveries.metered('archive.backup')) ?? assert.fail();
  assert.ok(own.measures.every(({ name }) => name.startsWith('BackupToFolder.')));
});

test('taken out it leaves its owner alone, and is forgotten with it', async (t) => {
  const rig = await openStreams(t);
  const { log } = rig.store;
  const out = await temporaryFolder(t);
  const plain = delivery({ to: { folder: { path: out } } });
  const backedUp = { ...plain, backup: { to: dead, buffer } };
  const deliveries = startAll(t, rig, [backedUp]);
  await unpinRemoved(log, withBackups([backedUp]), rig.logger);
  await rig.store.log.append('readings', numbered(0, 10));
  await statusUntil(deliveries, 'archive', sentAll(10));
  await statusUntil(deliveries, 'archive.backup', ({ state }) => state === 'backing-off');
  const applications = (): unknown =>
    log.applications.list().map((app) => [app.name, app.required]);
  assert.deepEqual(applications(), [
    ['delivery:archive', true],
    ['delivery:archive.backup', true],
  ]);
  assert.equal(await deliveries.forget('archive.backup'), 'configured');

  await deliveries.update([plain]);
  await unpinRemoved(log, withBackups([plain]), rig.logger);
  const [owner, ...more] = await deliveries.status();
  assert.deepEqual([owner?.sentRecords, more.length], [10, 0], 'it went on running');
  const [removed] = await deliveries.removed();
  assert.deepEqual([removed?.name, removed?.backlog.records], ['archive.backup', 10]);
  assert.deepEqual(applications(), [
    ['delivery:archive', true],
    ['delivery:archive.backup', false],
  ]);

  await deliveries.update([]);
  assert.equal(await deliveries.forget('archive'), 'forgotten');
  assert.deepEqual(applications(), []);
  assert.equal(await deliveries.forget('archive'), 'unknown');
});

test('advice about a backup names the keys of its owner', async (t) => {
  const rig = await openStreams(t);
  const deliveries = startAll(t, rig, [
    delivery({ to: dead, backup: { to: dead }, failed: { to: dead } }),
  ]);
  await rig.store.log.append('readings', numbered(0, 1));
  const failing = ({ state }: { readonly state: string }): boolean => state === 'backing-off';
  const adviceOn = async (name: string): Promise<string> =>
    (await statusUntil(deliveries, name, failing)).lastFailure?.advice ?? '';
  assert.match(await adviceOn('archive'), / to\.s3\.endpoint/);
  assert.match(await adviceOn('archive.backup'), / deliveries\.archive\.backup\.to\.s3\.endpoint/);
  const logged = rig.logger.lines.find(
    ({ fields, message }) =>
      message === 'a delivery fails' && fields['delivery'] === 'archive.backup',
  );
  assert.match(String(logged?.fields['advice']), /archive\.backup\.to\.s3\.endpoint/);
  const ofFailed = withBackups([delivery({ to: dead, failed: { to: dead } })])[1];
  assert.ok(ofFailed !== undefined);
  assert.equal(
    adviceInOwner(ofFailed, 'Create the bucket, or correct to.s3.bucket.'),
    'Create the bucket, or correct deliveries.archive.failed.to.s3.bucket.',
  );
  assert.equal(
    adviceInOwner({ ...ofFailed, origin: 'firehose' }, 'Correct to.s3.bucket.'),
    'Correct to.s3.bucket.',
    'it has no such key',
  );
  const { keeps } = await statusUntil(deliveries, 'archive.failed', () => true);
  assert.equal(keeps, 'failed');
});
