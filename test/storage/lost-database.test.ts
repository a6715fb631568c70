/** Databases that are gone, empty, cut, or without their first pages: named, and what is left is saved. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test, type TestContext } from 'node:test';
import { backupStore } from '../../storage/backup.ts';
import { checkStore } from '../../storage/check.ts';
import { repairStore } from '../../storage/repair.ts';
import { restoreStore } from '../../storage/restore.ts';
import { Database } from '../../storage/sqlite.ts';
import { buildShim, shimEnvironment } from '../crash/support/shim.ts';
import { startChild } from '../support/child.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { compiled } from '../support/program.ts';
import { ForeignFile, onSmallDisk } from '../support/small-disk.ts';
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
  type ParsedFootage,
  recordGroups,
} from './video/footage.ts';

const pageBytes = 4096;
const records = 60;
const fragments = 6;
const repairScript = join(import.meta.dirname, 'support/repair-once.ts');

let footage: ParsedFootage;
before(async () => {
  footage = parseFootage(await makeFootage({ seconds: 6, format: fragmentedFormat }));
});

interface Folders {
  /** Of a store that was closed in good order: all is in the database file. */
  readonly closed: string;
  /** Of one that was killed: all is in its write-ahead log. */
  readonly killed: string;
}

/** Sixty records in batches of their own, three media files of two fragments. */
async function makeStores(t: TestContext): Promise<Folders> {
  const parent = await temporaryFolder(t);
  const [closed, killed] = [join(parent, 'closed'), join(parent, 'killed')];
  const { store } = await openTestStore(t, { folder: closed, video: { mediaFileMs: 2000 } });
  await store.log.createStream(streamOptions());
  for (let index = 0; index < records; index += 1) {
    await store.log.append('readings', [{ partitionKey: 'k', data: dataOf(index) }]);
  }
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  await run.end('ended');
  await cp(closed, killed, { recursive: true });
  await store.close();
  return { closed, killed };
}

function dataOf(index: number): Buffer {
  return Buffer.alloc(2000, `record ${index} `);
}

const databaseOf = (folder: string): string => join(folder, 'headgate.db');

async function zeroPages(folder: string, count: number): Promise<void> {
  const bytes = await readFile(databaseOf(folder));
  await writeFile(databaseOf(folder), bytes.fill(0, 0, count * pageBytes));
}

async function findingsOf(folder: string): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const { code, what } of checkStore({ folder })) found.push(`${code}: ${what}`);
  return found;
}

async function repair(folder: string): Promise<readonly string[]> {
  const options = { folder, mediaFolder: join(folder, 'media'), nowMs: 1_800_000_000_000 };
  const done: string[] = [];
  for await (const sentence of repairStore(options)) done.push(sentence);
  return done;
}

/** Reads what there is, and holds it against what was written. */
async function served(
  t: TestContext,
  folder: string,
): Promise<{ records: number; fragments: number }> {
  const { store } = await openTestStore(t, { folder });
  const found = { records: 0, fragments: 0 };
  for (const { shards } of store.log.streams()) {
    const read = { shardId: shards[0]!.id, fromSequence: 0, maxRecords: 1000, maxBytes: 1e7 };
    for (const { sequence, data } of (await store.log.read(read)).records) {
      assert.deepEqual(data, dataOf(sequence));
      found.records += 1;
    }
  }
  for (const camera of await store.video.cameras()) {
    for (const fragment of await store.video.latestFragments(camera.name, 100)) {
      await store.video.readFragment(fragment);
      found.fragments += 1;
    }
  }
  await store.close();
  return found;
}

const losses: Readonly<
  Record<
    string,
    {
      readonly of: keyof Folders;
      readonly lose: (folder: string) => Promise<unknown>;
      /** At least so many records come back; the footage always does. */
      readonly records: number;
    }
  >
