import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { DeliveriesSchema } from '../../../../gateway/api/rest/delivery-schemas.ts';
import { ErrorSchema } from '../../../../gateway/api/rest/error-schemas.ts';
import { StatusSchema } from '../../../../gateway/api/rest/status-schemas.ts';
import {
  KeysSchema,
  RecordsSchema,
  SeriesSchema,
  ShardsSchema,
  StreamSchema,
  StreamsSchema,
} from '../../../../gateway/api/rest/stream-schemas.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

const hourMs = 3_600_000;

async function withStream(context: TestContext, shardCount = 2): Promise<TestGateway> {
  const gateway = await startGateway(context);
  await gateway.log.createStream({
    name: 'readings',
    shardCount,
    mode: 'on-demand',
    retentionMs: 24 * hourMs,
    maxBytes: null,
    whenFull: 'refuse',
  });
  return gateway;
}

async function append(gateway: TestGateway, partitionKey: string, data: unknown): Promise<void> {
  const bytes = Buffer.isBuffer(data) ? data : Buffer.from(JSON.stringify(data));
  await gateway.log.append('readings', [{ partitionKey, data: bytes }]);
}

async function refused(gateway: TestGateway, path: string): Promise<string> {
  const response = await gateway.get(path);
  return `${response.status} ${ErrorSchema.parse(await response.json()).error.code}`;
}

test('the status adds up what there is', async (context) => {
  const gateway = await withStream(context);
  await append(gateway, 'a', { value: 1 });
  await gateway.video.ensureCamera({
    name: 'gate',
    retentionMs: null,
    maxBytes: null,
    events: null,
  });
  const message = 'the bucket is away: check the uplink';
  gateway.sources.health = () =>
    Promise.resolve({
      status: 'degraded',
      checks: [{ name: 'uplink', status: 'degraded', message }],
    });
  gateway.sources.mqtt = () => ({
    address: '127.0.0.1:1883',
    status: {
      connections: 3,
      pendingConnections: 0,
      failedConnections: 1,
      received: 9,
      messagesPerSecond: 0.5,
      bytesPerSecond: 20,
      unrouted: 2,
      lost: 0,
      inflightBytes: 0,
      routes: [
        {
          topic: 'sensors/#',
          stream: 'readings',
          messages: 7,
          bytes: 140,
          undecodable: 4,
          keyFallbacks: 0,
          lastMessageMs: gateway.clock.nowMs(),
        },
      ],
    },
  });
  const status = StatusSchema.parse(await gateway.json('/api/v1/status'));
  assert.equal(status.time, '2026-01-01T00:00:00.000Z');
  assert.equal(status.health.checks[0]?.message, message);
  assert.equal(status.mqtt?.undecodableMessages, 4);
  assert.equal(status.counts.streams, 1);
  assert.equal(status.counts.cameras, 1);
  assert.ok(status.storage.logBytes > 0);
});

test('streams, their shards and their rate', async (context) => {
  const gateway = await withStream(context, 4);
  gateway.clock.advance(60_000);
  for (let i = 0; i < 20; i++) await append(gateway, `key-${i}`, { value: i });
  const { streams } = StreamsSchema.parse(await gateway.json('/api/v1/streams'));
  assert.equal(streams.length, 1);
  const stream = StreamSchema.parse(await gateway.json('/api/v1/streams/readings'));
  assert.deepEqual(stream, streams[0]);
  assert.equal(stream.storedRecords, 20);
  assert.equal(stream.openShards, 4);
  assert.equal(stream.rate?.recordsPerSecond, 2);
  gateway.clock.advance(11_000);
  const later = StreamSchema.parse(await gateway.json('/api/v1/streams/readings'));
  assert.equal(later.rate?.recordsPerSecond, 0);

  const { shards } = ShardsSchema.parse(await gateway.json('/api/v1/streams/readings/shards'));
  assert.equal(shards[0]?.firstHashKey, '0');
  assert.equal(shards[3]?.lastHashKey, (2n ** 128n - 1n).toString());
  assert.equal(
    shards.reduce((sum, shard) => sum + shard.nextSequence, 0),
    20,
  );
});

