import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  ApplicationsSchema,
  ConsumedShardsSchema,
  HeldLeaseSchema,
  type ConsumedShard,
  type HeldLease,
} from '../../../../gateway/api/rest/application-schemas.ts';
import { ErrorSchema } from '../../../../gateway/api/rest/error-schemas.ts';
import { RecordsSchema } from '../../../../gateway/api/rest/stream-schemas.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

const hourMs = 3_600_000;
const durationMs = 10_000;

type Method = 'GET' | 'PUT' | 'DELETE' | 'POST';

/** A stream of two shards with ten records each, and the application `billing`. */
class Rig {
  readonly gateway: TestGateway;

  constructor(gateway: TestGateway) {
    this.gateway = gateway;
  }

  static async start(context: TestContext): Promise<Rig> {
    const rig = new Rig(await startGateway(context));
    await rig.gateway.log.createStream({
      name: 'readings',
      shardCount: 2,
      mode: 'on-demand',
      retentionMs: 24 * hourMs,
      maxBytes: null,
      whenFull: 'refuse',
    });
    for (let count = 0; count < 10; count += 1) await rig.append();
    await rig.done('PUT', '/applications/billing');
    return rig;
  }

  /** One record into each shard. */
  async append(): Promise<void> {
    const data = Buffer.from('x');
    await this.gateway.log.append('readings', [
      { partitionKey: 'low', data, explicitHashKey: 0n },
      { partitionKey: 'high', data, explicitHashKey: 2n ** 127n },
    ]);
  }

