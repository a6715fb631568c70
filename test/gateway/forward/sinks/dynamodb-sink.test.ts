/** Items of DynamoDB, against real tables: what records become, what of them is taken. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { SinkError, type BatchItem, type SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import {
  dynamoDbSink,
  type DynamoDbSinkOptions,
} from '../../../../gateway/forward/sinks/dynamodb/dynamodb-sink.ts';
import { itemOfRecord } from '../../../../gateway/forward/sinks/dynamodb/item-of-record.ts';
import { wireItem } from '../../../../gateway/api/dynamodb/values.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { startTable, type DynamoDbTable } from '../support/dynamodb-table.ts';
import { credentials } from '../support/servers.ts';
import { answers, drops, type Behaviour } from '../support/stub-server.ts';
import { batchOf, failureOf, itemsOf } from './batch-sink-contract.ts';

const never = new AbortController().signal;
const device = [{ name: 'device', type: 'S', bytesMax: 2048 }] as const;
const pass: Behaviour = (request, serve) => serve(request);

function sinkTo(
  context: TestContext,
  table: DynamoDbTable,
  options: Partial<DynamoDbSinkOptions> = {},
) {
  const sink = dynamoDbSink({
    ...{ table: table.table, sets: [], endpoint: table.url, region: 'us-east-1', credentials },
    clock: new ManualClock(Date.now()),
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

function itemsWith(...texts: readonly string[]): readonly BatchItem[] {
  return itemsOf(0, texts.length).map((item, index) => ({
    ...item,
    data: Buffer.from(texts[index] ?? ''),
  }));
}

/** What a record becomes, on the wire. */
function made(text: string, sets: readonly string[] = []): unknown {
  const item = itemOfRecord(Buffer.from(text), device, new Set(sets));
  return item instanceof SinkError ? `${item.code}: ${item.message}` : wireItem(item.item);
}

test('JSON becomes attributes, and numbers keep every digit', () => {
  assert.deepEqual(
    made(`{"device":"d","n":-12.50,"long":12345678901234567890.123,"small":1e-7,"yes":true,
      "none":null,"text":"n1 \\"quoted\\" \\\\ \\u00fc","empty":"","list":[1,"1",[],{"a":[2]}],
      "map":{"1":"s","n":{"s":0}},"__proto__":{"x":1}}`),
    {
      device: { S: 'd' },
      n: { N: '-12.5' },
      long: { N: '12345678901234567890.123' },
      small: { N: '0.0000001' },
      yes: { BOOL: true },
      none: { NULL: true },
      text: { S: 'n1 "quoted" \\ ü' },
      empty: { S: '' },
      list: { L: [{ N: '1' }, { S: '1' }, { L: [] }, { M: { a: { L: [{ N: '2' }] } } }] },
      map: { M: { '1': { S: 's' }, n: { M: { s: { N: '0' } } } } },
      ['__proto__']: { M: { x: { N: '1' } } },
    },
  );
});

test('lists become sets where that is asked for', () => {
  const sets = ['tags', 'sizes', 'one', 'none'];
  assert.deepEqual(
    made(
      '{"device":"d","tags":["a","b","a"],"sizes":[1,2.0,2],"one":"x","none":[],"other":["a"]}',
      sets,
    ),
    {
      device: { S: 'd' },
      tags: { SS: ['a', 'b'] },
      sizes: { NS: ['1', '2'] },
      one: { SS: ['x'] },
      other: { L: [{ S: 'a' }] },
    },
  );
  for (const mixed of ['["a",1]', '[[1]]', '[null]', '{"a":1}', '[true,false]']) {
    assert.match(String(made(`{"device":"d","tags":${mixed}}`, sets)), /^rejected: tags is to be/);
  }
});

test('what can be no item is rejected, with the reason', () => {
  const deep = (levels: number): string =>
    `{"device":"d","a":${'['.repeat(levels)}1${']'.repeat(levels)}}`;
  for (const [text, reason] of [
    ['', /not a JSON object/],
    ['[1]', /not a JSON object/],
    ['{"a":1}', /no device/],
    ['{"device":""}', /0 bytes/],
    ['{"device":7}', /a number.*a text/],
    ['{"device":null}', /something else/],
    [`{"device":"${'x'.repeat(2049)}"}`, /2049 bytes/],
    ['{"device":"d","n":1e200}', /larger|overflow|magnitude/i],
    [`{"device":"d","n":${'1'.repeat(39)}}`, /38 significant digits/],
    [deep(40), /Nesting/],
  ] as const) {
    const said = String(made(text));
    assert.match(said, /^rejected: /, text.slice(0, 50));
    assert.match(said, reason);
  }
  assert.notEqual(typeof made(deep(31)), 'string');
  const large = `{"device":"d","text":"${'ü'.repeat(204_800)}"}`;
  assert.match(String(made(large)), /^too-large: the item has 4096\d\d bytes/);
});

