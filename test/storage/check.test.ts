import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Finding } from '../../storage/finding.ts';
import type { Log } from '../../storage/model.ts';
import { Database } from '../../storage/sqlite.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, seededRandom, streamOptions, type TestStore } from './support/open.ts';

const batches = 20;
const perBatch = 10;

/** A closed store with 20 batches of 10 records of 400 bytes, which are theirs alone. */
async function closedStore(context: TestContext): Promise<TestStore & { shardId: number }> {
  const opened = await openTestStore(context);
  const { log } = opened.store;
  const { shards } = await log.createStream(streamOptions());
  for (let batch = 0; batch < batches; batch += 1) {
    const records = Array.from({ length: perBatch }, (_, index) => ({
      partitionKey: `key-${index}`,
      data: Buffer.alloc(400, `record ${batch * perBatch + index} `),
    }));
    await log.append('readings', records);
  }
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  await log.applications.ensure({ name: 'uplink', required: true });
  await log.applications.acquire('uplink', source, 'me', 1000, 0);
  await opened.store.close();
  return Object.assign(opened, { shardId: shards[0]!.id });
}

async function findings(folder: string): Promise<Finding[]> {
  const found: Finding[] = [];
  for await (const finding of checkStore({ folder })) found.push(finding);
  return found;
}

async function change(folder: string, sql: string): Promise<void> {
  const database = await Database.open(join(folder, 'headgate.db'));
  await database.exec(sql);
  await database.close();
}

async function codesAfter(context: TestContext, sql: string): Promise<string[]> {
  const { folder } = await closedStore(context);
  await change(folder, sql);
  return [...new Set((await findings(folder)).map(({ code }) => code))];
}

async function readEverything(
  log: Log,
  shardId: number,
): Promise<{ texts: Set<string>; lost: number }> {
  const texts = new Set<string>();
  let lost = 0;
  for (let from = 0; ;) {
    const read = { shardId, fromSequence: from, maxRecords: 30, maxBytes: 1e9 };
    const { records, nextSequence, skipped, recordsBehind } = await log.read(read);
    for (const { data, sequence } of records) {
      assert.ok(
        data.equals(Buffer.alloc(400, `record ${sequence} `)),
        `record ${sequence} is wrong`,
      );
      texts.add(String(sequence));
    }
    lost += skipped.corrupt;
    assert.ok(nextSequence > from || recordsBehind === 0, 'the read does not get on');
    from = nextSequence;
    if (recordsBehind === 0) return { texts, lost };
  }
}

test('a sound store has no findings, closed or in use', async (t) => {
  const opened = await closedStore(t);
  assert.deepEqual(await findings(opened.folder), []);
  const store = await opened.reopen();
  const appending = Promise.all(
    Array.from({ length: 200 }, () =>
      store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(100) }]),
    ),
  );
  assert.deepEqual(await findings(opened.folder), []);
  await appending;
});

test('what is missing, doubled or lying in the rows is found and named', async (t) => {
  const ofBatch = (index: number): string => `WHERE first_sequence = ${index * perBatch}`;
  assert.deepEqual(await codesAfter(t, `DELETE FROM batch ${ofBatch(3)}`), ['sequence-gap']);
  assert.deepEqual(await codesAfter(t, `DELETE FROM batch ${ofBatch(0)}`), ['sequence-gap']);
  const shifted = await codesAfter(t, `UPDATE batch SET first_sequence = 35 ${ofBatch(4)}`);
  assert.ok(shifted.includes('sequence-overlap') && shifted.includes('batch-mismatch'));
  const counted = await codesAfter(t, `UPDATE batch SET record_count = 9 ${ofBatch(4)}`);
  assert.deepEqual(counted, ['batch-mismatch', 'sequence-gap']);
  assert.deepEqual(await codesAfter(t, `UPDATE batch SET end_bytes = 5 ${ofBatch(4)}`), [
    'batch-mismatch',
  ]);
  assert.deepEqual(await codesAfter(t, `UPDATE batch SET body = x'00' ${ofBatch(4)}`), [
    'batch-corrupt',
  ]);
  assert.deepEqual(await codesAfter(t, 'UPDATE lease SET source_id = 99'), ['lease-orphaned']);
  assert.deepEqual(await codesAfter(t, 'UPDATE lease SET checkpoint = 9999'), [
    'checkpoint-beyond-end',
  ]);
  assert.deepEqual(
    await codesAfter(t, "UPDATE shard SET last_hash_key = replace(last_hash_key, 'f', 'e')"),
    ['hash-range'],
  );
  assert.deepEqual(
    await codesAfter(t, 'UPDATE batch SET shard_id = 7 WHERE first_sequence = 190'),
    ['batch-orphaned'],
  );
});