  async ask(method: Method, path: string, body?: unknown): Promise<Response> {
    return this.gateway.app.request(`http://localhost/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.gateway.token}`,
        'content-type': 'application/json',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async done(method: Method, path: string, body?: unknown): Promise<unknown> {
    const response = await this.ask(method, path, body);
    const answer: unknown = await response.json();
    assert.equal(response.status, 200, `${method} ${path}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async refused(method: Method, path: string, body?: unknown): Promise<string> {
    const response = await this.ask(method, path, body);
    return `${response.status} ${ErrorSchema.parse(await response.json()).error.code}`;
  }

  path(action: string, shard = 0): string {
    return `/applications/billing/streams/readings/shards/${shard}/${action}`;
  }

  async acquire(owner: string, shard = 0, start: object = {}): Promise<HeldLease> {
    const body = { owner, durationMs, ...start };
    return HeldLeaseSchema.parse(await this.done('POST', this.path('acquire', shard), body));
  }

  async shards(): Promise<ConsumedShard[]> {
    const path = '/applications/billing/streams/readings/shards';
    return ConsumedShardsSchema.parse(await this.done('GET', path)).shards;
  }
}

test('applications are made, listed and deleted; those of the gateway are out of reach', async (t) => {
  const rig = await Rig.start(t);
  const { applications } = rig.gateway.log;
  await applications.ensure({ name: 'delivery:archive', required: true });
  await rig.done('PUT', '/applications/audit');
  await rig.acquire('a');
  await rig.done('PUT', '/applications/billing');
  assert.deepEqual(ApplicationsSchema.parse(await rig.done('GET', '/applications')), {
    applications: [
      { name: 'audit', leases: 0 },
      { name: 'billing', leases: 2 },
    ],
  });
  assert.ok(applications.list().every(({ name, required }) => required === name.includes(':')));
  for (const [method, path] of [
    ['PUT', '/applications/delivery:archive'],
    ['DELETE', '/applications/delivery%3Aarchive'],
    ['GET', '/applications/delivery:archive/streams/readings/shards'],
    ['PUT', `/applications/${'x'.repeat(129)}`],
    ['PUT', '/applications/no%20spaces'],
  ] as const) {
    assert.equal(await rig.refused(method, path), '400 bad-request', path);
  }
  const acquire = '/applications/delivery:archive/streams/readings/shards/0/acquire';
  const body = { owner: 'a', durationMs };
  assert.equal(await rig.refused('POST', acquire, body), '400 bad-request');

  await rig.done('DELETE', '/applications/billing');
  assert.equal(await rig.refused('DELETE', '/applications/billing'), '404 not-found');
  assert.equal(await rig.refused('POST', rig.path('acquire'), body), '404 not-found');
  assert.equal(await rig.refused('PUT', '/applications/%2e%2e%2fx'), '400 bad-request');
});

test('a lease is held, renewed, lost to the next worker, and fenced from then on', async (t) => {
  const rig = await Rig.start(t);
  const first = await rig.acquire('a');
  assert.deepEqual(first, { shard: 0, owner: 'a', counter: 1, checkpoint: 0, wantedBy: null });
  const take = { owner: 'b', durationMs };
  assert.equal(await rig.refused('POST', rig.path('acquire'), take), '409 lease-held');

  rig.gateway.clock.advance(durationMs - 1);
  const holding = { owner: 'a', counter: first.counter };
  const renewed = await rig.done('POST', rig.path('renew'), { ...holding, durationMs });
  assert.deepEqual(renewed, first, 'the same holding');
  rig.gateway.clock.advance(durationMs - 1);
  const moved = await rig.done('POST', rig.path('checkpoint'), { ...holding, checkpoint: 4 });
  assert.deepEqual(moved, { ...first, checkpoint: 4 });
  rig.gateway.clock.advance(1);
  assert.equal((await rig.shards())[0]?.state, 'free');

  const second = await rig.acquire('b');
  assert.equal(second.checkpoint, 4);
  assert.ok(second.counter > first.counter, 'what fences emissions rises');
  for (const [action, more] of [
    ['renew', { durationMs }],
    ['checkpoint', { checkpoint: 5 }],
  ] as const) {
    const body = { ...holding, ...more };
    assert.equal(await rig.refused('POST', rig.path(action), body), '409 lease-lost', action);
  }
  await rig.done('POST', rig.path('release'), holding);
  const [shard] = await rig.shards();
  assert.deepEqual([shard?.state, shard?.lease?.owner], ['held', 'b'], 'not given back by it');

  await rig.done('POST', rig.path('release'), { owner: 'b', counter: second.counter });
  const [free] = await rig.shards();
  assert.deepEqual([free?.state, free?.lease?.owner, free?.lease?.heldForMs], ['free', null, 0]);
  assert.equal((await rig.acquire('a')).checkpoint, 4);
});

test('a worker may ask for a lease, and its holder hears of it', async (t) => {
  const rig = await Rig.start(t);
  const wish = (owner: string): Promise<unknown> => rig.done('POST', rig.path('wanted'), { owner });
  assert.deepEqual(await wish('b'), { wantedBy: null }, 'nobody holds it');
  const { counter } = await rig.acquire('a');
  assert.deepEqual(await wish('b'), { wantedBy: 'b' });
  assert.deepEqual(await wish('c'), { wantedBy: 'b' }, 'who asked first');
  const renew = async (): Promise<HeldLease> =>
    HeldLeaseSchema.parse(
      await rig.done('POST', rig.path('renew'), { owner: 'a', counter, durationMs }),
    );
  assert.equal((await renew()).wantedBy, 'b');
  assert.equal((await rig.shards())[0]?.lease?.wantedBy, 'b');
  rig.gateway.clock.advance(durationMs - 1);
  assert.equal((await renew()).wantedBy, 'b');
  rig.gateway.clock.advance(1);
  assert.equal((await renew()).wantedBy, null, 'it did not ask again');
  await wish('c');
  await rig.done('POST', rig.path('release'), { owner: 'a', counter });
  await rig.acquire('c');
  assert.equal((await rig.shards())[0]?.lease?.wantedBy, null, 'it has it');
});

test('where an application begins is said by the first acquisition, for all shards', async (t) => {
  const rig = await Rig.start(t);
  const latest = await rig.acquire('a', 0, { start: 'LATEST' });
  assert.equal(latest.checkpoint, 10);
  await rig.append();
  const other = await rig.acquire('b', 1, { start: 'TRIM_HORIZON' });
  assert.equal(other.checkpoint, 10, 'what came since the beginning is not passed over');

  await rig.done('PUT', '/applications/audit');
  const startTime = new Date(rig.gateway.clock.nowMs() + 500).toISOString();
  rig.gateway.clock.advance(1_000);
  await rig.append();
  const body = { owner: 'a', durationMs, start: 'AT_TIMESTAMP', startTime };
  const path = '/applications/audit/streams/readings/shards/1/acquire';
  assert.equal(HeldLeaseSchema.parse(await rig.done('POST', path, body)).checkpoint, 11);
});

test('the children of a split are given out when their parent is read to its end', async (t) => {
  const rig = await Rig.start(t);
  await rig.acquire('a', 1);
  await rig.gateway.log.splitShard('readings', 0, 2n ** 126n);
  const states = async (): Promise<string[]> => (await rig.shards()).map(({ state }) => state);
  assert.deepEqual(await states(), ['free', 'held', 'waiting', 'waiting']);
  const [parent, , child] = await rig.shards();
  assert.deepEqual([parent?.children, child?.parents, child?.lease], [[2, 3], [0], null]);
  const take = { owner: 'a', durationMs };
  assert.equal(await rig.refused('POST', rig.path('acquire', 2), take), '409 parents-first');

  const { counter } = await rig.acquire('a', 0);
  const holding = { owner: 'a', counter };
  await rig.done('POST', rig.path('checkpoint'), { ...holding, checkpoint: 9 });
  await rig.done('POST', rig.path('release'), holding);
  assert.equal(await rig.refused('POST', rig.path('acquire', 2), take), '409 parents-first');
  const again = { owner: 'a', counter: (await rig.acquire('a', 0)).counter };
  await rig.done('POST', rig.path('checkpoint'), { ...again, checkpoint: 10 });
  assert.deepEqual(await states(), ['finished', 'held', 'free', 'free']);
  assert.equal((await rig.acquire('a', 2, { start: 'LATEST' })).checkpoint, 0);
  assert.equal((await rig.acquire('b', 3)).checkpoint, 0);
});

test('rubbish is refused, and changes nothing', async (t) => {
  const rig = await Rig.start(t);
  const { counter } = await rig.acquire('a');
  const held = { owner: 'a', counter };
  const cases: readonly [string, string, object | string][] = [
    ['400 bad-request', 'acquire', {}],
    ['400 bad-request', 'acquire', { owner: '', durationMs }],
    ['400 bad-request', 'acquire', { owner: 'x'.repeat(257), durationMs }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs: 999 }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs: 300_001 }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs: '10000' }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs, start: 'EARLIEST' }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs, start: 'AT_TIMESTAMP' }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs, startTime: '2026-01-01T00:00:00Z' }],
    ['400 bad-request', 'acquire', { owner: 'b', durationMs, more: 1 }],
    ['400 bad-request', 'checkpoint', { ...held, checkpoint: -1 }],
    ['400 bad-request', 'checkpoint', { ...held, checkpoint: 1.5 }],
    ['400 bad-request', 'checkpoint', { ...held, checkpoint: 11 }],
    ['400 bad-request', 'checkpoint', { ...held, checkpoint: 1e300 }],
    ['400 bad-request', 'checkpoint', { ...held, counter: 0, checkpoint: 1 }],
    ['409 lease-lost', 'checkpoint', { ...held, counter: counter + 1, checkpoint: 1 }],
    ['409 lease-lost', 'checkpoint', { owner: 'b', counter, checkpoint: 1 }],
    ['400 bad-request', 'renew', held],
    ['400 bad-request', 'release', { owner: 'a' }],
    ['400 bad-request', 'wanted', {}],
    ['400 bad-request', 'wanted', ['a']],
  ];
  const before = await rig.shards();
  for (const [expected, action, body] of cases) {
    const what = `${action} ${JSON.stringify(body)}`;
    assert.equal(await rig.refused('POST', rig.path(action), body), expected, what);
  }
  for (const shard of ['2', '-1', 'x', '1e9']) {
    const path = `/applications/billing/streams/readings/shards/${shard}/renew`;
    const code = await rig.refused('POST', path, { ...held, durationMs });
    assert.match(code, /^(400 bad-request|404 not-found)$/, shard);
  }
  const elsewhere = '/applications/billing/streams/nowhere/shards';
  assert.equal(await rig.refused('GET', elsewhere), '404 not-found');
  assert.deepEqual(await rig.shards(), before);

  await rig.done('POST', rig.path('checkpoint'), { ...held, checkpoint: 7 });
  const back = { ...held, checkpoint: 6 };
  assert.equal(await rig.refused('POST', rig.path('checkpoint'), back), '400 bad-request');
  assert.equal((await rig.shards())[0]?.lease?.checkpoint, 7);
});

test('a read waits for the first record, and no longer than it may', async (t) => {
  const rig = await Rig.start(t);
  const { clock, log } = rig.gateway;
  const waits = new Set<() => void>();
  const forRecords = log.waitForRecords.bind(log);
  let begun = new Promise<void>((resolve) => waits.add(resolve));
  log.waitForRecords = (...all) => {
    for (const resolve of waits) resolve();
    begun = new Promise<void>((resolve) => waits.add(resolve));
    return forRecords(...all);
  };
  const read = async (query: string, init: RequestInit = {}): Promise<unknown> => {
    const url = `http://localhost/api/v1/streams/readings/shards/0/records?${query}`;
    const authorization = `Bearer ${rig.gateway.token}`;
    const response = await rig.gateway.app.request(url, { ...init, headers: { authorization } });
    return response.json();
  };

  const here = RecordsSchema.parse(await read('sequence=9&waitSeconds=20'));
  assert.equal(here.records.length, 1, 'what is there is answered at once');

  let waiting = begun;
  let answer = read('sequence=10&waitSeconds=20');
  await waiting;
  await rig.append();
  assert.equal(RecordsSchema.parse(await answer).records[0]?.sequence, 10);

  waiting = begun;
  answer = read('sequence=11&waitSeconds=20');
  await waiting;
  clock.advance(20_000);
  assert.deepEqual(RecordsSchema.parse(await answer).records, []);

  waiting = begun;
  const client = new AbortController();
  answer = read('sequence=11&waitSeconds=20', { signal: client.signal });
  await waiting;
  client.abort();
  assert.deepEqual(RecordsSchema.parse(await answer).records, [], 'nobody waits for nobody');

  for (const bad of ['21', '-1', 'x', '0.5']) {
    const { error } = ErrorSchema.parse(await read(`waitSeconds=${bad}`));
    assert.equal(error.code, 'bad-request', bad);
  }
});

test('too many that wait are told so; the rest goes on waiting', async (t) => {
  const rig = await Rig.start(t);
  const path = '/streams/readings/shards/0/records?sequence=10&waitSeconds=20';
  const answers = Array.from({ length: 257 }, () => rig.ask('GET', path));
  const refused = await Promise.race(answers);
  assert.equal(ErrorSchema.parse(await refused.json()).error.code, 'busy');
  assert.equal(refused.headers.get('retry-after'), '1');
  await rig.append();
  const statuses = (await Promise.all(answers)).map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, 256);
});