> = {
  'that is empty': { of: 'closed', lose: (folder) => truncate(databaseOf(folder)), records: 0 },
  'that is gone': { of: 'closed', lose: (folder) => rm(databaseOf(folder)), records: 0 },
  'that is a folder': {
    of: 'closed',
    lose: (folder) => rm(databaseOf(folder)).then(() => mkdir(databaseOf(folder))),
    records: 0,
  },
  'that is empty, with its write-ahead log': {
    of: 'killed',
    lose: (folder) => truncate(databaseOf(folder)),
    records,
  },
  'that is gone, with its write-ahead log left': {
    of: 'killed',
    lose: (folder) => rm(databaseOf(folder)),
    records,
  },
  'whose write-ahead log with all of its tables is zeros': {
    of: 'killed',
    lose: async (folder) => {
      const log = `${databaseOf(folder)}-wal`;
      await writeFile(log, (await readFile(log)).fill(0));
    },
    records: 0,
  },
  'without its first page': { of: 'closed', lose: (folder) => zeroPages(folder, 1), records },
  'without its first eight pages': {
    of: 'closed',
    lose: (folder) => zeroPages(folder, 8),
    records: 0,
  },
  'without its header': {
    of: 'closed',
    lose: async (folder) => {
      const bytes = await readFile(databaseOf(folder));
      await writeFile(databaseOf(folder), bytes.fill(0xff, 0, 100));
    },
    records,
  },
  'that is cut in the middle': {
    of: 'closed',
    lose: async (folder) => {
      const { length } = await readFile(databaseOf(folder));
      await truncate(databaseOf(folder), Math.floor(length * 0.7));
    },
    records: 10,
  },
};

for (const [what, loss] of Object.entries(losses)) {
  test(`a database ${what} is named and not begun anew; repair saves what is left`, async (t) => {
    const folder = (await makeStores(t))[loss.of];
    await loss.lose(folder);
    await assert.rejects(openTestStore(t, { folder }), { code: 'corrupt' });
    assert.match((await findingsOf(folder))[0] ?? '', /^database-damaged: /);
    await assert.rejects(
      openTestStore(t, { folder }),
      { code: 'corrupt' },
      'checking made nothing',
    );
    await repair(folder);
    assert.deepEqual(await findingsOf(folder), []);
    const found = await served(t, folder);
    assert.ok(found.records >= loss.records, `${found.records} records`);
    assert.equal(found.fragments, fragments);
    assert.deepEqual(await repair(folder), [], 'a second repair finds nothing to do');
  });
}

test('of several cameras that were lost with the database, all have their footage again', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  const { store } = await openTestStore(t, { folder, video: { mediaFileMs: 2000 } });
  for (const name of ['west', 'gate', 'attic']) {
    await store.video.ensureCamera(cameraOptions(name));
    const run = await beginRun(store, name, footage, newYearUs);
    await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
    await run.end('ended');
  }
  await store.close();
  await rm(databaseOf(folder));
  await repair(folder);
  assert.deepEqual(await findingsOf(folder), []);
  assert.deepEqual(await served(t, folder), { records: 0, fragments: 3 * fragments });
});

test('a camera whose row was lost with its page has its footage again', async (t) => {
  const { closed: folder } = await makeStores(t);
  const database = await Database.open(databaseOf(folder), { readOnly: true });
  const { rootpage } = (await database.get<{ rootpage: number }>(
    "SELECT rootpage FROM sqlite_schema WHERE name = 'camera'",
  ))!;
  await database.close();
  const bytes = await readFile(databaseOf(folder));
  const at = (rootpage - 1) * pageBytes;
  await writeFile(databaseOf(folder), bytes.fill(0, at, at + pageBytes));
  await repair(folder);
  assert.deepEqual(await findingsOf(folder), []);
  assert.deepEqual(await served(t, folder), { records, fragments });
});

test('a restored store, whose tables lie elsewhere in the file, is saved without its first page too', async (t) => {
  const { closed } = await makeStores(t);
  const parent = await temporaryFolder(t);
  const [backup, folder] = [join(parent, 'backup'), join(parent, 'restored')];
  await backupStore({
    ...{ folder: closed, mediaFolder: join(closed, 'media'), target: backup, logOnly: false },
    ...{ extras: [], madeBy: 'test', clock: new ManualClock() },
  });
  await restoreStore({ source: backup, folder, mediaFolder: join(folder, 'media') });
  await zeroPages(folder, 1);
  await repair(folder);
  assert.deepEqual(await findingsOf(folder), []);
  assert.deepEqual(await served(t, folder), { records, fragments });
});

test('a log without cameras that lost its database is not begun anew either', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  const opened = await openTestStore(t, { folder });
  await opened.store.log.createStream(streamOptions());
  await (await opened.reopen()).close();
  await rm(databaseOf(folder));
  await assert.rejects(openTestStore(t, { folder }), { code: 'corrupt' });
  await repair(folder);
  assert.deepEqual(await served(t, folder), { records: 0, fragments: 0 });
});

test('a start that was killed before it made its tables is no loss', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  await (await openTestStore(t, { folder })).store.close();
  await rm(join(folder, 'lock.db'));
  await truncate(databaseOf(folder));
  assert.deepEqual(await served(t, folder), { records: 0, fragments: 0 });
});

