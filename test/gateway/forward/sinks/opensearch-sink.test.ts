/** Documents of OpenSearch: what is sent, what of it fails, and where it goes. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { BatchItem, SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import { idsBy } from '../../../../gateway/forward/sinks/opensearch/bulk.ts';
import { indexName } from '../../../../gateway/forward/sinks/opensearch/index-name.ts';
import {
  openSearchSink,
  type OpenSearchSinkOptions,
} from '../../../../gateway/forward/sinks/opensearch/opensearch-sink.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { login, startOpenSearch, type OpenSearchStub } from '../support/opensearch-stub.ts';
import { credentials } from '../support/servers.ts';
import { answers, drops, lies, type Behaviour } from '../support/stub-server.ts';
import { batchOf, failureOf, itemsOf } from './batch-sink-contract.ts';

const never = new AbortController().signal;

function sinkTo(
  context: TestContext,
  cluster: OpenSearchStub,
  options: Partial<OpenSearchSinkOptions> = {},
) {
  const sink = openSearchSink({
    ...{ endpoint: cluster.url, index: 'readings', rotation: 'none', operation: 'index' },
    ...{ documentId: 'record', access: login, maxBytes: 1024 ** 2, clock: new ManualClock() },
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

function itemsWith(...texts: readonly (string | Buffer)[]): readonly BatchItem[] {
  return itemsOf(0, texts.length).map((item, index) => ({
    ...item,
    data: Buffer.from(texts[index] ?? ''),
  }));
}

test('an index is named as Firehose names it', () => {
  const arrivalMs = Date.UTC(2016, 1, 25, 13);
  assert.equal(indexName('myindex', 'none', arrivalMs), 'myindex');
  assert.equal(indexName('myindex', 'hour', arrivalMs), 'myindex-2016-02-25-13');
  assert.equal(indexName('myindex', 'day', arrivalMs), 'myindex-2016-02-25');
  assert.equal(indexName('myindex', 'week', arrivalMs), 'myindex-2016-w09');
  assert.equal(indexName('myindex', 'month', arrivalMs), 'myindex-2016-02');
});

test('a week begins on Sunday, and the first one has the first Saturday of the year', () => {
  for (const [year, month, day, wanted] of [
    [2020, 8, 15, '2020-w33'], // a Saturday
    [2020, 8, 16, '2020-w34'],
    [2021, 1, 2, '2021-w01'], // the first Saturday
    [2020, 12, 27, '2021-w01'], // the Sunday before
    [2020, 12, 26, '2020-w52'],
    [2022, 1, 1, '2022-w01'], // a Saturday itself
    [2022, 12, 31, '2022-w53'],
    [2023, 1, 1, '2023-w01'],
  ] as const) {
    for (const timeMs of [Date.UTC(year, month - 1, day), Date.UTC(year, month - 1, day + 1) - 1]) {
      assert.equal(indexName('i', 'week', timeMs), `i-${wanted}`, `${year}-${month}-${day}`);
    }
  }
});

test('records of one batch go to the index of their own time', async (context) => {
  const cluster = await startOpenSearch(context);
  const sink = sinkTo(context, cluster, { rotation: 'hour' });
  const [one, other] = itemsOf(0, 2);
  assert.ok(one && other);
  const times = [Date.UTC(2026, 11, 31, 23, 59, 59, 999), Date.UTC(2027, 0, 1)];
  await sink.deliver(
    batchOf([one, other].map((item, index) => ({ ...item, arrivalMs: times[index] ?? 0 }))),
    never,
  );
  assert.deepEqual(
    [...cluster.indexes].map(([index, documents]) => [index, [...documents.keys()]]),
    [
      ['readings-2026-12-31-23', [one.id]],
      ['readings-2027-01-01-00', [other.id]],
    ],
  );
});

test('what is no JSON object is rejected by itself, and the rest is taken', async (context) => {
  const cluster = await startOpenSearch(context);
  const items = itemsWith(
    ...['{"a":1}', 'text', '', '[1]', '"text"', '7', 'null', '{"a":1', '{"a":1}{"b":2}'],
    ...['{"a":\r\n  "b",\n"n": 12345678901234567890}', '\ufeff{"bom":true}'],
    ...[Buffer.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), '{"last":true}\n'],
  );
  const outcomes = await sinkTo(context, cluster).deliver(batchOf(items), never);
  const taken = [0, 9, 10, 12];
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    items.map((_item, index) => (taken.includes(index) ? null : 'rejected')),
  );
  assert.equal(cluster.requests.length, 1);
  assert.deepEqual(
    cluster.written,
    taken.map((index) => items[index]?.id),
  );
  assert.match(cluster.requests[0]?.body.toString() ?? '', /12345678901234567890/, 'to the digit');

  assert.deepEqual(
    (await sinkTo(context, cluster).deliver(batchOf(itemsWith('x', 'y')), never)).map(
      (outcome) => outcome?.code,
    ),
    ['rejected', 'rejected'],
  );
  assert.equal(cluster.requests.length, 1, 'nothing to ask for');
});

const refusals: readonly (readonly [number, string, SinkErrorCode | null])[] = [
  [400, 'mapper_parsing_exception', 'rejected'],
  [400, 'strict_dynamic_mapping_exception', 'rejected'],
  [400, 'illegal_argument_exception', 'rejected'],
  [400, 'validation_exception', 'full'],
  [400, 'index_closed_exception', 'missing'],
  [403, 'security_exception', 'denied'],
  [403, 'cluster_block_exception', 'full'],
  [404, 'index_not_found_exception', 'missing'],
  [409, 'version_conflict_engine_exception', 'unavailable'],
  [429, 'es_rejected_execution_exception', 'throttled'],
  [429, 'circuit_breaking_exception', 'throttled'],
  [500, 'whatever', 'unavailable'],
  [503, 'unavailable_shards_exception', 'unavailable'],
];

for (const [status, type, code] of refusals) {
  test(`a document that fails with ${status}, ${type}: ${code ?? 'taken'}`, async (context) => {
    const cluster = await startOpenSearch(context);
    const items = itemsOf(0, 5);
    cluster.refuse = (id) => (id === items[2]?.id ? { status, type } : null);
    const outcomes = await sinkTo(context, cluster).deliver(batchOf(items), never);
    assert.deepEqual(
      outcomes.map((outcome) => outcome?.code ?? null),
      [null, null, code, null, null],
    );
    assert.match(outcomes[2]?.message ?? '', new RegExp(`^${type}: no `));
    assert.equal(cluster.written.length, 4);
  });
}

test('a create that is repeated is no conflict', async (context) => {
  const cluster = await startOpenSearch(context);
  const sink = sinkTo(context, cluster, { operation: 'create' });
  const items = itemsOf(0, 4);
  for (let time = 0; time < 3; time += 1) {
    const outcomes = await sink.deliver(batchOf(items), never);
    assert.deepEqual(outcomes, [null, null, null, null]);
  }
  assert.equal(cluster.written.length, 4);
});

test('without ids, the cluster makes them', async (context) => {
  const cluster = await startOpenSearch(context);
  const sink = sinkTo(context, cluster, { documentId: 'none' });
  assert.deepEqual(await sink.deliver(batchOf(itemsOf(0, 2)), never), [null, null]);
  assert.deepEqual(cluster.written, ['made-1', 'made-2']);
});

const idOf = idsBy('id');

test('an id from the document: the last of a batch counts, whatever fails meanwhile', async (context) => {
  const cluster = await startOpenSearch(context);
  const sink = sinkTo(context, cluster, { documentId: idOf });
  const items = itemsWith(
    ...['{"id":"a","v":1}', '{"id":"b","v":1}', '{"id":"a","v":2}', '{"id":7,"v":1}'],
    ...['{"id":"a","v":3}', '{"id":""}', '{"v":1}', `{"id":"${'x'.repeat(513)}"}`, '{"id":{}}'],
  );
  let isBusy = true;
  cluster.refuse = (id) => (isBusy && id === 'a' ? { status: 429, type: 'busy' } : null);
  const codes = async () =>
    (await sink.deliver(batchOf(items), never)).map((outcome) => outcome?.code ?? null);
  const bad = ['rejected', 'rejected', 'rejected', 'rejected'];
  assert.deepEqual(await codes(), [...['throttled', null, 'throttled', null, 'throttled'], ...bad]);
  isBusy = false;
  assert.deepEqual(await codes(), [null, null, null, null, null, ...bad]);
  const documents = [...(cluster.indexes.get('readings') ?? [])];
  assert.deepEqual(documents.map(([id]) => id).sort(), ['7', 'a', 'b']);
  assert.deepEqual(new Map(documents).get('a'), { id: 'a', v: 3 });
});

test('a query that fails for a document rejects that one alone', async (context) => {
  const cluster = await startOpenSearch(context);
  const documentId = idsBy("join('-', [site, to_string(abs(n))])");
  const sink = sinkTo(context, cluster, { documentId });
  const items = itemsWith(
    '{"site":"a","n":-1}',
    '{"site":"a","n":"x"}',
    '{}',
    '{"site":"b","n":2}',
  );
  assert.deepEqual(
    (await sink.deliver(batchOf(items), never)).map((outcome) => outcome?.code ?? null),
    [null, 'rejected', 'rejected', null],
  );
  assert.deepEqual(cluster.written, ['a-1', 'b-2']);
});

test('when the last of an id is refused for good, the one before it counts', async (context) => {
  const cluster = await startOpenSearch(context);
  cluster.refuse = (_id, { v }) =>
    v === 3 ? { status: 400, type: 'mapper_parsing_exception' } : null;
  const items = itemsWith('{"id":"a","v":1}', '{"id":"a","v":2}', '{"id":"a","v":3}');
  const sink = sinkTo(context, cluster, { documentId: idOf });
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    [null, null, 'rejected'],
  );
  assert.deepEqual(cluster.indexes.get('readings')?.get('a'), { id: 'a', v: 2 });

  const created = sinkTo(context, cluster, { documentId: idOf, operation: 'create', index: 'c' });
  await created.deliver(batchOf(items), never);
  assert.deepEqual(cluster.indexes.get('c')?.get('a'), { id: 'a', v: 1 }, 'the first, of creates');
});

test('a request is no larger than it may be, and smaller where the cluster says so', async (context) => {
  const cluster = await startOpenSearch(context);
  cluster.maxBytes = 20_000;
  const sink = sinkTo(context, cluster, { maxBytes: 50_000 });
  const items = itemsOf(0, 400);
  assert.ok((await sink.deliver(batchOf(items), never)).every((outcome) => outcome === null));
  assert.ok(cluster.requests.every(({ body }) => body.length <= 50_000));
  assert.deepEqual(
    cluster.written,
    items.map(({ id }) => id),
    'once each, in order',
  );
});

const wrong: readonly (readonly [string, SinkErrorCode, Behaviour])[] = [
  ['fewer outcomes', 'unavailable', lies((a) => ({ ...a, items: [] }))],
  ['no outcomes', 'unavailable', answers(200, '{}')],
  ['rubbish', 'unavailable', answers(200, '<html>')],
  [
    'outcomes of others',
    'unavailable',
    lies((a) => ({ ...a, items: [...(a['items'] as unknown[])].reverse() })),
  ],
  [
    'outcomes of something else that was done',
    'unavailable',
    lies((a) => ({ ...a, items: [{ delete: { status: 200 } }, { delete: { status: 200 } }] })),
  ],
  ['a login page', 'unavailable', answers(302, '', { location: '/login' })],
  ['400 of a proxy', 'unavailable', answers(400, 'Bad Request')],
  ['401', 'denied', answers(401, 'Unauthorized')],
  ['429', 'throttled', answers(429, { error: { type: 'es_rejected', reason: 'full' } })],
  ['403 and a block', 'denied', answers(403, { error: { type: 'security_exception' } })],
  ['503', 'throttled', answers(503, '')],
  ['a connection dropped', 'unreachable', drops],
];

for (const [name, code, behaviour] of wrong) {
  test(`a cluster that answers with ${name}: ${code}`, async (context) => {
    const cluster = await startOpenSearch(context);
    cluster.next.push(behaviour);
    const sink = sinkTo(context, cluster);
    const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 2)), never));
    assert.equal(failure.code, code, failure.message);
    assert.equal(cluster.requests.length, 1, 'one attempt');
    assert.ok(!failure.message.includes(login.password));
  });
}

test('a request that is refused as a whole is halved until the document is found', async (context) => {
  const cluster = await startOpenSearch(context);
  const items = itemsOf(0, 16);
  const poison: Behaviour = (request, serve) =>
    request.body.includes('device-11')
      ? { status: 400, body: JSON.stringify({ error: { type: 'json_parse_exception' } }) }
      : serve(request);
  for (let count = 0; count < 12; count += 1) cluster.next.push(poison);
  const outcomes = await sinkTo(context, cluster).deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.flatMap((outcome, index) => (outcome === null ? [] : [[index, outcome.code]])),
    [[11, 'rejected']],
  );
  assert.equal(cluster.written.length, 15);
});

for (const service of ['es', 'aoss'] as const) {
  test(`requests are signed for ${service}`, async (context) => {
    const cluster = await startOpenSearch(context, service);
    const access = { service, region: 'eu-central-1', credentials };
    const sink = sinkTo(context, cluster, { access });
    assert.deepEqual(await sink.deliver(batchOf(itemsOf(0, 2)), never), [null, null]);
    assert.match((await sink.check?.(never)) ?? '', /lets us in/);
  });
}

test('credentials that have expired are said to have', async (context) => {
  const cluster = await startOpenSearch(context, 'es');
  const access = { service: 'es', region: 'eu-central-1', credentials } as const;
  const sink = sinkTo(context, cluster, { access });
  for (const [type, code] of [
    ['ExpiredTokenException', 'credentials'],
    ['AccessDeniedException', 'denied'],
  ] as const) {
    cluster.next.push(answers(403, { message: 'no' }, { 'x-amzn-errortype': `${type}:http://x` }));
    const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
    assert.equal(failure.code, code);
    assert.notEqual(failure.advice, null);
  }
});
