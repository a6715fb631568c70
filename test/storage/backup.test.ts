import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { backupStore, type BackupOptions } from '../../storage/backup.ts';
import { checkStore } from '../../storage/check.ts';
import type { StorageErrorCode } from '../../storage/errors.ts';
import { restoreStore } from '../../storage/restore.ts';
import { buildShim, shimEnvironment } from '../crash/support/shim.ts';
import { startChild } from '../support/child.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, streamOptions } from './support/open.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  parseFootage,
  recordGroups,
} from './video/footage.ts';

function optionsFor(folder: string, target: string, logOnly = false): BackupOptions {
  const mediaFolder = join(folder, 'media');
  const extras = ['identity.json', 'access/tokens', 'nothing-like-it'];
  return {
    ...{ folder, mediaFolder, target, logOnly, extras },
    madeBy: 'test',
    clock: new ManualClock(),
  };
}

async function restored(
  context: TestContext,
  source: string,
): Promise<Awaited<ReturnType<typeof openTestStore>>> {
  const folder = join(await temporaryFolder(context), 'data');
  await restoreStore({ source, folder, mediaFolder: join(folder, 'media') });
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
  return openTestStore(context, { folder });
}

const withCode = (code: StorageErrorCode): { code: string } => ({ code });

test('a backup under load holds all that was acknowledged before it, and restores', async (t) => {
  const { store, folder } = await openTestStore(t);
  const target = join(await temporaryFolder(t), 'copy');
  const { shards } = await store.log.createStream(streamOptions());
  await mkdir(join(folder, 'access/tokens'), { recursive: true });
  await writeFile(join(folder, 'identity.json'), '{"gatewayId":"x"}');
  await writeFile(join(folder, 'access/tokens/abc'), 'hash');
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  await store.log.applications.ensure({ name: 'uplink', required: true });
  const lease = await store.log.applications.acquire('uplink', source, 'me', 1e9, 0);

  const load = { stopped: false };
  let acknowledged = 0;
  const append = async (): Promise<void> => {
    const records = Array.from({ length: 50 }, (_, index) => ({
      partitionKey: `key-${index}`,
      data: Buffer.from(`record ${acknowledged + index} ${'x'.repeat(500)}`),
    }));
    await store.log.append('readings', records);
    acknowledged += records.length;
  };
  for (let batch = 0; batch < 40; batch += 1) await append();
  await store.log.applications.checkpoint(lease, 77);
  const loading = (async () => {
    while (!load.stopped) await append();
  })();
  const before = acknowledged;
  await backupStore(optionsFor(folder, target));
  load.stopped = true;
  await loading;
  assert.ok(acknowledged > before, 'it went on taking records meanwhile');

  const copy = await restored(t, target);
  const shard = copy.store.log.shard(source.id);
  assert.ok(shard.nextSequence >= before, `${shard.nextSequence} of ${before} records`);
  let sequence = 0;
  while (sequence < shard.nextSequence) {
    const read = { shardId: source.id, fromSequence: sequence, maxRecords: 500, maxBytes: 1e7 };
    for (const record of (await copy.store.log.read(read)).records) {
      assert.match(record.data.toString(), new RegExp(`^record ${sequence} x`));
      sequence += 1;
    }
  }
  const [application] = copy.store.log.applications.list();
  assert.equal(application?.leases[0]?.checkpoint, 77, 'deliveries go on where they were');
  assert.equal(await readFile(join(copy.folder, 'identity.json'), 'utf8'), '{"gatewayId":"x"}');
  assert.equal(await readFile(join(copy.folder, 'access/tokens/abc'), 'utf8'), 'hash');
  await copy.store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(1) }]);
});

