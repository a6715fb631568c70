import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startGateway } from '../../http/gateway.ts';

test('what a stream took is told over REST, and described in OpenAPI', async (t) => {
  const gateway = await startGateway(t);
  await gateway.log.createStream({
    ...{ name: 'readings', shardCount: 2, mode: 'on-demand', retentionMs: 86_400_000 },
    ...{ maxBytes: null, whenFull: 'refuse' },
  });
  await gateway.log.append('readings', [{ partitionKey: 'abc', data: Buffer.alloc(100) }]);
  gateway.clock.advance(3_600_000);
  const measure = { consumer: null, shard: null, lastMinute: 0 };
  assert.deepEqual(await gateway.json('/api/v1/streams/readings/metering'), {
    sinceTime: '2026-01-01T00:00:00.000Z',
    metrics: [
      { name: 'IncomingBytes', unit: 'Bytes', total: 103, ...measure },
      { name: 'IncomingRecords', unit: 'Count', total: 1, ...measure },
      { name: 'PutPayloadUnits', unit: 'Count', total: 1, ...measure },
      { name: 'ShardHours', unit: 'Hours', total: 2, ...measure, lastMinute: 0.033333 },
    ],
  });
  assert.equal((await gateway.get('/api/v1/streams/nowhere/metering')).status, 404);
  const { paths } = (await gateway.json('/api/v1/openapi.json')) as { paths: object };
  assert.ok('/streams/{name}/metering' in paths);
});
