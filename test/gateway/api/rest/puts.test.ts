import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Places, Records } from '../../../../gateway/api/rest/stream-schemas.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

async function put(gateway: TestGateway, body: unknown, token = gateway.token): Promise<Response> {
  return gateway.app.request('http://localhost/api/v1/streams/readings/records', {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function makeStream(gateway: TestGateway): Promise<void> {
  await gateway.log.createStream({
    name: 'readings',
    shardCount: 2,
    mode: 'on-demand',
    retentionMs: 3_600_000,
    maxBytes: null,
    whenFull: 'refuse',
  });
}

test('records are stored together, and it is told where', async (t) => {
  const gateway = await startGateway(t);
  await makeStream(gateway);
  const response = await put(gateway, {
    records: [
      { partitionKey: 'a', data: 'text ä' },
      { encoding: 'base64', data: '/wA=', explicitHashKey: '0' },
      { data: '', explicitHashKey: '340282366920938463463374607431768211455' },
    ],
  });
  assert.equal(response.status, 200);
  const { places } = (await response.json()) as Places;
  assert.deepEqual([places.length, places[1]?.shard, places[2]?.shard], [3, 0, 1]);
  const stored = (await gateway.json('/api/v1/streams/readings/shards/0/records')) as Records;
  const binary = stored.records.find(({ sequence }) => sequence === places[1]?.sequence);
  assert.deepEqual([binary?.encoding, binary?.data], ['base64', '/wA=']);
  assert.ok((binary?.partitionKey.length ?? 0) > 0, 'a random key');
});

test('one wrong record, and none is stored', async (t) => {
  const gateway = await startGateway(t);
  await makeStream(gateway);
  const good = { data: 'good' };
  const wrong: readonly unknown[] = [
    {},
    { data: 1 },
    { data: 'x', encoding: 'hex' },
    { data: 'x', partitionKey: '' },
    { data: 'x', partitionKey: 'x'.repeat(257) },
    { data: 'x', partitionKey: '\ud800' },
    { data: 'x', explicitHashKey: '340282366920938463463374607431768211456' },
    { data: 'x', explicitHashKey: '-1' },
    { data: 'x', explicitHashKey: 1 },
    { data: 'x', surprise: true },
    { data: 'abc', encoding: 'base64' },
    { data: 'a_c=', encoding: 'base64' },
    { data: '====', encoding: 'base64' },
    null,
  ];
  for (const record of wrong) {
    const response = await put(gateway, { records: [good, record] });
    assert.equal(response.status, 400, JSON.stringify(record));
  }
  for (const body of ['', '{', '[]', '{"records":[]}', '{"records":{}}']) {
    assert.equal((await put(gateway, body)).status, 400, body);
  }
  const many = Array.from({ length: 501 }, () => good);
  assert.equal((await put(gateway, { records: many })).status, 400);
  const { shards } = gateway.log.stream('readings');
  assert.deepEqual(
    shards.map(({ nextSequence }) => nextSequence),
    [0, 0],
  );
});

test('a large body is taken from who may send it, and a larger one from nobody', async (t) => {
  const gateway = await startGateway(t);
  await makeStream(gateway);
  const large = { records: [{ data: 'x'.repeat(5 * 2 ** 20) }] };
  assert.equal((await put(gateway, large)).status, 200);
  assert.equal((await put(gateway, large, 'wrong')).status, 401);
  assert.equal((await put(gateway, 'x'.repeat(16 * 2 ** 20))).status, 413);
  assert.equal(
    (await put(gateway, { records: [{ data: 'x' }] })).status,
    200,
    'all was given back',
  );
});