test('backups while recording, compaction and retention go on are sound, each of them', async (t) => {
  const { store, folder, clock } = await openTestStore(t, { video: { mediaFileMs: 2000 } });
  const options = streamOptions({ maxBytes: 400_000, retentionMs: 3_600_000 });
  const { shards } = await store.log.createStream(options);
  const shardId = shards[0]!.id;
  const footage = parseFootage(await makeFootage({ seconds: 12, format: fragmentedFormat }));
  // Not more than two media files: retention deletes them while they are copied.
  await store.video.ensureCamera({ ...cameraOptions('gate'), maxBytes: 200_000 });
  const work = { stopped: false, appended: 0, compactions: 0 };
  const appending = (async () => {
    while (!work.stopped) {
      const data = Buffer.from(`record ${work.appended} ${'x'.repeat(8000)}`);
      await store.log.append('readings', [{ partitionKey: 'k', data }]);
      work.appended += 1;
      clock.advance(5_000);
    }
  })();
  const keeping = (async () => {
    while (!work.stopped) {
      await store.compaction.run();
      await store.retention.run();
      await store.video.retain();
      work.compactions += 1;
    }
  })();
  const recording = (async () => {
    let startUs = newYearUs;
    while (!work.stopped) {
      const run = await beginRun(store, 'gate', footage, startUs);
      startUs = await recordGroups(run, footage, groupsOf(footage.chunks), startUs);
      await run.end('ended');
    }
  })();
  while (store.log.shard(shardId).trimSequence === 0) await store.retention.run();
  for (let round = 1; round <= 3; round += 1) {
    const target = join(await temporaryFolder(t), 'copy');
    const before = store.log.shard(shardId).nextSequence;
    await backupStore(optionsFor(folder, target));
    const copy = await restored(t, target);
    const { trimSequence, nextSequence } = copy.store.log.shard(shardId);
    assert.ok(nextSequence >= before, `${nextSequence} of ${before} records`);
    let sequence = trimSequence;
    while (sequence < nextSequence) {
      const read = { shardId, fromSequence: sequence, maxRecords: 500, maxBytes: 1e7 };
      for (const record of (await copy.store.log.read(read)).records) {
        assert.match(record.data.toString(), new RegExp(`^record ${sequence} x`));
        sequence += 1;
      }
    }
    for (const fragment of await copy.store.video.latestFragments('gate', 1000)) {
      await copy.store.video.readFragment(fragment);
    }
  }
  work.stopped = true;
  await Promise.all([appending, keeping, recording]);
  assert.ok(work.compactions > 3, 'compaction was at work');
});

test('footage comes along, that of the run that goes on up to its last fragment', async (t) => {
  const { store, folder } = await openTestStore(t, { video: { mediaFileMs: 4000 } });
  const footage = parseFootage(await makeFootage({ seconds: 12, format: fragmentedFormat }));
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  const target = await temporaryFolder(t);
  const gone = (await store.video.closedMediaFiles(1, 0, 1))[0]!;
  // As retention does it between the snapshot and the copying.
  await rm(join(folder, 'media', gone.path));
  const result = await backupStore(optionsFor(folder, target));
  assert.equal(result.goneFiles, 1);
  await run.end('ended');
  const whole = await store.video.latestFragments('gate', 100);

  const copy = await restored(t, target);
  const kept = await copy.store.video.latestFragments('gate', 100);
  const expected = whole.filter(({ mediaFileId }) => mediaFileId !== gone.id);
  assert.deepEqual(
    kept.map(({ number }) => number),
    expected.map(({ number }) => number),
  );
  for (const fragment of kept) {
    const bytes = await copy.store.video.readFragment(fragment);
    assert.ok(bytes.equals(await store.video.readFragment(fragment)), 'other pictures came back');
  }

  const light = await temporaryFolder(t);
  await backupStore(optionsFor(folder, light, true));
  assert.deepEqual((await readdir(light)).sort(), ['backup.json', 'headgate.db']);
  const withoutFootage = await restored(t, light);
  assert.deepEqual(await withoutFootage.store.video.latestFragments('gate', 100), []);
  assert.equal((await withoutFootage.store.video.cameras()).length, 1);
});

