/** What `npm run soak -- damage` does with hundreds of seeds, with some; and what it has found. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { checkStore } from '../../storage/check.ts';
import { repairStore } from '../../storage/repair.ts';
import { Database } from '../../storage/sqlite.ts';
import { salvageDatabase } from '../../storage/salvage.ts';
import type { Store } from '../../storage/store.ts';
import { damageOnce } from '../soak/damage.ts';
import { withScope } from '../support/scope.ts';
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

const seeds = 60;

test(`${seeds} damaged stores: nothing crashes or hangs, check names it, repair mends it`, async (t) => {
  let lost = 0;
  for (let seed = 1; seed <= seeds; seed += 1) {
    const figures = await withScope((scope) => damageOnce(scope, seed, () => undefined));
    lost += figures['lostRecords'] ?? 0;
  }
  t.diagnostic(`${lost} records were lost with their pages`);
  assert.ok(lost > 0, 'something was damaged');
});

let footage: ParsedFootage;
before(async () => {
  footage = parseFootage(await makeFootage({ seconds: 6, format: fragmentedFormat }));
});

/** A closed store with three media files of two fragments; and as a kill before the end left it. */
async function closedStore(
  t: TestContext,
): Promise<{ folder: string; killed: string; files: readonly string[] }> {
  const folder = join(await temporaryFolder(t), 'data');
  const { store } = await openTestStore(t, { folder, video: { mediaFileMs: 2000 } });
  await store.log.createStream(streamOptions());
  await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.from('one') }]);
  const once = { source: 'device', number: 7, digest: 'abc' };
  const record = { partitionKey: 'k', data: Buffer.from('once') };
  await store.received.appendOnce('readings', [{ records: [record], once }]);
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  const killed = `${folder}-killed`;
  await cp(folder, killed, { recursive: true });
  await run.end('ended');
  await store.close();
  const media = join(folder, 'media/gate.1/2026-01-01');
  return { folder, killed, files: (await readdir(media)).sort().map((name) => join(media, name)) };
}

const numbersOf = async (store: Store): Promise<readonly number[]> => {
  const found: number[] = [];
  for (const fragment of await store.video.latestFragments('gate', 100)) {
    const whole = await store.video.readFragment(fragment).catch(() => null);
    if (whole !== null) found.push(fragment.number);
  }
  return found;
};

async function codesOf(folder: string): Promise<readonly string[]> {
  const codes: string[] = [];
  for await (const { code } of checkStore({ folder })) codes.push(code);
  return codes;
}

async function repair(folder: string): Promise<string> {
  const options = { folder, mediaFolder: join(folder, 'media'), nowMs: 1_800_000_000_000 };
  const done: string[] = [];
  for await (const sentence of repairStore(options)) done.push(sentence);
  return done.join('\n');
}

const impostors: Readonly<Record<string, (path: string, other: string) => Promise<unknown>>> = {
  'a folder': (path) => mkdir(path),
  'a pipe': (path) => promisify(execFile)('mkfifo', [path]),
  'a link to nothing': (path) => symlink('/nowhere/at/all', path),
  'a link to another media file': (path, other) => symlink(other, path),
};

for (const [what, make] of Object.entries(impostors)) {
  test(`${what} in the place of a media file is named, and costs that file alone`, async (t) => {
    const { folder, files } = await closedStore(t);
    const [path, other] = [files[1]!, files[2]!];
    const untouched = await readFile(other);
    await rm(path);
    await make(path, other);
    const opened = await openTestStore(t, { folder });
    const served = await numbersOf(opened.store);
    assert.ok(served.length >= 3, `${served.length} fragments are served`);
    await opened.store.close();
    assert.deepEqual(await codesOf(folder), ['media-missing'], 'check names it');
    await repair(folder);
    assert.deepEqual(await codesOf(folder), []);
    assert.deepEqual(await numbersOf(await opened.reopen()), served, 'the rest is there');
    assert.deepEqual(await readFile(other), untouched, 'and nothing was written to it');
  });
}

test('a damaged schema that SQLite is content with is told, and its rows are saved by their place', async (t) => {
  const { folder } = await closedStore(t);
  const path = join(folder, 'headgate.db');
  const bytes = await readFile(path);
  const [name, damaged] = ['path TEXT NOT NULL', 'pbth TEXT NOT NULL'];
  const text = bytes.toString('latin1').replaceAll(name, damaged);
  assert.notEqual(text, bytes.toString('latin1'), 'the definition is found');
  await writeFile(path, text, 'latin1');
  await assert.rejects(openTestStore(t, { folder }), { code: 'corrupt' });
  assert.deepEqual(await codesOf(folder), ['database-damaged']);
  await repair(folder);
  assert.deepEqual(await codesOf(folder), []);
  const { store } = await openTestStore(t, { folder });
  assert.equal((await numbersOf(store)).length, 6);
});