test('random JSON is an item or rejected, and never anything else', () => {
  let seed = 20_261_122;
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const pieces = ['{', '}', '[', ']', ',', ':', '"device"', '"a"', '1', '-0.0', '1e5', 'null'];
  pieces.push('"\\u0000n"', '"s"', '"n7"', ' ', '\n', '"\\\\"', 'true', '"', '\\', '\xff');
  let items = 0;
  for (let round = 0; round < 3_000; round += 1) {
    const length = random(12);
    const middle = Array.from({ length }, () => pieces[random(pieces.length)] ?? '').join('');
    const data = Buffer.from(`{"device":"d","x":${middle}}`, 'latin1');
    const item = itemOfRecord(data, device, new Set(['x']));
    if (!(item instanceof SinkError)) items += 1;
  }
  assert.ok(items > 30, `some are items: ${items}`);
});

test('keys of all types, from the records', async (context) => {
  const table = await startTable(context, [
    { name: 'at', type: 'N' },
    { name: 'blob', type: 'B' },
  ]);
  const sink = sinkTo(context, table);
  assert.match((await sink.check?.(never)) ?? '', /is there, with the key at and blob/);
  const items = itemsWith(
    ...['{"at":1,"blob":"AQI="}', '{"at":1.0,"blob":"AQI=","v":2}', '{"at":"1","blob":"AQI="}'],
    ...['{"at":1,"blob":"not base64"}', '{"at":1}', '{"at":2,"blob":"AQI="}'],
  );
  assert.deepEqual(
    (await sink.deliver(batchOf(items), never)).map((outcome) => outcome?.code ?? null),
    [null, null, 'rejected', 'rejected', 'rejected', null],
  );
  const found = (await table.items()).map(({ at, blob, v }) => [at?.N, blob?.B, v?.N]);
  assert.deepEqual(
    found.sort(([one = ''], [other = '']) => (one < other ? -1 : 1)),
    [
      ['1', Uint8Array.of(1, 2), '2'],
      ['2', Uint8Array.of(1, 2), undefined],
    ],
    '1 and 1.0 are one key, and the last wins',
  );
});

test('of writes to one key the last one wins, also over several attempts', async (context) => {
  const table = await startTable(context);
  const sink = sinkTo(context, table);
  const write = (name: string, v: number): string => JSON.stringify({ device: name, v });
  const items = itemsWith(...Array.from({ length: 90 }, (_none, n) => write(`d${n % 30}`, n)));
  table.next.push(pass, pass, answers(400, { __type: 'x#ThrottlingException', message: 'slow' }));
  const first = await sink.deliver(batchOf(items), never);
  const again = items.filter((_item, index) => first[index] !== null);
  assert.ok(again.length > 0 && again.length < items.length);
  assert.ok(first.every((outcome) => outcome === null || outcome.code === 'throttled'));
  const keysOf = (some: readonly BatchItem[]): ReadonlySet<string> =>
    new Set(some.map(({ data }) => (JSON.parse(data.toString()) as { device: string }).device));
  assert.equal(again.length, 3 * keysOf(again).size, 'a key fares as one');
  assert.ok((await sink.deliver(batchOf(again), never)).every((outcome) => outcome === null));
  const values = (await table.items()).map(({ device: name, v }) => [name?.S, Number(v?.N)]);
  assert.equal(values.length, 30);
  for (const [name, v] of values) assert.equal(name, `d${Number(v) - 60}`);
});

/** Says of some items that they were not written, and does not write them. */
const unprocessed: Behaviour = async (request, serve) => {
  const input = JSON.parse(request.body.toString()) as {
    RequestItems: Record<string, { PutRequest: { Item: { n: { N: string } } } }[]>;
  };
  const answer = await serve(request);
  const left = (input.RequestItems['devices'] ?? []).filter(
    ({ PutRequest }) => Number(PutRequest.Item.n.N) % 3 === 0,
  );
  const changed = { ...JSON.parse(answer.body), UnprocessedItems: { devices: left } } as unknown;
  return { ...answer, body: JSON.stringify(changed) };
};

