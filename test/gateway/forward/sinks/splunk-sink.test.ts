/** Splunk's event collector: what is sent, and how its acknowledgements are waited for. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Outcomes, SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import { idField } from '../../../../gateway/forward/sinks/splunk/events.ts';
import {
  splunkSink,
  type SplunkSinkOptions,
} from '../../../../gateway/forward/sinks/splunk/splunk-sink.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { startSplunk, token, type SplunkStub } from '../support/splunk-stub.ts';
import { answers, drops, lies, type Behaviour } from '../support/stub-server.ts';
import { batchOf, failureOf, itemsOf } from './batch-sink-contract.ts';

const never = new AbortController().signal;
const channel = '0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba';

function sinkTo(
  context: TestContext,
  splunk: SplunkStub,
  options: Partial<SplunkSinkOptions> = {},
) {
  const clock = new ManualClock();
  const sink = splunkSink({
    ...{ endpoint: splunk.url, token, channel, mode: 'event', index: null, source: null },
    ...{ sourcetype: null, host: null, acknowledgements: true, ackTimeoutMs: 60_000 },
    ...{ maxBytes: 5e6, clock },
    ...options,
  });
  context.after(() => sink.close());
  return { sink, clock };
}

/** Lets the clock run until the call has ended. Returns what it ended with, and how long it took. */
async function runUntil(
  clock: ManualClock,
  delivering: Promise<Outcomes>,
): Promise<{ readonly outcomes: Promise<Outcomes>; readonly tookMs: number }> {
  let isOver = false;
  const end = (): void => {
    isOver = true;
  };
  delivering.then(end, end);
  const startedMs = clock.monotonicMs();
  const over = (): boolean => isOver;
  while (!over()) {
    clock.advance(50);
    // Requests are under way, for which no clock is needed.
    for (let turn = 0; turn < 20 && !over(); turn += 1) await setImmediate();
  }
  return { outcomes: delivering, tookMs: clock.monotonicMs() - startedMs };
}

test('an event has what is known of it, and its id', async (context) => {
  const splunk = await startSplunk(context);
  const { sink, clock } = sinkTo(context, splunk, {
    ...{ index: 'main', source: 'yard', sourcetype: 'json', host: 'box "1"' },
  });
  const texts = ['{"a":\n1}', 'plain "text"', '[1,2]', '12', '{broken'];
  const items = itemsOf(0, texts.length).map((item, index) => ({
    ...item,
    arrivalMs: 1_772_020_800_007,
    data: Buffer.from(texts[index] ?? ''),
  }));
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(
    await outcomes,
    items.map(() => null),
  );
  assert.deepEqual(
    splunk.events,
    [{ a: 1 }, 'plain "text"', '[1,2]', '12', '{broken'].map((event, index) => ({
      ...{ time: 1_772_020_800.007, index: 'main', source: 'yard', sourcetype: 'json' },
      ...{ host: 'box "1"', fields: { [idField]: items[index]?.id ?? '' }, event },
    })),
  );
});

test('what no event can be is rejected by itself', async (context) => {
  const splunk = await startSplunk(context);
  const { sink, clock } = sinkTo(context, splunk);
  const data = [Buffer.from('ok'), Buffer.of(), Buffer.from(' \n'), Buffer.of(0xff, 0xfe)];
  const items = itemsOf(0, 4).map((item, index) => ({ ...item, data: data[index] ?? item.data }));
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(
    (await outcomes).map((outcome) => outcome?.code ?? null),
    [null, 'rejected', 'rejected', 'rejected'],
  );
  assert.equal(splunk.events.length, 1);
});

