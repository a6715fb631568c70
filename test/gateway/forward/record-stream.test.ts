import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Delivery } from '../../../gateway/forward/delivery.ts';
import type { OutgoingRecord, RecordSink } from '../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { failedOf } from './support/failed.ts';
import { assertExactlyOnce } from './support/lines.ts';
import { startProxy, type Passing } from './support/proxy.ts';
import { numbered, openRig, streamOptions } from './support/rig.ts';
import { createStream, credentials, readStream, startKinesis } from './support/servers.ts';
import { passSome } from './support/throttle.ts';

const options = {
  name: 'live',
  from: { stream: 'readings' },
  to: { kinesis: { stream: 'upstream' } },
} as const;

/** kinesalite with a stream of two shards, and something in the way. */
async function upstream(context: TestContext, handler: (passing: Passing) => Promise<void>) {
  const { endpoint, client } = await startKinesis(context);
  await createStream(client, 'upstream', 2);
  const proxy = await startProxy(context, endpoint, handler);
  const read = async (): Promise<{ key: string; id: number }[]> =>
    (await readStream(client, 'upstream')).map(({ key, data }) => ({
      key,
      id: (JSON.parse(data.toString()) as { id: number }).id,
    }));
  const makeSink = () =>
    kinesisSink({ stream: 'upstream', endpoint: proxy.endpoint, credentials, idleTimeoutMs: 5000 });
  return { read, makeSink };
}

function assertOrderPerKey(records: readonly { key: string; id: number }[]): void {
  const last = new Map<string, number>();
  for (const { key, id } of records) {
    assert.ok(id > (last.get(key) ?? -1), `${key}: ${id} after ${last.get(key) ?? ''}`);
    last.set(key, id);
  }
}

async function drained(delivery: Delivery): Promise<void> {
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
}

test('every record of every shard arrives, in order within its key', async (context) => {
  const { read, makeSink } = await upstream(context, (passing) => passSome(passing, () => false));
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings', 4));
  const delivery = rig.start(options, makeSink());
  for (let first = 0; first < 3000; first += 300) {
    await rig.store.log.append('readings', numbered(first, 300, 60));
  }
  await rig.metrics.sent(3000);
  const records = await read();
  assertExactlyOnce(
    records.map(({ id }) => id),
    3000,
  );
  assertOrderPerKey(records);
  await drained(delivery);
  assert.equal((await delivery.status()).state, 'idle');
});

test('throttled records are sent again alone; the order within a key holds', async (context) => {
  let calls = 0;
  let random = 1;
  const { read, makeSink } = await upstream(context, async (passing) => {
    calls += 1;
    await passSome(passing, () => {
      random = (random * 48271) % 2147483647;
      return random % 10 < 3;
    });
  });
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings', 2));
  const delivery = rig.start(options, makeSink());
  await rig.store.log.append('readings', numbered(0, 1000, 100));
  await rig.metrics.sent(1000);
  const records = await read();
  assertExactlyOnce(
    records.map(({ id }) => id),
    1000,
  );
  assertOrderPerKey(records);
  assert.ok(calls > 10);
  const status = await delivery.status();
  assert.equal(status.lastFailure?.code, 'throttled');
  const said = rig.logger.lines.filter(({ message }) => /^a delivery/.test(message));
  assert.ok(said.length < 20, 'a flood of refusals is no flood of log lines');
});

test('a key that is stuck holds up no other key', async (context) => {
  let stuck = true;
  const { read, makeSink } = await upstream(context, (passing) =>
    passSome(passing, (key) => stuck && key === 'key-3'),
  );
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  const delivery = rig.start(options, makeSink());
  await rig.store.log.append('readings', numbered(0, 700, 7));
  await rig.metrics.sent(600);
  const status = await delivery.status();
  assert.equal(status.state, 'backing-off');
  assert.equal(status.backlog.records, 697, 'the checkpoint waits at the first record not taken');
  stuck = false;
  await rig.metrics.sent(700);
  const records = await read();
  assertExactlyOnce(
    records.map(({ id }) => id),
    700,
  );
  assertOrderPerKey(records);
});

test('lost answers and a stop: nothing is lost, and first arrivals are in order', async (context) => {
  let calls = 0;
  const { read, makeSink } = await upstream(context, async (passing) => {
    calls += 1;
    if (calls % 4 !== 2) {
      await passSome(passing, () => false);
      return;
    }
    await passing.ask();
    passing.response.destroy();
  });
  const folder = await temporaryFolder(context);
  const first = await openRig(context, { folder });
  await first.store.log.ensureStream(streamOptions('readings'));
  await first.store.log.append('readings', numbered(0, 1000, 50));
  first.start(options, makeSink());
  await first.metrics.sent(300);
  await first.close();
  const second = await openRig(context, { folder });
  const delivery = second.start(options, makeSink());
  await second.metrics.until(() => true);
  await drained(delivery);
  const seen = new Set<number>();
  const records = (await read()).filter(({ id }) => !seen.has(id) && seen.add(id));
  assertExactlyOnce([...seen], 1000);
  assertOrderPerKey(records);
});

test('a record larger than the destination takes is put aside, and all others go on', async (context) => {
  const { read, makeSink } = await upstream(context, (passing) => passSome(passing, () => false));
  const rig = await openRig(context);
  await rig.store.log.ensureStream(streamOptions('readings'));
  const large = { partitionKey: 'key-1', data: Buffer.alloc(1024 ** 2 + 1, 'x') };
  const withKey = { partitionKey: 'k'.repeat(200), data: Buffer.alloc(1024 ** 2 - 100, 'y') };
  await rig.store.log.append('readings', [large, ...numbered(0, 50), large, withKey]);
  await rig.store.log.append('readings', numbered(50, 50));
  const delivery = rig.start(options, makeSink());
  await rig.metrics.sent(100);
  await drained(delivery);
  const records = await read();
  assertExactlyOnce(
    records.map(({ id }) => id),
    100,
  );
  assertOrderPerKey(records);
  const failed = await failedOf(rig.store.log, 'live');
  assert.deepEqual(
    failed.map(({ sequence, stage, errorCode }) => [sequence, stage, errorCode]),
    [0, 51, 52].map((sequence) => [sequence, 'delivery-failed', 'too-large']),
  );
  assert.match(failed[0]!.errorMessage, /1048577 bytes, and the destination takes 1048576/);
  assert.match(failed[2]!.errorMessage, /with its key it has 1048676 bytes/);
  assert.equal(failed[0]!.rawData, large.data.toString('base64'));
  assert.equal((await delivery.status()).lostRecords, 0);

  // Once the stream takes them, they are sent again from where they are kept.
  await delivery.close();
  const taken: OutgoingRecord[] = [];
  const larger: RecordSink = {
    ...{ kind: 'kinesis', description: 'memory', close: () => Promise.resolve() },
    limits: { records: 500, bytes: 5 * 1024 ** 2, recordBytes: 2 * 1024 ** 2 },
    send: (some) => {
      taken.push(...some);
      return Promise.resolve(some.map(() => null));
    },
  };
  const again = rig.start(options, larger);
  assert.equal(await again.replay(), 3);
  await rig.metrics.sent(103);
  for (const { partitionKey, data } of [large, withKey]) {
    const same = taken.filter((record) => record.partitionKey === partitionKey);
    assert.ok(
      same.every((record) => record.data.equals(data)),
      partitionKey,
    );
    assert.equal(same.length, partitionKey === 'key-1' ? 2 : 1);
  }
});
