import assert from 'node:assert/strict';
import { mkdir, open, readdir, readFile, rename, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test, type TestContext } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import type { StorageError } from '../../storage/errors.ts';
import { repairStore } from '../../storage/repair.ts';
import { Database } from '../../storage/sqlite.ts';
import type { Store } from '../../storage/store.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, seededRandom, streamOptions } from './support/open.ts';
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

let footage: ParsedFootage;
before(async () => {
  footage = parseFootage(await makeFootage({ seconds: 12, format: fragmentedFormat }));
});

const batches = 40;
const perBatch = 10;

/** A closed store: 400 records in batches of ten, three media files of four fragments. */
async function closedStore(context: TestContext): Promise<string> {
  const folder = join(await temporaryFolder(context), 'data');
  await mkdir(folder);
  const { store } = await openTestStore(context, { folder, video: { mediaFileMs: 4000 } });
  const { shards } = await store.log.createStream(streamOptions());
  for (let batch = 0; batch < batches; batch += 1) {
    const records = Array.from({ length: perBatch }, (_, index) => ({
      partitionKey: `key-${index}`,
      data: Buffer.alloc(400, `record ${batch * perBatch + index} `),
    }));
    await store.log.append('readings', records);
  }
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  await store.log.applications.ensure({ name: 'uplink', required: true });
  const lease = await store.log.applications.acquire('uplink', source, 'me', 1000, 0);
  await store.log.applications.checkpoint(lease, batches * perBatch);
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  await run.end('ended');
  await store.close();
  return folder;
}

async function repair(folder: string): Promise<string[]> {
  const done: string[] = [];
  const options = { folder, mediaFolder: join(folder, 'media'), nowMs: Date.now() };
  for await (const sentence of repairStore(options)) done.push(sentence);
  return done;
}

async function sound(folder: string, what: string): Promise<void> {
  for await (const finding of checkStore({ folder })) {
    assert.fail(`${what}: ${JSON.stringify(finding)}`);
  }
}

/** Reads all there is; what is read is right. Answers how many records and fragments. */
async function readAll(
  store: Store,
): Promise<{ records: number; lost: number; fragments: number }> {
  const found = { records: 0, lost: 0, fragments: 0 };
  for (const stream of store.log.streams()) {
    for (const { id } of stream.shards) {
      for (let from = 0, more = true; more;) {
        const read = await store.log.read({
          shardId: id,
          fromSequence: from,
          maxRecords: 99,
          maxBytes: 1e7,
        });
        for (const { data, sequence } of read.records) {
          assert.ok(data.equals(Buffer.alloc(400, `record ${sequence} `)), `record ${sequence}`);
        }
        found.records += read.records.length;
        found.lost += read.skipped.corrupt;
        more = read.nextSequence > from && read.recordsBehind > 0;
        from = read.nextSequence;
      }
    }
  }
  for (const { name } of await store.video.cameras()) {
    for (const fragment of await store.video.latestFragments(name, 1000)) {
      const whole = await store.video.readFragment(fragment).then(
        () => true,
        (error: unknown) => {
          assert.equal((error as StorageError).code, 'corrupt', String(error));
          return false;
        },
      );
      if (whole) found.fragments += 1;
    }
  }
  return found;
}

/** Opens the repaired store, reads it, writes to it. */
async function use(context: TestContext, folder: string): ReturnType<typeof readAll> {
  const { store } = await openTestStore(context, { folder });
  const found = await readAll(store);
  for (const { name, shards } of store.log.streams()) {
    const [place] = await store.log.append(name, [{ partitionKey: 'k', data: Buffer.alloc(5) }]);
    assert.ok(place!.sequence >= shards[0]!.nextSequence, 'a number was used twice');
  }
  await store.close();
  return found;
}

async function change(folder: string, sql: string): Promise<void> {
  const database = await Database.open(join(folder, 'headgate.db'));
  await database.exec(sql);
  await database.close();
}

async function mediaFiles(folder: string): Promise<string[]> {
  const entries = await readdir(join(folder, 'media'), { recursive: true });
  return entries.filter((name) => name.endsWith('.mp4')).sort();
}

async function flip(path: string, at: number, byte = 0xff): Promise<void> {
  const file = await open(path, 'r+');
  const old = Buffer.alloc(1);
  await file.read(old, 0, 1, at);
  await file.write(Buffer.from([old[0]! ^ byte]), 0, 1, at);
  await file.close();
}