test('a finding says how bad it is, where, what, and what to do', async (t) => {
  const { folder } = await closedStore(t);
  await change(folder, 'DELETE FROM batch WHERE first_sequence = 30');
  const [finding] = await findings(folder);
  assert.equal(finding?.severity, 'error');
  assert.equal(finding.where, 'stream readings, shard 0');
  assert.match(finding.what, /30 to 39/);
  assert.ok(finding.advice.length > 20);
});

test('a folder without a store, and a file that is none, are said to be so', async (t) => {
  const folder = await temporaryFolder(t);
  await assert.rejects(
    findings(folder),
    (error) => error instanceof StorageError && error.code === 'not-found',
  );
  await writeFile(join(folder, 'headgate.db'), Buffer.alloc(100_000, 'rubbish'));
  const found = await findings(folder);
  assert.ok(found.length > 0 && found.every(({ code }) => code === 'database-damaged'));
});

test('a corrupt batch is reported once, counted by each read, and all else is served', async (t) => {
  const opened = await closedStore(t);
  await change(
    opened.folder,
    `UPDATE batch SET body = CAST(substr(body, 1, 500) || x'ff' || substr(body, 502) AS BLOB)
      WHERE first_sequence IN (50, 120)`,
  );
  const { log } = await opened.reopen();
  for (let round = 0; round < 2; round += 1) {
    const { texts, lost } = await readEverything(log, opened.shardId);
    assert.equal(texts.size, (batches - 2) * perBatch);
    assert.equal(lost, 2 * perBatch);
  }
  assert.equal(opened.logger.lines.filter(({ level }) => level === 'error').length, 2);
  assert.equal(opened.metrics.values.get('headgate_log_corrupt_batches_total'), 2);
  const read = { shardId: opened.shardId, fromSequence: 55, maxRecords: 1, maxBytes: 1 };
  const result = await log.read(read);
  assert.equal(result.records[0]?.sequence, 60);
  assert.equal(result.skipped.corrupt, 5);
  assert.equal((await log.backlog(opened.shardId, 55)).records, 145);
});

test('flipped bytes anywhere in the file: found by the check, at most their batches lost', async (t) => {
  const { folder, shardId, reopen, store } = await closedStore(t);
  await store.close();
  const path = join(folder, 'headgate.db');
  const sound = await readFile(path);
  const random = seededRandom(11);
  let inBatches = 0;
  for (let flip = 0; flip < 100; flip += 1) {
    const damaged = Buffer.from(sound);
    // Past the first page, which says what kind of file it is.
    const at = 4096 + Math.floor(random() * (sound.length - 4096));
    damaged[at]! ^= 1 << Math.floor(random() * 8);
    await writeFile(path, damaged);
    // Elsewhere are the trees of the tables, which SQLite's own check is for.
    const around = sound.subarray(Math.max(0, at - 8), at + 8);
    const found = await findings(folder);
    if (!around.toString('latin1').includes('record')) continue;
    const opened = await reopen();
    const { texts, lost } = await readEverything(opened.log, shardId);
    await opened.close();
    // What a page no longer uses may hold old records: a flip there harms nothing.
    const harmed = found.some(({ code }) => code === 'batch-corrupt');
    assert.equal(lost, harmed ? perBatch : 0, `byte ${at}: ${JSON.stringify(found)}`);
    assert.equal(texts.size, batches * perBatch - lost);
    inBatches += lost > 0 ? 1 : 0;
  }
  assert.ok(inBatches > 20, `only ${inBatches} flips hit a batch`);
});

test('a page of the table that is destroyed costs the batches on it and nothing else', async (t) => {
  const { folder, shardId, reopen } = await closedStore(t);
  const path = join(folder, 'headgate.db');
  const database = await Database.open(path, { readOnly: true });
  const pages = await database.all<{ pageno: number }>(
    "SELECT pageno FROM dbstat WHERE name = 'batch' AND pagetype = 'leaf' ORDER BY pageno",
  );
  await database.close();
  assert.ok(pages.length >= 3);
  const sound = await readFile(path);
  for (const { pageno } of pages.slice(0, -1)) {
    await writeFile(path, Buffer.from(sound).fill(0, (pageno - 1) * 4096, pageno * 4096));
    const opened = await reopen();
    const { texts, lost } = await readEverything(opened.log, shardId);
    await opened.close();
    assert.ok(lost > 0 && lost < (batches * perBatch) / 2, `${lost} records are lost`);
    assert.equal(texts.size, batches * perBatch - lost);
    const codes = (await findings(folder)).map(({ code }) => code);
    assert.ok(codes.includes('database-damaged') && codes.includes('batch-corrupt'), String(codes));
  }
});