test('footage of a camera that was deleted does not come back with a repair', async (t) => {
  const { closed: folder } = await makeStores(t);
  const kept = join(await temporaryFolder(t), 'gate.1');
  await cp(join(folder, 'media/gate.1'), kept, { recursive: true });
  const { store } = await openTestStore(t, { folder });
  await store.video.deleteCamera('gate');
  await store.close();
  await cp(kept, join(folder, 'media/gate.1'), { recursive: true });
  await repair(folder);
  assert.deepEqual(await served(t, folder), { records, fragments: 0 });
});

test('where the media folder is out of reach the index of footage is left alone', async (t) => {
  const { closed: folder } = await makeStores(t);
  const [media, elsewhere] = [join(folder, 'media'), join(folder, 'unmounted')];
  await rename(media, elsewhere);
  await assert.rejects(repair(folder), { code: 'invalid-argument', message: /mounted/ });
  await rename(elsewhere, media);
  assert.deepEqual(await findingsOf(folder), []);
  assert.deepEqual(await served(t, folder), { records, fragments });
});

test('a repair that is cut off anywhere, or finds the disk full, can be begun again and loses nothing', async (t) => {
  const { closed } = await makeStores(t);
  await zeroPages(closed, 1);
  const parent = await temporaryFolder(t);
  const library = await buildShim(parent);
  const folder = join(parent, 'data');
  const count = join(parent, 'count');
  const attempt = async (faults: { failAt?: number; errno?: number; sticky?: boolean }) => {
    await rm(folder, { recursive: true, force: true });
    await cp(closed, folder, { recursive: true });
    const env = { ...process.env, ...shimEnvironment(library, { root: folder, count, ...faults }) };
    const child = startChild(t, process.execPath, [compiled(repairScript), folder], {
      env,
    });
    const { code } = await child.exited;
    const last = child.lines.at(-1) ?? '';
    assert.ok(code === 0 && /^(REPAIRED|TOLD)/.test(last), `${code}: ${child.lines.join('\n')}`);
    return last === 'REPAIRED';
  };
  assert.ok(await attempt({}));
  const operations = Number(await readFile(count, 'utf8'));
  let [cut, failAt] = [0, 0];
  // The last ones exchange the files: each of them; of those before, some.
  while (failAt < operations) {
    failAt += failAt < operations - 8 ? Math.ceil(operations / 12) : 1;
    const errno = failAt % 2 === 0 ? 5 : 28;
    if (await attempt({ failAt, errno, sticky: true })) continue;
    cut += 1;
    const left = await readdir(folder);
    if (!left.includes('headgate.db')) {
      await assert.rejects(
        openTestStore(t, { folder }),
        { code: 'corrupt' },
        'nothing is begun anew',
      );
      assert.match((await findingsOf(folder))[0] ?? '', /interrupted/);
    }
    await repair(folder);
    assert.deepEqual(await findingsOf(folder), [], `cut at ${failAt} of ${operations}`);
    assert.deepEqual(await served(t, folder), { records, fragments }, `cut at ${failAt}`);
    const rest = (await readdir(folder)).filter((name) => /salvage|repaired$/.test(name));
    assert.deepEqual(rest, [], 'nothing of it stays behind');
  }
  assert.ok(cut > 8, `${cut} were cut off`);
});

test('a repair on a full disk says so and leaves nothing behind; with room it is done', async (t) => {
  const { closed } = await makeStores(t);
  await zeroPages(closed, 1);
  await onSmallDisk(t, 8, async ({ mount }, scope) => {
    await cp(closed, mount, { recursive: true });
    const before = (await readdir(mount)).sort();
    const foreign = new ForeignFile(scope, mount);
    await foreign.grow();
    await assert.rejects(repair(mount), { code: 'disk-full' });
    assert.deepEqual((await readdir(mount)).filter((name) => name !== 'foreign').sort(), before);
    await foreign.remove();
    await repair(mount);
    assert.deepEqual(await findingsOf(mount), []);
    assert.deepEqual(await served(t, mount), { records, fragments });
  });
});

test('a database of another program is left as it is', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  await mkdir(folder);
  const other = await Database.open(databaseOf(folder));
  await other.exec('CREATE TABLE recipe (name TEXT)');
  await other.close();
  const bytes = await readFile(databaseOf(folder));
  await assert.rejects(openTestStore(t, { folder }), { code: 'invalid-argument' });
  await assert.rejects(findingsOf(folder), { code: 'invalid-argument' });
  await assert.rejects(repair(folder), { code: 'invalid-argument' });
  assert.deepEqual(await readFile(databaseOf(folder)), bytes);
});