test('a sound store is left as it is', async (t) => {
  const folder = await closedStore(t);
  assert.deepEqual(await repair(folder), []);
  assert.deepEqual(await use(t, folder), { records: 400, lost: 0, fragments: 12 });
});

test('a damaged batch is set aside, its numbers are kept, the loss is on the account', async (t) => {
  const folder = await closedStore(t);
  await change(
    folder,
    `UPDATE batch SET body = x'00112233' WHERE first_sequence = 100;
     DELETE FROM batch WHERE first_sequence = 200;
     DELETE FROM batch WHERE first_sequence = 390;
     UPDATE batch SET end_bytes = 5 WHERE first_sequence = 300;
     UPDATE batch SET record_count = 7 WHERE first_sequence = 310`,
  );
  const done = await repair(folder);
  assert.match(done.join('\n'), /records 100 to 109 was moved to .*readings-0-100\.batch/);
  await sound(folder, 'after the repair');
  const [time] = await readdir(join(folder, 'damaged'));
  const kept = join(folder, 'damaged', time!, 'readings-0-100.batch');
  assert.deepEqual(await readFile(kept), Buffer.from('00112233', 'hex'));
  const { store, logger } = await openTestStore(t, { folder });
  assert.deepEqual(await readAll(store), { records: 370, lost: 30, fragments: 12 });
  assert.equal(store.log.stream('readings').shards[0]!.nextSequence, 400);
  const loss = store.losses.report().find(({ kind }) => kind === 'records-corrupt');
  assert.equal(loss?.count, 30);
  assert.equal(logger.lines.filter(({ level }) => level === 'error').length, 0, 'it is known');
});