test('a row whose number leads back to the first ones costs itself, and a salvage ends', async (t) => {
  const folder = join(await temporaryFolder(t), 'data');
  const { store } = await openTestStore(t, { folder });
  await store.log.createStream(streamOptions());
  for (let index = 0; index < 60; index += 1) {
    await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(500, index) }]);
  }
  await store.close();
  const path = join(folder, 'headgate.db');
  const bytes = await readFile(path);
  // The last of those that are read at a time; batches lie behind the schema, which has as many rows.
  const at = rowidPlaces(bytes).findLast((place) => bytes[place] === 32);
  assert.ok(at !== undefined, 'the row is found');
  bytes[at] = 0;
  await writeFile(path, bytes);
  const { rows } = await salvageDatabase(path, 1_800_000_000_000);
  assert.equal(rows['batch'], 59);
});

/** Where the leaves of tables have rowids below 128 (sqlite.org/fileformat2.html, 1.6). */
function rowidPlaces(bytes: Buffer): readonly number[] {
  const places: number[] = [];
  for (let page = 4096; page < bytes.length; page += 4096) {
    if (bytes[page] !== 0x0d) continue;
    const cells = bytes.readUInt16BE(page + 3);
    for (let cell = 0; cell < cells; cell += 1) {
      let place = page + bytes.readUInt16BE(page + 8 + 2 * cell);
      // The size of the row comes first.
      while (bytes[place]! >= 0x80) place += 1;
      places.push(place + 1);
    }
  }
  return places;
}

test('what sources may send again is still known after a salvage', async (t) => {
  const { folder } = await closedStore(t);
  const path = join(folder, 'headgate.db');
  await salvageDatabase(path, 1_800_000_000_000);
  const { store } = await openTestStore(t, { folder });
  const record = { partitionKey: 'k', data: Buffer.from('once') };
  const once = { source: 'device', number: 7, digest: 'abc' };
  await store.received.appendOnce('readings', [{ records: [record], once }]);
  const [shard] = store.log.stream('readings').shards;
  assert.equal(shard!.nextSequence, 2, 'the repetition is not stored again');
});

test('a damaged row of the index costs its own fragment, and repair makes it again', async (t) => {
  const { folder } = await closedStore(t);
  const database = await Database.open(join(folder, 'headgate.db'));
  const { number } = (await database.get<{ number: number }>(
    'SELECT number FROM fragment ORDER BY number LIMIT 1',
  ))!;
  await database.run("UPDATE fragment SET chunks = x'ff' WHERE number = ?", number);
  await database.close();
  const opened = await openTestStore(t, { folder });
  const { store, logger } = opened;
  const served = await numbersOf(store);
  assert.equal(served.length, 5);
  assert.ok(!served.includes(number), 'the damaged one is left out');
  assert.ok(
    logger.lines.some(({ fields }) => fields['fragment'] === number),
    'and named',
  );
  const [loss] = store.losses.report();
  assert.deepEqual([loss?.kind, loss?.subject, loss?.count], ['fragments-corrupt', 'gate', 1]);
  const [file] = await store.video.closedMediaFiles(1, 0, 1);
  let bytes = 0;
  for await (const piece of store.video.readMediaFile(file!.id)) bytes += piece.length;
  assert.equal(bytes, file!.bytes, 'the file keeps its length, and every offset');
  await store.close();
  assert.ok((await codesOf(folder)).includes('index-damaged'), 'check names it');
  await repair(folder);
  assert.deepEqual(await codesOf(folder), []);
  assert.equal((await numbersOf(await opened.reopen())).length, 6);
});

test('a span that is damaged in the index is left out of the list, and named', async (t) => {
  const { folder } = await closedStore(t);
  const database = await Database.open(join(folder, 'headgate.db'));
  const sql = 'SELECT number FROM fragment ORDER BY number LIMIT 1';
  const { number } = (await database.get<{ number: number }>(sql))!;
  await database.run('UPDATE fragment SET plain_bytes = -1 WHERE number = ?', number);
  await database.close();
  const { store, logger } = await openTestStore(t, { folder });
  const everything = { fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100 };
  const spans = await store.video.spans({ camera: 'gate', ...everything });
  assert.equal(spans.length, 5);
  assert.ok(spans.every((span) => span.number !== number));
  assert.ok(logger.lines.some(({ fields }) => fields['fragment'] === number));
});

for (const state of ['closed', 'killed']) {
  test(`an init that is damaged in the index of a ${state} store is named, and read from its files again`, async (t) => {
    const { folder: closed, killed } = await closedStore(t);
    const folder = state === 'closed' ? closed : killed;
    const database = await Database.open(join(folder, 'headgate.db'));
    await database.run("UPDATE init SET bytes = CAST(replace(bytes, 'mdia', 'mdib') AS BLOB)");
    await database.close();
    const { store } = await openTestStore(t, { folder });
    const [fragment] = await store.video.latestFragments('gate', 1);
    await assert.rejects(store.video.init(fragment!.initId), { code: 'corrupt' });
    await store.close();
    assert.deepEqual(await codesOf(folder), ['index-damaged']);
    await repair(folder);
    assert.deepEqual(await codesOf(folder), []);
    const { store: mended } = await openTestStore(t, { folder });
    assert.equal((await numbersOf(mended)).length, 6);
    await mended.video.init((await mended.video.latestFragments('gate', 1))[0]!.initId);
  });
}