test('records by sequence, by time, earliest and latest, as they were put', async (context) => {
  const gateway = await withStream(context, 1);
  for (let i = 0; i < 10; i++) {
    await append(gateway, 'a', { value: i });
    gateway.clock.advance(1_000);
  }
  await append(gateway, 'b', Buffer.from([0xff, 0x00]));
  const read = async (query: string) =>
    RecordsSchema.parse(await gateway.json(`/api/v1/streams/readings/shards/0/records?${query}`));

  const earliest = await read('limit=3');
  assert.deepEqual(
    earliest.records.map(({ data }) => data),
    ['{"value":0}', '{"value":1}', '{"value":2}'],
  );
  assert.equal(earliest.nextSequence, 3);
  assert.deepEqual(earliest.behind, { records: 8, ms: 8_000 });
  const second = await read('sequence=3&limit=1');
  assert.equal(second.records[0]?.arrivalTime, '2026-01-01T00:00:03.000Z');
  const byTime = await read('time=2026-01-01T00:00:04.500Z&limit=1');
  assert.equal(byTime.records[0]?.sequence, 5);
  const byMs = await read(`time=${Date.UTC(2026, 0, 1, 0, 0, 4)}&limit=1`);
  assert.equal(byMs.records[0]?.sequence, 4);
  const offset = await read('time=2026-01-01T01:00:04+01:00&limit=1');
  assert.equal(offset.records[0]?.sequence, 4, 'a + that was not escaped is what was meant');
  const latest = await read('position=latest&limit=2');
  assert.deepEqual(
    latest.records.map(({ encoding, data }) => [encoding, data]),
    [
      ['utf8', '{"value":9}'],
      ['base64', '/wA='],
    ],
  );
  assert.deepEqual((await read('sequence=11')).records, []);
});

test('bad queries are named, with the field', async (context) => {
  const gateway = await withStream(context);
  const records = '/api/v1/streams/readings/shards/0/records';
  const range = 'from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z';
  for (const path of [
    `${records}?limit=0`,
    `${records}?limit=1000000`,
    `${records}?limit=x`,
    `${records}?sequence=-1`,
    `${records}?sequence=1e400`,
    `${records}?time=yesterday`,
    `${records}?time=2026-01-01`,
    `${records}?time=2026-01-01T00:00:00`,
    `${records}?sequence=1&position=latest`,
    '/api/v1/streams/readings/shards/first/records',
    '/api/v1/streams/readings/series?keys=a',
    `/api/v1/streams/readings/series?${range}`,
    `/api/v1/streams/readings/series?keys=a&${range}&points=0`,
    `/api/v1/streams/readings/series?keys=${'a'.repeat(300)}&${range}`,
    `/api/v1/streams/readings/series?${'keys=a&'.repeat(33)}${range}`,
    '/api/v1/streams/readings/keys?from=5&to=5',
    `/api/v1/streams/${'x'.repeat(129)}`,
  ]) {
    assert.equal(await refused(gateway, path), '400 bad-request', path);
  }
  const response = await gateway.get(`${records}?limit=0`);
  const { error } = ErrorSchema.parse(await response.json());
  assert.equal(error.details[0]?.field, 'limit');
  const missing = await gateway.get('/api/v1/streams/readings/series?to=5');
  assert.equal(
    ErrorSchema.parse(await missing.json()).error.message,
    'The request is not right: from: is missing; keys: is missing',
  );
  assert.equal(await refused(gateway, '/api/v1/streams/none'), '404 not-found');
  assert.equal(
    await refused(gateway, '/api/v1/streams/readings/shards/9/records'),
    '404 not-found',
  );
  assert.equal(await refused(gateway, '/api/v1/nothing'), '404 not-found');
});

test('keys seen, each with its numeric fields', async (context) => {
  const gateway = await withStream(context);
  await append(gateway, 'kitchen', { at: 'x', air: { celsius: 20, humidity: 0.5 }, ok: true });
  gateway.clock.advance(1_000);
  await append(gateway, 'kitchen', { air: { celsius: 21 }, list: [1, 2] });
  await append(gateway, 'plain', 42);
  await append(gateway, 'binary', Buffer.from([0xff]));
  await append(gateway, 'empty', Buffer.alloc(0));
  const keys = KeysSchema.parse(
    await gateway.json(
      '/api/v1/streams/readings/keys?from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z',
    ),
  );
  assert.deepEqual(
    keys.keys.map(({ key, records, fields }) => [key, records, fields]),
    [
      ['binary', 1, []],
      ['empty', 1, []],
      ['kitchen', 2, ['air.celsius', 'air.humidity']],
      ['plain', 1, ['']],
    ],
  );
  assert.equal(keys.complete, true);
  assert.equal(keys.scannedRecords, 5);
});