test('footage: what is damaged is marked, missing, cut, taken in or set aside', async (t) => {
  const folder = await closedStore(t);
  const [first, second, third] = (await mediaFiles(folder)).map((name) =>
    join(folder, 'media', name),
  );
  const middle = Math.floor((await stat(first!)).size / 2);
  await flip(first!, middle);
  await flip(first!, 20);
  await truncate(second!, Math.floor((await stat(second!)).size * 0.8));
  const stranger = join(folder, 'media', 'gate.1', 'stranger.txt');
  await rename(third!, `${third!}.away`);
  await rename(`${third!}.away`, third!);
  await change(
    folder,
    'DELETE FROM media_file WHERE id = 3; DELETE FROM fragment WHERE number / 4096 = 3',
  );
  await (await open(stranger, 'w')).close();
  const done = (await repair(folder)).join('\n');
  assert.match(done, /the init at its beginning was written again/);
  assert.match(done, /is lost \(its checksum is wrong\)/);
  assert.match(done, /is too short: \d fragments? w/);
  assert.match(done, /was not in the index: its \d fragments are now/);
  assert.match(done, /stranger\.txt is not in the index and can't be: it was moved/);
  await sound(folder, 'after the repair');
  const found = await use(t, folder);
  assert.ok(found.fragments >= 9 && found.fragments < 12, `${found.fragments} fragments`);
});

test('a media file that is gone leaves two runs, and no hole in what is served', async (t) => {
  const folder = await closedStore(t);
  await rm(join(folder, 'media', (await mediaFiles(folder))[1]!));
  await repair(folder);
  await sound(folder, 'after the repair');
  const { store } = await openTestStore(t, { folder });
  assert.equal((await store.video.runs('gate', 0, Number.MAX_SAFE_INTEGER)).length, 2);
});

test('flipped bytes anywhere in the database: what is whole is served, and a second check is clean', async (t) => {
  const pristine = await closedStore(t);
  const bytes = await readFile(join(pristine, 'headgate.db'));
  const random = seededRandom(20261121);
  for (let round = 0; round < 24; round += 1) {
    const damaged = Buffer.from(bytes);
    const places: number[] = [];
    const count = 1 + Math.floor(random() * 4);
    for (let index = 0; index < count; index += 1) {
      const at = Math.floor(random() * damaged.length);
      places.push(at);
      // A byte, or as much of a page as a bad sector takes.
      const length = random() < 0.5 ? 1 : 512;
      for (let k = at; k < Math.min(at + length, damaged.length); k += 1) {
        damaged[k] = Math.floor(random() * 256);
      }
    }
    const what = `round ${round}, bytes at ${places.join(', ')}`;
    const database = await open(join(pristine, 'headgate.db'), 'w');
    await database.writeFile(damaged);
    await database.close();
    for (const leftover of ['headgate.db-wal', 'headgate.db-shm']) {
      await rm(join(pristine, leftover), { force: true });
    }
    await repair(pristine);
    await sound(pristine, what);
    const found = await use(t, pristine);
    assert.ok(found.records + found.lost > 0 || found.fragments > 0, `${what}: nothing is left`);
  }
});

test('a stream whose shards were lost gets them back, with their records', async (t) => {
  for (const lost of ['shard_index = 1', '1']) {
    const folder = await temporaryFolder(t);
    const { store } = await openTestStore(t, { folder });
    const { log } = store;
    await log.createStream(streamOptions({ name: 'before' }));
    await log.createStream(streamOptions({ shardCount: 3 }));
    await log.createStream(streamOptions({ name: 'after' }));
    const records = Array.from({ length: 90 }, (_, index) => {
      return { partitionKey: `key-${index}`, data: Buffer.from(String(index)) };
    });
    const places = await log.append('readings', records);
    await store.close();
    const database = await Database.open(join(folder, 'headgate.db'));
    const ofStream = "stream_id = (SELECT id FROM stream WHERE name = 'readings')";
    await database.exec(`DELETE FROM shard WHERE ${ofStream} AND ${lost}`);
    await database.close();
    await repair(folder);
    await sound(folder, lost);
    const { store: mended } = await openTestStore(t, { folder });
    for (const [index, { shardId, sequence }] of places.entries()) {
      const one = { shardId, fromSequence: sequence, maxRecords: 1, maxBytes: 1 };
      const read = await mended.log.read(one);
      assert.equal(read.records[0]?.data.toString(), String(index), lost);
    }
    const [again] = await mended.log.append('readings', records.slice(0, 1));
    assert.equal(again?.shardId, places[0]?.shardId, 'keys go where they went');
    await mended.close();
  }
});

const resharded = [
  ['a shard that it began with, and that is open', 'DELETE FROM shard WHERE shard_index = 1'],
  ['one that is closed', 'DELETE FROM shard WHERE shard_index = 0'],
  ['a child', 'DELETE FROM shard WHERE shard_index = 4'],
  ['a closed child', 'DELETE FROM shard WHERE shard_index = 3'],
  ['all of them', 'DELETE FROM shard WHERE stream_id = 2'],
  ['keys that are none', "UPDATE shard SET first_hash_key = replace(first_hash_key, '0', 'x')"],
  ['keys of another', 'UPDATE shard SET last_hash_key = first_hash_key WHERE shard_index = 4'],
  ['parents that are none', "UPDATE shard SET parents = '[0' WHERE stream_id = 2"],
  ['parents of another', "UPDATE shard SET parents = '[3,1]' WHERE shard_index = 5"],
  ['what is closed', 'UPDATE shard SET closed_ms = NULL WHERE stream_id = 2'],
  ['what is open', 'UPDATE shard SET closed_ms = 5 WHERE stream_id = 2'],
  ['the next index', 'UPDATE stream SET next_shard_index = 2'],
  ['what a reshard wrote down for this', 'DELETE FROM shard_birth WHERE stream_id = 2'],
] as const;

for (const [what, sql] of resharded) {
  test(`a stream that was split and merged gets everything back: ${what}`, async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openTestStore(t, { folder });
    const { log } = store;
    await log.createStream(streamOptions({ name: 'before' }));
    await log.createStream(streamOptions({ shardCount: 3 }));
    const records = Array.from({ length: 90 }, (_, index) => {
      return { partitionKey: `key-${index}`, data: Buffer.from(String(index)) };
    });
    const places = [...(await log.append('readings', records))];
    const { shards } = await log.splitShard('readings', 0, 1n << 124n);
    await log.splitShard('before', 0, 1n << 127n);
    places.push(...(await log.append('readings', records)));
    await log.mergeShards('readings', 4, 1);
    await log.splitShard('readings', 5, shards[1]!.lastHashKey);
    places.push(...(await log.append('readings', records)));
    await log.setAttribute('readings', 'tags', { kept: true });
    const before = log.stream('readings').shards.map(({ index, closedMs, ...shard }) => {
      return { index, isClosed: closedMs !== null, keys: [shard.firstHashKey, shard.lastHashKey] };
    });
    await store.close();
    await change(folder, sql);
    await repair(folder);
    await sound(folder, what);
    assert.deepEqual(await repair(folder), [], 'once is enough');
    const { store: mended } = await openTestStore(t, { folder });
    const stream = mended.log.stream('readings');
    assert.deepEqual(
      stream.shards.map(({ index, closedMs, ...shard }) => {
        return {
          index,
          isClosed: closedMs !== null,
          keys: [shard.firstHashKey, shard.lastHashKey],
        };
      }),
      before,
    );
    assert.deepEqual(stream.attributes, { tags: { kept: true } });
    for (const [index, { shardId, sequence }] of places.entries()) {
      const one = { shardId, fromSequence: sequence, maxRecords: 1, maxBytes: 1 };
      const read = await mended.log.read(one);
      assert.equal(read.records[0]?.data.toString(), String(index % 90));
    }
    const again = await mended.log.append('readings', records);
    assert.deepEqual(
      again.map(({ shardId }) => shardId),
      places.slice(180).map(({ shardId }) => shardId),
      'keys go where they went',
    );
    const { shards: after } = await mended.log.resizeStream('readings', 4);
    assert.ok(after.at(-1)!.index > before.at(-1)!.index, 'no index comes again');
    await mended.close();
  });
}

