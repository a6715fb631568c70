import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { localMasterKey } from '../../../storage/keys.ts';
import type { Applications, Lease, SourceKey } from '../../../storage/model.ts';
import { repairStore } from '../../../storage/repair.ts';
import { databaseFileName, mediaFolderName, type StoreOptions } from '../../../storage/store.ts';
import { Database } from '../../../storage/sqlite.ts';
import { openTestStore, streamOptions, type TestStore } from '../support/open.ts';

const masterKey = localMasterKey(Buffer.alloc(32, 7));
const withKey = {
  masterKeys: () => Promise.resolve({ current: masterKey, previous: [] }),
} satisfies Partial<StoreOptions>;

function code(expected: StorageErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof StorageError && error.code === expected;
}

interface Planned extends TestStore {
  readonly applications: Applications;
  readonly lease: Lease;
  readonly source: SourceKey;
}

/** A shard of ten records, and a plan for the first five. */
async function withPlan(
  context: TestContext,
  encryption: 'none' | 'aes-256-gcm' = 'none',
): Promise<Planned> {
  const opened = await openTestStore(context, withKey);
  const { log } = opened.store;
  const { shards } = await log.createStream({ ...streamOptions(), encryption });
  const records = Array.from({ length: 10 }, () => ({ partitionKey: 'k', data: Buffer.from('x') }));
  await log.append('readings', records);
  await log.applications.ensure({ name: 'uplink', required: true });
  const source: SourceKey = { kind: 'shard', id: shards[0]!.id };
  const lease = await log.applications.acquire('uplink', source, 'a', 60_000, 0);
  await log.applications.savePlan(lease, { from: 0, to: 5, detail: null, createdMs: 1 });
  return Object.assign(opened, { applications: log.applications, lease, source });
}

async function save(
  { applications, lease }: Planned,
  pieces: readonly Buffer[],
  whole = true,
): Promise<void> {
  for (const [index, bytes] of pieces.entries()) {
    const isLast = whole && index === pieces.length - 1;
    await applications.savePlanOutput(lease, { index, bytes, isLast });
  }
}