test('items that the table had no capacity for are told, and no others', async (context) => {
  const table = await startTable(context);
  const sink = sinkTo(context, table);
  table.next.push(pass, unprocessed, unprocessed);
  const items = itemsOf(0, 50);
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    items.map((_item, index) => (index % 3 === 0 ? 'throttled' : null)),
  );
  assert.equal(table.requests.length, 3, '25 a call');
});

const stranger = { PutRequest: { Item: { device: { S: 'stranger' } } } };
const wrong: readonly (readonly [string, SinkErrorCode, Behaviour])[] = [
  ['an item of others left', 'unavailable', answers(200, { UnprocessedItems: { x: [stranger] } })],
  [
    'a key that is none',
    'unavailable',
    answers(200, { UnprocessedItems: { x: [{ PutRequest: { Item: { device: 7 } } }] } }),
  ],
  ['nothing', 'unavailable', answers(200, {})],
  ['rubbish', 'unavailable', answers(200, '<html>')],
  ['a login page', 'unavailable', answers(302, '')],
  ['400 of a proxy', 'unavailable', answers(400, 'Bad Request')],
  [
    'too much asked of the table',
    'throttled',
    answers(400, { __type: 'a#ProvisionedThroughputExceededException', message: 'slow down' }),
  ],
  ['no right', 'denied', answers(400, { __type: 'a#AccessDeniedException', Message: 'no' })],
  ['no table', 'missing', answers(400, { __type: 'a#ResourceNotFoundException' })],
  [
    'a clock',
    'clock',
    answers(400, { __type: 'a#InvalidSignatureException', message: 'Signature expired' }),
  ],
  ['a token that is old', 'credentials', answers(400, { __type: 'a#ExpiredTokenException' })],
  ['500', 'unavailable', answers(500, { __type: 'a#InternalServerError' })],
  ['a connection dropped', 'unreachable', drops],
];

for (const [name, code, behaviour] of wrong) {
  test(`a table that answers with ${name}: ${code}`, async (context) => {
    const table = await startTable(context);
    table.next.push(pass, behaviour);
    const sink = sinkTo(context, table);
    const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 2)), never));
    assert.equal(failure.code, code, failure.message);
    assert.equal(table.requests.length, 2, 'one attempt');
    assert.ok((await sink.deliver(batchOf(itemsOf(0, 2)), never)).every((one) => one === null));
  });
}

test('an item that the table alone can refuse is found, and the others are written', async (context) => {
  const table = await startTable(context);
  const sink = sinkTo(context, table);
  const items = itemsOf(0, 60);
  // As an attribute of the wrong type for a secondary index.
  const poison: Behaviour = (request, serve) =>
    request.body.includes('"device-37"')
      ? {
          status: 400,
          body: JSON.stringify({
            __type: 'com.amazon.coral.validate#ValidationException',
            message: 'One or more parameter values were invalid',
          }),
        }
      : serve(request);
  for (let count = 0; count < 20; count += 1) table.next.push(poison);
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.flatMap((outcome, index) => (outcome === null ? [] : [[index, outcome.code]])),
    [[37, 'rejected']],
  );
  assert.equal((await table.items()).length, 59);
});

test('a table that is not there is told with what to do, and its key is learnt once it is', async (context) => {
  const table = await startTable(context);
  const lost = sinkTo(context, table, { table: 'nowhere' });
  const failure = await failureOf(lost.deliver(batchOf(itemsOf(0, 1)), never));
  assert.equal(failure.code, 'missing');
  assert.match(failure.advice ?? '', /Create the table, or correct to\.dynamodb\.table/);

  const sink = sinkTo(context, table);
  for (const [answer, message] of [
    [{ Table: { TableStatus: 'CREATING', KeySchema: [], AttributeDefinitions: [] } }, /creating/],
    [{ Table: {} }, /without a key/],
    ['rubbish', /without a key/],
  ] as const) {
    table.next.push(answers(200, answer));
    const early = await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
    assert.equal(early.code, 'unavailable');
    assert.match(early.message, message);
  }
  assert.deepEqual(await sink.deliver(batchOf(itemsOf(0, 1)), never), [null]);
});

test('items of up to 400 KB go, in calls that the service takes', async (context) => {
  const table = await startTable(context);
  const sink = sinkTo(context, table);
  const items = itemsOf(0, 40).map((item, index) => ({
    ...item,
    data: Buffer.from(JSON.stringify({ device: `d${index}`, text: '\t'.repeat(390_000) })),
  }));
  assert.ok((await sink.deliver(batchOf(items), never)).every((outcome) => outcome === null));
  assert.ok(table.requests.every(({ body }) => body.length < 16e6));
  assert.equal((await table.items()).length, 40);
});