test('a child that is lost without a trace leaves its keys to a new shard', async (t) => {
  const folder = await temporaryFolder(t);
  const { store } = await openTestStore(t, { folder });
  await store.log.createStream(streamOptions());
  await store.log.splitShard('readings', 0, 1n << 127n);
  await store.close();
  await change(folder, 'DELETE FROM shard WHERE shard_index = 2; DELETE FROM shard_birth');
  await repair(folder);
  await sound(folder, 'after the repair');
  const { store: mended } = await openTestStore(t, { folder });
  const { shards } = mended.log.stream('readings');
  assert.deepEqual(
    shards.map(({ index, closedMs }) => [index, closedMs !== null]),
    [
      [0, true],
      [1, false],
      [3, false],
    ],
  );
  const [place] = await mended.log.append('readings', [
    { partitionKey: 'k', data: Buffer.alloc(1), explicitHashKey: (1n << 128n) - 1n },
  ]);
  assert.equal(place!.shardIndex, 3);
});

test('damaged attributes are told and removed; a damaged shard is no crash', async (t) => {
  const folder = await closedStore(t);
  await change(
    folder,
    `INSERT INTO stream_attribute (stream_id, key, value) VALUES (1, 'tags', '{"half'), (9, 'a', '1')`,
  );
  const codes: string[] = [];
  for await (const finding of checkStore({ folder })) codes.push(finding.code);
  assert.deepEqual(codes, ['attribute-damaged', 'attribute-damaged']);
  const { store } = await openTestStore(t, { folder });
  assert.deepEqual(store.log.stream('readings').attributes, {});
  await store.close();
  await repair(folder);
  await sound(folder, 'after the repair');
  await change(folder, "UPDATE shard SET last_hash_key = replace(last_hash_key, 'f', 'x')");
  await assert.rejects(openTestStore(t, { folder }), (error) => {
    return (error as StorageError).code === 'corrupt' && /check --repair/.test(String(error));
  });
  await repair(folder);
  await sound(folder, 'after the second repair');
});

test('shards whose stream was lost with its page go, and all that belongs to them', async (t) => {
  const folder = await closedStore(t);
  const database = await Database.open(join(folder, 'headgate.db'));
  await database.run('DELETE FROM stream');
  await database.run('DELETE FROM batch WHERE first_sequence >= 100');
  await database.close();
  const done = await repair(folder);
  assert.ok(done.some((sentence) => /^1 rows of the table shard /.test(sentence)));
  await sound(folder, 'repaired');
  const mended = await Database.open(join(folder, 'headgate.db'));
  for (const table of ['shard', 'batch', 'lease']) {
    assert.deepEqual(await mended.all(`SELECT 1 FROM ${table}`), [], table);
  }
  await mended.close();
});
