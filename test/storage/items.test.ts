import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { checkStore } from '../../storage/check.ts';
import { itemLimits } from '../../storage/items/counts.ts';
import type { Decision, Items } from '../../storage/items/items.ts';
import type { Page } from '../../storage/items/rows.ts';
import { salvageDatabase } from '../../storage/salvage.ts';
import type { Store } from '../../storage/store.ts';
import { startChild } from '../support/child.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore, seededRandom } from './support/open.ts';

const none = Buffer.alloc(0);

async function open(t: TestContext): Promise<Store> {
  const { store } = await openTestStore(t, { folder: await temporaryFolder(t) });
  return store;
}

function key(hash: string, range = ''): { hash: Buffer; range: Buffer } {
  return { hash: Buffer.from(hash), range: Buffer.from(range) };
}

function kept(body: string, index?: string): Decision<null> {
  const entries =
    index === undefined ? [] : [{ index: 'i', hash: Buffer.from(index), range: none }];
  return { body, bytes: body.length, entries, result: null };
}

function put(items: Items, table: string, name: string, body: string, index?: string) {
  return items.change(table, key(...(name.split('/') as [string])), () => kept(body, index), 0);
}

async function read(items: Items, table: string, page: Partial<Page> = {}): Promise<string[]> {
  const known = items.table(table);
  assert.ok(known !== null);
  const start = { hash: none, range: none };
  const whole = { index: null, from: start, to: null, forward: true, limit: 100, bytes: 2 ** 20 };
  return (await items.read(known, { ...whole, ...page })).map(({ body }) => body);
}

test('items are read in the order of their keys, and of their index', async (t) => {
  const { items } = await open(t);
  await items.createTable('t', { any: 'thing' });
  for (const [name, index] of [
    ['b/2', 'y'],
    ['a/9', 'x'],
    ['b/1', 'x'],
    ['a/10', undefined],
  ] as const) {
    await put(items, 't', name, name, index);
  }
  assert.deepEqual(await read(items, 't'), ['a/10', 'a/9', 'b/1', 'b/2']);
  assert.deepEqual(await read(items, 't', { forward: false, limit: 2 }), ['b/2', 'b/1']);
  assert.deepEqual(await read(items, 't', { from: key('a', '9'), to: key('b', '2') }), [
    'a/9',
    'b/1',
  ]);
  assert.deepEqual(await read(items, 't', { index: 'i' }), ['a/9', 'b/1', 'b/2']);
  const from = { ...key('x'), item: key('a', '9\0') };
  assert.deepEqual(await read(items, 't', { index: 'i', from, to: key('y') }), ['b/1']);
  await put(items, 't', 'b/1', 'moved', 'z');
  await put(items, 't', 'a/9', 'left the index');
  assert.deepEqual(await read(items, 't', { index: 'i' }), ['b/2', 'moved']);
});

test('a page ends with the item that goes past its bytes', async (t) => {
  const { items } = await open(t);
  await items.createTable('t', {});
  for (const name of ['a', 'b', 'c', 'd']) await put(items, 't', name, name.repeat(10), name);
  for (const index of [null, 'i']) {
    const pageOf = async (bytes: number, more: Partial<Page> = {}): Promise<string> =>
      (await read(items, 't', { index, bytes, ...more })).map(([first]) => first).join('');
    assert.equal(await pageOf(1), 'a');
    assert.equal(await pageOf(10), 'a');
    assert.equal(await pageOf(11, { forward: false }), 'dc');
    assert.equal(await pageOf(1000, { limit: 3 }), 'abc');
  }
});

test('a change whose decision throws leaves all as it was', async (t) => {
  const { items } = await open(t);
  const table = await items.createTable('t', {});
  await put(items, 't', 'a', 'first', 'x');
  const refuse = items.change(
    ...(['t', key('a')] as const),
    (current) => {
      assert.equal(current, 'first');
      throw new Error('the condition failed');
    },
    0,
  );
  await assert.rejects(refuse, /the condition failed/);
  assert.deepEqual(await read(items, 't', { index: 'i' }), ['first']);
  assert.deepEqual(await items.counts(table), { items: 1, bytes: 5 });
  await items.change('t', key('a'), () => ({ ...kept(''), body: null }), 0);
  assert.deepEqual(await read(items, 't', { index: 'i' }), []);
  assert.deepEqual(await items.counts(table), { items: 0, bytes: 0 });
});

test('of many who take one lease at once, one gets it', async (t) => {
  const { items } = await open(t);
  await items.createTable('t', {});
  const takers = Array.from({ length: 50 }, (_, worker) =>
    items.change(
      ...(['t', key('lease')] as const),
      (current) => {
        if (current !== null) throw new Error('taken');
        return kept(`worker ${worker}`);
      },
      0,
    ),
  );
  const settled = await Promise.allSettled(takers);
  assert.equal(settled.filter(({ status }) => status === 'fulfilled').length, 1);
  assert.equal((await read(items, 't')).length, 1);
});