test('a series: smallest, largest and mean of each bucket, empty ones null', async (context) => {
  const gateway = await withStream(context);
  const fromMs = gateway.clock.nowMs();
  for (let second = 0; second < 40; second++) {
    if (second < 20 || second >= 30) {
      await append(gateway, 'a', { deep: { value: second }, 'dotted.key': -second });
      await append(gateway, 'b', { deep: { value: 'no number' } });
    }
    gateway.clock.advance(1_000);
  }
  const read = async (field: string) =>
    SeriesSchema.parse(
      await gateway.json(
        `/api/v1/streams/readings/series?keys=a&keys=b&field=${field}&from=${fromMs}&to=${fromMs + 40_000}&points=4`,
      ),
    );
  const series = await read('deep.value');
  assert.equal(series.stepMs, 10_000);
  assert.deepEqual(series.series[0], {
    key: 'a',
    records: 30,
    min: [0, 10, null, 30],
    max: [9, 19, null, 39],
    avg: [4.5, 14.5, null, 34.5],
  });
  assert.equal(series.series[1]?.records, 0);
  assert.equal(series.complete, true);
  assert.equal((await read('dotted.key')).series[0]?.min[0], -9);
  assert.equal((await read('__proto__')).series[0]?.records, 0);
  const nameless = await gateway.get(
    `/api/v1/streams/readings/series?keys=a&from=${fromMs}&to=${fromMs + 40_000}`,
  );
  assert.equal(nameless.status, 400);
  const { error } = ErrorSchema.parse(await nameless.json());
  assert.match(error.message, /^field: name one of deep\.value, dotted\.key/);
});

test('a series of more than one call reads is an even sample, and says so', async (context) => {
  const gateway = await withStream(context);
  const fromMs = gateway.clock.nowMs();
  for (let minute = 0; minute < 60; minute++) {
    const records = Array.from({ length: 4_000 }, (_, i) => ({
      partitionKey: `key-${i % 4}`,
      data: Buffer.from(String(minute)),
    }));
    await gateway.log.append('readings', records);
    gateway.clock.advance(60_000);
  }
  const series = SeriesSchema.parse(
    await gateway.json(
      `/api/v1/streams/readings/series?keys=key-0&keys=key-1&from=${fromMs}&to=${fromMs + hourMs}&points=60`,
    ),
  );
  assert.equal(series.totalRecords, 240_000);
  assert.equal(series.complete, false);
  assert.ok(series.scannedRecords <= 101_000 && series.scannedRecords > 90_000);
  for (const { avg } of series.series) {
    const wrong = avg.filter((value, minute) => value !== null && value !== minute);
    assert.deepEqual(wrong, []);
    assert.ok(avg.filter((value) => value === null).length === 0, 'no part of it is left out');
  }
});

test('deliveries, with their backlog and their last error', async (context) => {
  const gateway = await startGateway(context);
  gateway.sources.deliveries = () =>
    Promise.resolve([
      {
        name: 'archive',
        backupOf: null,
        keeps: null,
        underErrorPrefix: null,
        origin: 'configuration',
        from: { kind: 'stream', name: 'readings' },
        to: { kind: 's3', description: 's3://bucket/prefix' },
        required: true,
        state: 'backing-off',
        held: null,
        priority: 5,
        retryAtMs: gateway.clock.nowMs() + 5_000,
        catchUp: 'live-first',
        backlog: { bytes: 1_000, records: 10, seconds: 61.5 },
        lanes: [
          { kind: 'live', backlog: { bytes: 100, records: 1, seconds: 0.25 } },
          { kind: 'backlog', backlog: { bytes: 900, records: 9, seconds: 61.5 } },
        ],
        maxBytesPerSecond: 50_000,
        rate: { recordsPerSecond: 0, bytesPerSecond: 0 },
        sinceMs: Date.UTC(2026, 0, 1),
        sentRecords: 5,
        sentBytes: 500,
        sentObjects: 1,
        failures: 3,
        lostRecords: 0,
        failedRecords: 2,
        isReplaying: true,
        gatheringUntilMs: null,
        newestFailed: { atMs: Date.UTC(2026, 0, 1), reason: 'the place is missing' },
        lastSuccessMs: null,
        lastFailure: {
          code: 'unreachable',
          message: 'connection refused',
          atMs: gateway.clock.nowMs(),
          retryable: true,
          advice: 'Nothing listens there.',
        },
      },
    ]);
  const backlog = { bytes: 10, records: 1, seconds: 2 };
  gateway.sources.deliveryFlow = {
    ...gateway.sources.deliveryFlow,
    removed: () => Promise.resolve([{ name: 'old', backlog, failedRecords: 3, pins: true }]),
  };
  const { deliveries, removed } = DeliveriesSchema.parse(await gateway.json('/api/v1/deliveries'));
  assert.deepEqual(removed, [
    { name: 'old', backlog: { bytes: 10, records: 1, ms: 2000 }, failed: 3, pins: true },
  ]);
  assert.equal(deliveries[0]?.backlog.ms, 61_500);
  assert.equal(deliveries[0].failed, 2);
  assert.equal(deliveries[0].isReplaying, true);
  assert.deepEqual(deliveries[0].lastFailed, {
    time: '2026-01-01T00:00:00.000Z',
    reason: 'the place is missing',
  });
  assert.deepEqual(
    deliveries[0].lanes.map(({ kind, backlog }) => [kind, backlog.bytes, backlog.ms]),
    [
      ['live', 100, 250],
      ['backlog', 900, 61_500],
    ],
  );
  assert.equal(deliveries[0].nextAttemptTime, '2026-01-01T00:00:05.000Z');
  assert.deepEqual(deliveries[0].lastError, {
    time: '2026-01-01T00:00:00.000Z',
    code: 'unreachable',
    message: 'connection refused',
    advice: 'Nothing listens there.',
  });
  const status = StatusSchema.parse(await gateway.json('/api/v1/status'));
  assert.equal(status.counts.deliveriesFailing, 1);
});