async function outputOf({ applications, lease }: Planned): Promise<Buffer | null> {
  const output = await applications.planOutput(lease);
  if (output === null) return null;
  const pieces: Buffer[] = [];
  for await (const piece of output) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function findings({ folder }: TestStore): Promise<string[]> {
  const found: string[] = [];
  for await (const finding of checkStore({ folder })) found.push(finding.code);
  return found;
}

for (const encryption of ['none', 'aes-256-gcm'] as const) {
  test(`what a plan was made into is kept until the plan is complete (${encryption})`, async (t) => {
    const planned = await withPlan(t, encryption);
    const { applications, lease, store } = planned;
    const pieces = [randomBytes(1024 ** 2), Buffer.alloc(0), Buffer.from('the end of it')];
    assert.equal(await outputOf(planned), null);
    await save(planned, pieces.slice(0, 2), false);
    assert.equal(await outputOf(planned), null, 'half of it does not count');
    await save(planned, pieces);
    assert.deepEqual(await outputOf(planned), Buffer.concat(pieces));
    const rows = await store.queries.all<{ body: Buffer }>('SELECT body FROM plan_output');
    assert.equal(rows.length, 3);
    const isOpen = rows.some(({ body }) => body.includes('the end of it'));
    assert.equal(isOpen, encryption === 'none');
    assert.deepEqual(await findings(planned), []);
    await applications.completePlan(lease);
    assert.equal(await outputOf(planned), null);
    assert.deepEqual(await store.queries.all('SELECT * FROM plan_output'), []);
  });
}

test('a second attempt takes the place of the first, however long that was', async (t) => {
  const planned = await withPlan(t);
  await save(planned, [Buffer.from('a'), Buffer.from('b'), Buffer.from('c')]);
  await save(planned, [Buffer.from('d')]);
  assert.equal((await outputOf(planned))?.toString(), 'd');
  await save(planned, [Buffer.from('e'), Buffer.from('f')], false);
  assert.equal(await outputOf(planned), null);
  assert.deepEqual(await findings(planned), [], 'half-written is no damage');
});

test('only who holds the lease keeps anything, and only under a plan', async (t) => {
  const planned = await withPlan(t);
  const { applications, lease, source } = planned;
  const bytes = Buffer.from('a');
  await assert.rejects(
    applications.savePlanOutput(lease, {
      index: 0,
      bytes: Buffer.alloc(1024 ** 2 + 1),
      isLast: true,
    }),
    code('invalid-argument'),
  );
  await applications.completePlan(lease);
  const piece = { index: 0, bytes, isLast: true };
  await assert.rejects(applications.savePlanOutput(lease, piece), code('not-found'));
  await assert.rejects(applications.shortenPlan(lease, 6), code('not-found'));
  await applications.savePlan(lease, { from: 5, to: 10, detail: null, createdMs: 1 });
  await applications.release(lease);
  await applications.acquire('uplink', source, 'b', 60_000, 0);
  await assert.rejects(applications.savePlanOutput(lease, piece), code('lease-lost'));
  const append = { stream: 'readings', records: [] };
  await assert.rejects(applications.appendForPlan(lease, append, 7), code('lease-lost'));
});

test('it goes with the application, the lease and the stream', async (t) => {
  const rows = ({ store }: Planned) => store.queries.all('SELECT * FROM plan_output');
  const removed = await withPlan(t);
  await save(removed, [Buffer.from('a')]);
  await removed.applications.remove('uplink');
  assert.deepEqual(await rows(removed), []);
  const forgotten = await withPlan(t);
  await save(forgotten, [Buffer.from('a')]);
  await forgotten.applications.forget(forgotten.lease);
  assert.deepEqual(await rows(forgotten), []);
  const deleted = await withPlan(t);
  await save(deleted, [Buffer.from('a')]);
  await deleted.store.log.deleteStream('readings');
  assert.deepEqual(await rows(deleted), []);
});

test('a plan ends earlier, and what is behind that is planned anew', async (t) => {
  const { applications, lease } = await withPlan(t);
  await assert.rejects(applications.shortenPlan(lease, 0), code('invalid-argument'));
  await applications.shortenPlan(lease, 2);
  await applications.shortenPlan(lease, 4);
  assert.equal((await applications.plan(lease))?.to, 2, 'never later');
  assert.equal((await applications.completePlan(lease)).checkpoint, 2);
});

test('records are appended with the plan in one step, or not at all', async (t) => {
  const { applications, lease, store } = await withPlan(t);
  const { log } = store;
  await log.createStream({ ...streamOptions(), name: 'failed' });
  const records = [{ partitionKey: 'k', data: Buffer.from('bad') }];
  const head = (): number => log.stream('failed').shards[0]!.nextSequence;
  await applications.appendForPlan(lease, { stream: 'failed', records }, 3);
  assert.equal((await applications.plan(lease))?.appendedTo, 3);
  assert.equal(head(), 1);
  await assert.rejects(
    applications.completePlan(lease, { stream: 'nowhere', records }),
    code('not-found'),
  );
  assert.notEqual(await applications.plan(lease), null, 'the plan stays');
  const completed = await applications.completePlan(lease, { stream: 'failed', records });
  assert.equal(completed.checkpoint, 5);
  assert.equal(head(), 2);
});

test('check finds what is damaged, and repair has it made again', async (t) => {
  const planned = await withPlan(t);
  await save(planned, [Buffer.from('a'), Buffer.from('b')]);
  await planned.store.close();
  const path = `${planned.folder}/${databaseFileName}`;
  const change = async (sql: string): Promise<void> => {
    const database = await Database.open(path);
    await database.exec(sql);
    await database.close();
  };
  await change("UPDATE plan_output SET body = x'00' WHERE piece = 1");
  assert.deepEqual(await findings(planned), ['plan-output-damaged']);
  const { folder } = planned;
  const mediaFolder = `${folder}/${mediaFolderName}`;
  const repair = async (): Promise<string[]> => {
    const done: string[] = [];
    for await (const line of repairStore({ folder, mediaFolder, nowMs: 1 })) done.push(line);
    return done;
  };
  assert.match((await repair()).join('\n'), /made again/);
  assert.deepEqual(await findings(planned), []);
  await change('UPDATE plan SET output_pieces = 9');
  assert.deepEqual(await findings(planned), ['plan-output-damaged']);
  await repair();
  assert.deepEqual(await findings(planned), []);
  await change('UPDATE plan_output SET application_id = 99');
  assert.deepEqual(await findings(planned), ['plan-output-damaged']);
  await repair();
  assert.deepEqual(await findings(planned), []);
});