test('the limits of tables, items and bytes', async (t) => {
  const { items, writer } = await open(t);
  const table = await items.createTable('t', {});
  await put(items, 't', 'a', 'x');
  const set = (count: number, bytes: number): Promise<unknown> =>
    writer.transact((transaction) =>
      transaction.run('UPDATE item_table SET items = ?, bytes = ?', count, bytes),
    );
  await set(itemLimits.items, 0);
  await assert.rejects(put(items, 't', 'b', 'x'), { code: 'stream-full' });
  await put(items, 't', 'a', 'renewed');
  await set(1, itemLimits.bytes);
  await assert.rejects(put(items, 't', 'a', 'much longer than before'), { code: 'stream-full' });
  await put(items, 't', 'a', 'short');
  assert.deepEqual(await read(items, 't'), ['short']);
  for (let count = 1; count < itemLimits.tables; count += 1) {
    await items.createTable(`t${count}`, {});
  }
  await assert.rejects(items.createTable('one-more', {}), { code: 'stream-full' });
  await assert.rejects(items.createTable('t', {}), { code: 'already-exists' });
  assert.deepEqual(items.table('t'), table);
});

test('a deleted table leaves nothing, and a new one of its name is empty', async (t) => {
  const { items, queries, writer } = await open(t);
  await items.createTable('t', {});
  await put(items, 't', 'a', 'old', 'x');
  await items.deleteTable('t', () => undefined);
  await assert.rejects(put(items, 't', 'b', 'late'), { code: 'not-found' });
  await items.createTable('t', {});
  assert.deepEqual(await read(items, 't'), []);
  const rows = (): Promise<{ count: number } | undefined> =>
    queries.get('SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM item_entry) AS count');
  // What is asked of the writer now comes behind a step of the deletion.
  while ((await rows())?.count !== 0) await writer.transact(() => Promise.resolve());
});

test('an index made later has the items that were there', async (t) => {
  const { items } = await open(t);
  await items.createTable('t', { version: 1 });
  for (let count = 0; count < 1200; count += 1) void put(items, 't', `k${count}`, `${count % 3}`);
  await items.updateTable('t', () => ({
    definition: { version: 2 },
    newEntries: (body) => [{ index: 'i', hash: Buffer.from(body), range: none }],
  }));
  const twos = { index: 'i', from: key('2'), to: key('3'), limit: 1000 };
  assert.equal((await read(items, 't', twos)).length, 400);
  await items.updateTable('t', () => ({ definition: { version: 3 }, goneIndexes: ['i'] }));
  assert.equal((await read(items, 't', twos)).length, 0);
  assert.deepEqual(items.table('t')?.definition, { version: 3 });
});

test('killed at any moment, the leases are what was acknowledged, or the one after', async (t) => {
  const folder = await temporaryFolder(t);
  const random = seededRandom(3);
  const script = join(import.meta.dirname, 'support/renew-under-load.ts');
  const acknowledged = new Map<string, number>();
  for (let kill = 0; kill < 5; kill += 1) {
    const child = startChild(t, process.execPath, [compiled(script), folder]);
    await child.line(/^ACK/);
    const enough = child.lines.length + Math.floor(random() * 1500);
    while (child.lines.length < enough) await once(child.process.stdout!, 'data');
    await child.stop('SIGKILL');
    for (const line of child.lines) {
      const [, name = '', count] = /^ACK (\w+) (\d+)$/.exec(line) ?? [];
      if (name !== '') acknowledged.set(name, Number(count));
    }
    for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
    const { store } = await openTestStore(t, { folder });
    const { items } = store;
    const table = items.table('leases');
    assert.ok(table !== null);
    for (const [name, count] of acknowledged) {
      const held: number = Number(await items.get(table, key(name)));
      assert.ok(held === count || held === count + 1, `${name}: ${held} instead of ${count}`);
      const parity = { hash: Buffer.from([held % 2]), range: Buffer.from(name) };
      const [entry] = await read(items, 'leases', { index: 'by-parity', from: parity, limit: 1 });
      assert.equal(entry, String(held), 'the index is behind');
      acknowledged.set(name, held);
    }
    await store.close();
  }
  assert.equal(acknowledged.size, 4);
});

test('what is saved of a damaged database has its tables of items', async (t) => {
  const folder = await temporaryFolder(t);
  const { store } = await openTestStore(t, { folder });
  await store.items.createTable('t', { any: 'thing' });
  await put(store.items, 't', 'a', 'body', 'x');
  await store.close();
  const { gaps } = await salvageDatabase(join(folder, 'headgate.db'), 1);
  assert.deepEqual(gaps, []);
  const { store: saved } = await openTestStore(t, { folder });
  const table = saved.items.table('t');
  assert.deepEqual(table?.definition, { any: 'thing' });
  assert.deepEqual(await read(saved.items, 't', { index: 'i' }), ['body']);
  assert.deepEqual(await saved.items.counts(table), { items: 1, bytes: 4 });
});
