/** Firehose's HTTP protocol: what is sent, and what endpoints do to it. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { test, type TestContext } from 'node:test';
import type { SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import {
  httpSink,
  type HttpSinkOptions,
} from '../../../../gateway/forward/sinks/http/http-sink.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { selfSigned } from '../../../support/certificate.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { accessKey, startFirehoseEndpoint } from '../support/firehose-endpoint.ts';
import {
  answers,
  breaksOff,
  drops,
  lies,
  losesAnswer,
  silence,
  type Behaviour,
} from '../support/stub-server.ts';
import { batchOf, failureOf, itemsOf } from './batch-sink-contract.ts';

const never = new AbortController().signal;
const sourceArn = 'arn:aws:firehose:eu-central-1:123456789012:deliverystream/partner';

function sinkTo(
  context: TestContext,
  url: string,
  options: Partial<HttpSinkOptions> & { readonly clock?: ManualClock } = {},
) {
  const sink = httpSink({
    ...{ url, accessKey, commonAttributes: {}, compression: 'none', sourceArn },
    clock: new ManualClock(),
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

test('a request has what the protocol says, with or without compression', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const items = itemsOf(0, 3);
  for (const compression of ['none', 'gzip'] as const) {
    const commonAttributes = { site: 'süd "1"', line: '7' };
    const sink = sinkTo(context, `${endpoint.url}/in?tenant=4`, { compression, commonAttributes });
    await sink.deliver(batchOf(items), never);
    const request = endpoint.requests.at(-1);
    assert.ok(request);
    assert.equal(request.url.search, '?tenant=4');
    assert.equal(request.headers['x-amz-firehose-request-id'], batchOf(items).id);
    assert.equal(request.headers['x-amz-firehose-source-arn'], sourceArn);
    assert.deepEqual(
      JSON.parse(String(request.headers['x-amz-firehose-common-attributes'])),
      { commonAttributes },
      'as ASCII, escaped',
    );
    const plain = compression === 'gzip' ? gunzipSync(request.body) : request.body;
    assert.deepEqual(JSON.parse(plain.toString()), {
      requestId: batchOf(items).id,
      timestamp: Date.UTC(2026, 0, 1),
      records: items.map(({ data }) => ({ data: data.toString('base64') })),
    });
  }
});

test('without an access key and attributes, their headers are not there', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const sink = sinkTo(context, endpoint.url, { accessKey: null });
  assert.equal((await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never))).code, 'denied');
  const names = Object.keys(endpoint.requests[0]?.headers ?? {});
  assert.deepEqual(
    names.filter((name) => /access-key|common|encoding/.test(name)),
    [],
  );
});

const wrong: readonly (readonly [string, SinkErrorCode, Behaviour, RegExp])[] = [
  ['a wrong request id', 'unavailable', lies((a) => ({ ...a, requestId: 'x' })), /another request/],
  ['no timestamp', 'unavailable', lies(({ requestId }) => ({ requestId })), /of the protocol/],
  ['a timestamp in words', 'unavailable', lies((a) => ({ ...a, timestamp: 'now' })), /protocol/],
  ['200 and rubbish', 'unavailable', answers(200, '<html>Welcome to the hotel</html>'), /protocol/],
  ['200 and nothing', 'unavailable', answers(200, ''), /protocol/],
  ['201', 'unavailable', answers(201, { requestId: 'x', timestamp: 1 }), /status 201/],
  ['a redirect', 'unavailable', answers(302, '', { location: 'http://127.0.0.1:1/' }), /302/],
  ['400', 'rejected', answers(400, { errorMessage: 'no such tenant' }), /no such tenant/],
  ['403', 'denied', answers(403, {}), /status 403/],
  ['404', 'missing', answers(404, 'nothing here'), /nothing here/],
  ['408', 'timeout', answers(408, ''), /408/],
  ['429', 'throttled', answers(429, ''), /429/],
  ['500', 'unavailable', answers(500, { errorMessage: 'oh' }), /500: oh/],
  ['503', 'throttled', answers(503, ''), /503/],
  ['507', 'full', answers(507, ''), /507/],
  ['a connection dropped', 'unreachable', drops, /./],
  ['an answer lost', 'unreachable', losesAnswer, /./],
  ['half an answer', 'unreachable', breaksOff, /./],
  ['an endless answer', 'unavailable', answers(200, 'x'.repeat(1_100_000)), /more than/],
];

for (const [name, code, behaviour, message] of wrong) {
  test(`an endpoint that answers with ${name}: ${code}`, async (context) => {
    const endpoint = await startFirehoseEndpoint(context);
    endpoint.next.push(behaviour);
    const sink = sinkTo(context, endpoint.url);
    const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 4)), never));
    assert.equal(failure.code, code, failure.message);
    assert.match(failure.message, message);
    assert.equal(endpoint.requests.length, 1, 'one attempt');
    await sink.deliver(batchOf(itemsOf(0, 4)), never);
  });
}

test('the secrets that an endpoint repeats are not told', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const sink = sinkTo(context, endpoint.url, { accessKey: 'hunter2-hunter2' });
  const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
  assert.match(failure.message, /status 401: Access key \*\*\* is not ours/);
  assert.match(failure.advice ?? '', /to\.http\.accessKey/);
});

test('a destination that says when to come again is heard', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const sink = sinkTo(context, endpoint.url);
  const date = 'Sun, 22 Nov 2026 08:00:00 GMT';
  const later = 'Sun, 22 Nov 2026 08:01:30 GMT';
  for (const [headers, wanted] of [
    [{ 'retry-after': '17' }, 17_000],
    [{ 'retry-after': later, date }, 90_000],
    [{ 'retry-after': date, date: later }, 0],
    [{ 'retry-after': 'soon' }, null],
    [{}, null],
  ] as const) {
    endpoint.next.push(answers(503, '', headers));
    const failure = await failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
    assert.equal(failure.retryAfterMs, wanted, JSON.stringify(headers));
  }
});

test('what is too large is halved, until only the record that is too large by itself is left', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  endpoint.maxBytes = 3_000;
  const sink = sinkTo(context, endpoint.url);
  const small = itemsOf(0, 40);
  const [large] = itemsOf(100, 1, 'x'.repeat(4_000));
  assert.ok(large);
  const items = [...small.slice(0, 13), large, ...small.slice(13)];
  const outcomes = await sink.deliver(batchOf(items), never);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.code ?? null),
    items.map((item) => (item === large ? 'too-large' : null)),
  );
  assert.deepEqual(
    endpoint.taken.map(({ data }) => data),
    small.map(({ data }) => data),
    'each once, in order',
  );
  const ids = new Set(endpoint.taken.map(({ requestId }) => requestId));
  assert.ok(ids.size > 1 && !ids.has(batchOf(items).id), 'pieces have ids of their own');

  const before = endpoint.requests.length;
  await sink.deliver(batchOf(small), never);
  const again = endpoint.requests.slice(before).filter(({ body }) => body.length > 3_000);
  const first = endpoint.requests.slice(0, before).filter(({ body }) => body.length > 3_000);
  assert.ok(again.length <= 1 && first.length > 1, 'about what it takes is remembered');
});

test('the pieces of a batch that come again have the same ids', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  endpoint.maxBytes = 3_000;
  const sink = sinkTo(context, endpoint.url);
  await sink.deliver(batchOf(itemsOf(0, 40)), never);
  const idsOf = (from: number): readonly string[] =>
    endpoint.taken.slice(from).map(({ requestId }) => requestId);
  const first = idsOf(0);
  await sink.deliver(batchOf(itemsOf(0, 40)), never);
  await sink.deliver(batchOf(itemsOf(0, 40)), never);
  assert.deepEqual(idsOf(80), idsOf(40).slice(0, 40));
  assert.equal(new Set(first).size > 1, true);
});

test('of a batch in pieces, what was taken before a failure is known', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  endpoint.maxBytes = 3_000;
  const sink = sinkTo(context, endpoint.url);
  await sink.deliver(batchOf(itemsOf(0, 40)), never);
  endpoint.taken.length = 0;
  endpoint.next.push((request, serve) => serve(request), drops);
  const outcomes = await sink.deliver(batchOf(itemsOf(0, 40)), never);
  const taken = outcomes.filter((outcome) => outcome === null).length;
  assert.equal(taken, endpoint.taken.length);
  assert.ok(taken > 0 && taken < 40);
  assert.ok(outcomes.slice(taken).every((outcome) => outcome?.code === 'unreachable'));
});

test('an endpoint that is silent, and a connection that is never made: timeout', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const clock = new ManualClock();
  const sink = sinkTo(context, endpoint.url, { clock });
  endpoint.next.push(silence);
  const failing = failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
  await endpoint.came(1);
  clock.advance(180_000);
  const failure = await failing;
  assert.equal(failure.code, 'timeout');
  assert.match(failure.message, /no answer within 180 s/);
});

test('a call that hangs is called off at once', async (context) => {
  const endpoint = await startFirehoseEndpoint(context);
  const sink = sinkTo(context, endpoint.url);
  endpoint.next.push(silence);
  const controller = new AbortController();
  const failing = failureOf(sink.deliver(batchOf(itemsOf(0, 1)), controller.signal));
  await endpoint.came(1);
  controller.abort();
  assert.equal((await failing).code, 'aborted');
});

test('a certificate is trusted when its authority is in caFile, and not otherwise', async (context) => {
  const made = await selfSigned(context, 'localhost');
  if (made === null) return;
  const endpoint = await startFirehoseEndpoint(context, made);
  const caFile = join(await temporaryFolder(context), 'ca.pem');
  const url = endpoint.url.replace('127.0.0.1', 'localhost');
  const sink = sinkTo(context, url, { caFile });
  const attempt = () => failureOf(sink.deliver(batchOf(itemsOf(0, 1)), never));
  const unread = await attempt();
  assert.equal(unread.code, 'untrusted');
  assert.match(unread.message, /ca\.pem can't be read/);
  await writeFile(caFile, made.cert);
  assert.deepEqual(await sink.deliver(batchOf(itemsOf(0, 1)), never), [null], 'read anew');

  const strangers = await failureOf(sinkTo(context, url).deliver(batchOf(itemsOf(0, 1)), never));
  assert.equal(strangers.code, 'untrusted');
  assert.match(strangers.advice ?? '', /to\.http\.caFile/);
  const misnamed = sinkTo(context, endpoint.url, { caFile });
  assert.equal(
    (await failureOf(misnamed.deliver(batchOf(itemsOf(0, 1)), never))).code,
    'untrusted',
  );
});
