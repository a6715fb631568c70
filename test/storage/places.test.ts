import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../storage/clock.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

async function open(folder: string): Promise<Store> {
  const parts = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
  return openStore({ ...parts, folder });
}

test('places move together with the records, or not at all, and outlive a restart', async (t) => {
  const folder = await temporaryFolder(t);
  let store = await open(folder);
  t.after(() => store.close());
  await store.log.createStream({
    name: 'lines',
    shardCount: 1,
    mode: 'on-demand',
    retentionMs: 3_600_000,
    maxBytes: null,
    whenFull: 'refuse',
  });
  const records = [{ partitionKey: 'k', data: Buffer.from('one') }];
  const cut = { count: 1, bytes: 7 };
  const first = new Map<string, unknown>([
    ['a', { offset: 3 }],
    ['b', 'text'],
  ]);
  await store.places.move('app', first, { stream: 'lines', records, cut });
  await store.places.move('other', new Map([['a', 1]]), null);
  await assert.rejects(
    store.places.move('app', new Map([['a', { offset: 9 }]]), { stream: 'none', records, cut }),
    { code: 'not-found' },
  );
  await store.places.move('app', new Map([['b', undefined]]), null);
  await store.close();
  store = await open(folder);
  assert.deepEqual([...(await store.places.of('app'))], [['a', { offset: 3 }]]);
  assert.deepEqual([...(await store.places.of('other'))], [['a', 1]]);
  assert.equal(store.log.stream('lines').shards[0]?.nextSequence, 1);
  const [loss] = store.losses.report();
  assert.deepEqual([loss?.kind, loss?.count, loss?.bytes], ['lines-cut', 1, 7]);
});