test('a delivery is looked at by the gateway, when somebody asks', async (context) => {
  const gateway = await withStream(context);
  const found = {
    name: 'Delivery lake',
    status: 'warn',
    message: 'it waits',
    advice: 'see',
  } as const;
  gateway.sources.checkDelivery = (name) => Promise.resolve(name === 'lake' ? [found] : null);
  const check = (name: string): Promise<Response> =>
    Promise.resolve(
      gateway.app.request(`http://localhost/api/v1/deliveries/${name}/check`, {
        ...{ method: 'POST', headers: { authorization: `Bearer ${gateway.token}` } },
      }),
    );
  assert.deepEqual(await (await check('lake')).json(), { findings: [found] });
  assert.equal((await check('none')).status, 404);
});

test('the description names every route, and nothing that is not there', async (context) => {
  const gateway = await withStream(context);
  const document = (await gateway.json('/api/v1/openapi.json')) as {
    openapi: string;
    paths: Record<string, Record<string, { responses: Record<string, unknown> }>>;
    components: { schemas: Record<string, unknown> };
  };
  assert.equal(document.openapi, '3.1.0');
  const paths = Object.keys(document.paths).sort();
  assert.deepEqual(paths, [
    '/applications',
    '/applications/{application}',
    '/applications/{application}/streams/{stream}/shards',
    '/applications/{application}/streams/{stream}/shards/{shard}/acquire',
    '/applications/{application}/streams/{stream}/shards/{shard}/checkpoint',
    '/applications/{application}/streams/{stream}/shards/{shard}/release',
    '/applications/{application}/streams/{stream}/shards/{shard}/renew',
    '/applications/{application}/streams/{stream}/shards/{shard}/wanted',
    '/backup',
    '/camera-discovery',
    '/cameras',
    '/cameras/{name}',
    '/cameras/{name}/events',
    '/cameras/{name}/events/{id}',
    '/cameras/{name}/export.mp4',
    '/cameras/{name}/fragments',
    '/cameras/{name}/image',
    '/cameras/{name}/runs',
    '/cameras/{name}/thumbnail',
    '/cameras/{name}/timeline',
    '/clock',
    '/clock/confirm',
    '/deliveries',
    '/deliveries/{name}',
    '/deliveries/{name}/check',
    '/deliveries/{name}/forget',
    '/deliveries/{name}/metering',
    '/deliveries/{name}/pause',
    '/deliveries/{name}/replay',
    '/deliveries/{name}/resume',
    '/deliveries/{name}/rewind',
    '/export.zip',
    '/files',
    '/functions',
    '/functions/{name}',
    '/functions/{name}/forget',
    '/functions/{name}/pause',
    '/functions/{name}/replay',
    '/functions/{name}/resume',
    '/functions/{name}/rewind',
    '/reload',
    '/status',
    '/streams',
    '/streams/{name}',
    '/streams/{name}/keys',
    '/streams/{name}/metering',
    '/streams/{name}/records',
    '/streams/{name}/series',
    '/streams/{name}/shards',
    '/streams/{name}/shards/{index}/records',
  ]);
  for (const path of paths) {
    const route = path.replace('{name}', 'readings').replace('{index}', '0');
    const status = (await gateway.get(`/api/v1${route}`)).status;
    // Cameras are not there, ranges are not given: but each is a route.
    assert.ok([200, 400, 404].includes(status), path);
  }
  const text = JSON.stringify(document);
  for (const [reference] of text.matchAll(/#\/components\/schemas\/\w+/g)) {
    const name = reference.split('/').at(-1) ?? '';
    assert.ok(name in document.components.schemas, reference);
  }
});