test('raw records go as they are, a line each', async (context) => {
  const splunk = await startSplunk(context);
  const { sink, clock } = sinkTo(context, splunk, {
    ...{ mode: 'raw', index: 'main', sourcetype: 'a b', host: 'h&x' },
  });
  const data = [Buffer.from('one'), Buffer.from('two\n'), Buffer.of(), Buffer.of(0xff, 0x00)];
  const items = itemsOf(0, 4).map((item, index) => ({ ...item, data: data[index] ?? item.data }));
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(
    (await outcomes).map((outcome) => outcome?.code ?? null),
    [null, null, 'rejected', null],
  );
  assert.deepEqual(splunk.raw, [
    {
      text: 'one\ntwo\n\xff\0\n',
      query: `?channel=${channel}&index=main&sourcetype=a%20b&host=h%26x`,
    },
  ]);
});

test('it is waited until the indexers have it', async (context) => {
  const splunk = await startSplunk(context);
  splunk.asksBeforeAck = 6;
  const { sink, clock } = sinkTo(context, splunk);
  const { outcomes, tookMs } = await runUntil(clock, sink.deliver(batchOf(itemsOf(0, 3)), never));
  assert.deepEqual(await outcomes, [null, null, null]);
  assert.ok(tookMs >= 250 + 500 + 1000 + 2000 + 4000 + 5000, `asked ever more rarely: ${tookMs}`);
  const asked = splunk.requests.filter(({ url }) => url.pathname.endsWith('/ack')).length;
  assert.equal(asked, 1 + 7, 'once before anything is sent');
});

test('an acknowledgement that never comes is a time-out, and the next attempt sends again', async (context) => {
  const splunk = await startSplunk(context);
  splunk.asksBeforeAck = Infinity;
  const { sink, clock } = sinkTo(context, splunk);
  const items = itemsOf(0, 2);
  const late = await runUntil(clock, sink.deliver(batchOf(items), never));
  const failure = await failureOf(late.outcomes);
  assert.equal(failure.code, 'timeout');
  assert.match(failure.message, /not acknowledged within 60 s/);
  assert.match(failure.advice ?? '', /ackTimeoutSeconds/);
  assert.ok(late.tookMs >= 60_000 && late.tookMs <= 66_000, String(late.tookMs));
  splunk.asksBeforeAck = 0;
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(await outcomes, [null, null]);
  const ids = splunk.events.map(({ fields }) => fields?.[idField]);
  assert.deepEqual(
    ids,
    [...items, ...items].map(({ id }) => id),
    'and can be told',
  );
});

test('while acknowledgements are asked for, an outage of them costs nothing', async (context) => {
  const splunk = await startSplunk(context);
  const { sink, clock } = sinkTo(context, splunk);
  const pass: Behaviour = (request, serve) => serve(request);
  const behaviours = [drops, answers(503, ''), answers(200, 'rubbish'), answers(502, '<html>')];
  splunk.next.push(pass, pass, ...behaviours);
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(itemsOf(0, 2)), never));
  assert.deepEqual(await outcomes, [null, null]);
  assert.equal(splunk.events.length, 2, 'sent once');
});

test('waiting for an acknowledgement is called off at once', async (context) => {
  const splunk = await startSplunk(context);
  splunk.asksBeforeAck = Infinity;
  const { sink } = sinkTo(context, splunk);
  const controller = new AbortController();
  const delivering = failureOf(sink.deliver(batchOf(itemsOf(0, 2)), controller.signal));
  await splunk.came(2);
  controller.abort();
  assert.equal((await delivering).code, 'aborted');
});

test('nothing is sent with a token that does not acknowledge', async (context) => {
  const splunk = await startSplunk(context);
  splunk.acknowledges = false;
  const { sink, clock } = sinkTo(context, splunk);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const { outcomes } = await runUntil(clock, sink.deliver(batchOf(itemsOf(0, 2)), never));
    const failure = await failureOf(outcomes);
    assert.equal(failure.code, 'denied');
    assert.match(failure.message, /ACK is disabled \(code 14\)/);
    assert.match(failure.advice ?? '', /to\.splunk\.acknowledgements: false/);
  }
  await assert.rejects(Promise.resolve(sink.check?.(never)), { code: 'denied' });
  assert.deepEqual(splunk.events, []);

  const content = sinkTo(context, splunk, { acknowledgements: false }).sink;
  assert.deepEqual(await content.deliver(batchOf(itemsOf(0, 2)), never), [null, null]);
  assert.match((await content.check?.(never)) ?? '', /takes the token$/);
});