test('what is no whole backup, or was changed since, is not restored', async (t) => {
  const { store, folder } = await openTestStore(t);
  await store.log.createStream(streamOptions());
  const target = await temporaryFolder(t);
  await backupStore(optionsFor(folder, target));
  await assert.rejects(backupStore(optionsFor(folder, target)), withCode('already-exists'));
  await assert.rejects(
    backupStore(optionsFor(folder, join(folder, 'backup'))),
    withCode('invalid-argument'),
  );

  const into = async (): Promise<unknown> => {
    const place = join(await temporaryFolder(t), 'data');
    return restoreStore({ source: target, folder: place, mediaFolder: join(place, 'media') });
  };
  const full = await temporaryFolder(t);
  await writeFile(join(full, 'something'), '');
  await assert.rejects(
    restoreStore({ source: target, folder: full, mediaFolder: join(full, 'media') }),
    withCode('already-exists'),
  );

  const manifestPath = join(target, 'backup.json');
  const manifest = await readFile(manifestPath, 'utf8');
  for (const path of ['../outside', '/etc/passwd', 'a/../../b', '']) {
    const file = { path, bytes: 1, sha256: '' };
    const parsed = JSON.parse(manifest) as { files: unknown[] };
    await writeFile(manifestPath, JSON.stringify({ ...parsed, files: [...parsed.files, file] }));
    await assert.rejects(into(), withCode('corrupt'), path);
  }
  for (const text of ['', '{', '[]', 'null', '{"format":1,"files":[]}', '{"format":2}']) {
    await writeFile(manifestPath, text);
    await assert.rejects(into(), withCode('corrupt'), text);
  }
  await writeFile(manifestPath, manifest);
  await into();
  await appendFile(join(target, 'headgate.db'), 'x');
  await assert.rejects(into(), withCode('corrupt'));
  await rm(join(target, 'headgate.db'));
  await assert.rejects(into(), withCode('corrupt'));
  await rm(manifestPath);
  await assert.rejects(into(), withCode('not-found'));
});

test('a backup that is cut off anywhere is told, and not taken for one by a restore', async (t) => {
  const parent = await temporaryFolder(t);
  const folder = join(parent, 'data');
  const { store } = await openTestStore(t, { folder, video: { mediaFileMs: 2000 } });
  await store.log.createStream(streamOptions());
  await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(100_000) }]);
  const footage = parseFootage(await makeFootage({ seconds: 6, format: fragmentedFormat }));
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  await run.end('ended');
  await store.close();
  const [target, count] = [join(parent, 'backup'), join(parent, 'count')];
  const library = await buildShim(parent);
  const attempt = async (failAt?: number): Promise<string> => {
    await rm(target, { recursive: true, force: true });
    // No room from there on: nothing that follows reaches the disk either, as after a kill.
    const faults = failAt === undefined ? {} : { failAt, errno: 28, sticky: true };
    const env = { ...process.env, ...shimEnvironment(library, { root: target, count, ...faults }) };
    const script = join(import.meta.dirname, 'support/backup-once.ts');
    const args = [compiled(script), folder, target];
    const child = startChild(t, process.execPath, args, { env });
    await child.exited;
    return child.lines.at(-1) ?? '';
  };
  assert.equal(await attempt(), 'DONE');
  const operations = Number(await readFile(count, 'utf8'));
  const step = Math.ceil(operations / 10);
  for (let failAt = 1; failAt <= operations; failAt += failAt > operations - 5 ? 1 : step) {
    const said = await attempt(failAt);
    assert.match(said, /^TOLD (disk-full|write-failed)$/, `operation ${failAt} of ${operations}`);
    const place = join(parent, `restored-${failAt}`);
    const into = { source: target, folder: place, mediaFolder: join(place, 'media') };
    // With its last sync alone missing it is whole, for all that can be seen without a power cut.
    const isWhole = (await readdir(target).catch((): string[] => [])).includes('backup.json');
    assert.ok(!isWhole || failAt > operations - 3, `operation ${failAt} of ${operations}`);
    if (!isWhole) await assert.rejects(restoreStore(into), withCode('not-found'));
  }
});
