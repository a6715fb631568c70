import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StorageError } from '../../storage/errors.ts';
import type { OnceMessage } from '../../storage/model.ts';
import { Received } from '../../storage/received.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from './support/open.ts';

const once = (source: string, number: number, text: string): OnceMessage => ({
  records: [{ partitionKey: 'k', data: Buffer.from(text) }],
  once: { source, number, digest: text },
});

async function payloads({ store }: TestStore): Promise<readonly string[]> {
  const [shard] = store.log.stream('readings').shards;
  const all = { fromSequence: 0, maxRecords: 1000, maxBytes: 1e6 };
  const { records } = await store.log.read({ shardId: shard!.id, ...all });
  return records.map(({ data }) => data.toString());
}

test('of a message that is sent again nothing is appended, over a restart too', async (t) => {
  const opened = await openTestStore(t);
  await opened.store.log.createStream(streamOptions());
  const both = [once('a', 1, 'one'), once('b', 1, 'two')];
  await opened.store.received.appendOnce('readings', both);
  const store = await opened.reopen();
  const more = [once('a', 1, 'one'), once('a', 2, 'three'), once('b', 1, 'two')];
  await store.received.appendOnce('readings', more);
  assert.deepEqual(await payloads(opened), ['one', 'two', 'three']);
  await store.received.forget('a', 1);
  await store.received.appendOnce('readings', [once('a', 1, 'one')]);
  assert.deepEqual(await payloads(opened), ['one', 'two', 'three', 'one']);
  await store.received.forgetSource('b');
  assert.deepEqual([store.received.remembers('a'), store.received.remembers('b')], [true, false]);
});

test('what the log refuses is not remembered as taken', async (t) => {
  const opened = await openTestStore(t);
  const { log, received } = opened.store;
  await log.createStream(streamOptions({ maxBytes: 200, whenFull: 'refuse' }));
  await assert.rejects(received.appendOnce('readings', [once('a', 1, 'x'.repeat(500))]));
  assert.equal(received.remembers('a'), false);
  await received.appendOnce('readings', [once('a', 1, 'small')]);
  assert.deepEqual(await payloads(opened), ['small']);
});

test('past its limit it says overloaded; what nobody will repeat is dropped in time', async (t) => {
  const opened = await openTestStore(t);
  const { store, clock } = opened;
  await store.log.createStream(streamOptions());
  const limited = await Received.open({ ...store, clock, rowsMax: 2 });
  await limited.appendOnce('readings', [once('a', 1, 'one'), once('a', 2, 'two')]);
  await assert.rejects(
    limited.appendOnce('readings', [once('a', 3, 'three')]),
    (error) => error instanceof StorageError && error.code === 'overloaded' && error.retryable,
  );
  clock.advance(8 * 24 * hourMs);
  const { received } = await opened.reopen();
  assert.equal(received.remembers('a'), false);
});

test('after a step of the clock nothing is old', async (t) => {
  const opened = await openTestStore(t);
  const { store, clock } = opened;
  await store.log.createStream(streamOptions());
  await store.received.appendOnce('readings', [once('a', 1, 'one')]);
  clock.stepWall(8 * 24 * hourMs);
  await store.retention.run();
  const { received } = await opened.reopen();
  assert.equal(received.remembers('a'), true);
});