test('a token that stops acknowledging is noticed after one request', async (context) => {
  const splunk = await startSplunk(context);
  const { sink, clock } = sinkTo(context, splunk);
  const deliver = async () =>
    (await runUntil(clock, sink.deliver(batchOf(itemsOf(0, 1)), never))).outcomes;
  await deliver();
  splunk.acknowledges = false;
  for (let attempt = 0; attempt < 3; attempt += 1) {
    assert.equal((await failureOf(deliver())).code, 'denied');
  }
  assert.equal(splunk.events.length, 2);
  splunk.acknowledges = true;
  assert.deepEqual(await deliver(), [null]);
});

const refused: readonly (readonly [string, SinkErrorCode, Behaviour])[] = [
  ['a disabled token', 'denied', answers(403, { text: 'Token disabled', code: 1 })],
  ['an index of others', 'denied', answers(400, { text: 'Incorrect index', code: 7 })],
  ['500', 'unavailable', answers(500, { text: 'Internal server error', code: 8 })],
  ['a busy server', 'throttled', answers(503, { text: 'Server is busy', code: 9 })],
  ['a shutdown', 'throttled', answers(503, { text: 'Server is shutting down', code: 23 })],
  ['a login page', 'unavailable', answers(200, '<html>')],
  ['200 and another code', 'unavailable', answers(200, { text: 'Well', code: 8 })],
  ['400 of a proxy', 'unavailable', answers(400, 'Bad Request')],
  ['an id that is none', 'unavailable', lies((a) => ({ ...a, ackId: 'first' }))],
  ['a connection dropped', 'unreachable', drops],
];

for (const [name, code, behaviour] of refused) {
  test(`a collector that answers with ${name}: ${code}`, async (context) => {
    const splunk = await startSplunk(context);
    const { sink, clock } = sinkTo(context, splunk);
    splunk.next.push((request, serve) => serve(request), behaviour);
    const delivering = sink.deliver(batchOf(itemsOf(0, 2)), never);
    const failure = await failureOf((await runUntil(clock, delivering)).outcomes);
    assert.equal(failure.code, code, failure.message);
    assert.ok(!failure.message.includes(token));
  });
}

test('a wrong token is told with what to do', async (context) => {
  const splunk = await startSplunk(context);
  const { sink } = sinkTo(context, splunk, { token: 'another' });
  const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
  assert.equal(failure.code, 'denied');
  assert.match(failure.message, /Invalid token/);
  assert.match(failure.advice ?? '', /to\.splunk\.token/);
});

test('an event that is refused is found, and the others are taken', async (context) => {
  const splunk = await startSplunk(context);
  const items = itemsOf(0, 20);
  const poison = items[13]?.id;
  splunk.refuse = ({ fields }) => (fields?.[idField] === poison ? 15 : null);
  const { sink, clock } = sinkTo(context, splunk);
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(
    (await outcomes).flatMap((outcome, index) => (outcome === null ? [] : [[index, outcome.code]])),
    [[13, 'rejected']],
  );
  const ids = new Set(splunk.events.map(({ fields }) => fields?.[idField]));
  assert.equal(ids.size, 19);
});

test('what is too large is sent in pieces, each acknowledged', async (context) => {
  const splunk = await startSplunk(context);
  splunk.maxBytes = 2_000;
  splunk.asksBeforeAck = 1;
  const { sink, clock } = sinkTo(context, splunk);
  const [large] = itemsOf(50, 1, 'x'.repeat(3_000));
  assert.ok(large);
  const items = [...itemsOf(0, 30), large];
  const { outcomes } = await runUntil(clock, sink.deliver(batchOf(items), never));
  assert.deepEqual(
    (await outcomes).flatMap((outcome, index) => (outcome === null ? [] : [[index, outcome.code]])),
    [[30, 'too-large']],
  );
  assert.equal(splunk.events.length, 30);
});
