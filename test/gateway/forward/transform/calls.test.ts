import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';
import { SinkError, type SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import { callsOf, payloadOf } from '../../../../gateway/forward/transform/batches.ts';
import { failureOf } from '../../../../gateway/forward/transform/open-transform.ts';
import { functionOf, keys, kinds, moduleFile, serve } from '../../functions/support/functions.ts';
import { answering, context, inSlices, opened, recordOf, recordsOf, shown } from './support.ts';

const limits = { batchBytes: 2 ** 20, payloadBytesMax: 6 * 2 ** 20 };

/** The calls: how many records each has, with its id. */
async function callsFor(records: readonly ShapedRecord[], slice: number, some = limits) {
  const calls: { id: string; records: number; dataBytes: number; payloadBytes: number }[] = [];
  for await (const { id, entries } of callsOf(inSlices(records, slice), context, some)) {
    const dataBytes = entries.reduce((sum, { record }) => sum + record.data.length, 0);
    const payloadBytes = payloadOf(id, entries, context).length;
    calls.push({ id, records: entries.length, dataBytes, payloadBytes });
  }
  return calls;
}

test('calls are cut by bytes, however the records come', async () => {
  const records = Array.from({ length: 100 }, (_, index) =>
    recordOf(index, Buffer.alloc((index * 7919) % 60_000)),
  );
  const calls = await callsFor(records, 1);
  assert.equal(
    calls.reduce((sum, call) => sum + call.records, 0),
    100,
  );
  assert.ok(calls.length > 2);
  for (const [index, { dataBytes, records: count }] of calls.entries()) {
    assert.ok(dataBytes <= limits.batchBytes);
    const next = records[calls.slice(0, index + 1).reduce((sum, call) => sum + call.records, 0)];
    if (next !== undefined) assert.ok(dataBytes + next.data.length > limits.batchBytes, `${count}`);
  }
  for (const slice of [3, 99, 100]) assert.deepEqual(await callsFor(records, slice), calls);
  assert.equal(new Set(calls.map(({ id }) => id)).size, calls.length);
});

test('a call has no more JSON than may be handed over, to the byte', async () => {
  const records = Array.from({ length: 400 }, (_, index) => ({
    ...recordOf(index, 'x'),
    partitionKey: '"é'.repeat((index * 31) % 250),
  }));
  const some = { ...limits, payloadBytesMax: 20_000 };
  const calls = await callsFor(records, 7, some);
  assert.ok(calls.length > 5);
  assert.ok(calls.every(({ payloadBytes }) => payloadBytes <= some.payloadBytesMax));
  const [{ payloadBytes, records: count } = assert.fail()] = calls;
  const exact = records.slice(0, count);
  const fits = await callsFor(exact, 7, { ...limits, payloadBytesMax: payloadBytes });
  assert.equal(fits.length, 1);
  const tight = await callsFor(exact, 7, { ...limits, payloadBytesMax: payloadBytes - 1 });
  assert.deepEqual(
    tight.map((call) => call.records),
    [count - 1, 1],
  );
});

test('a record as large as a call may have goes through, a larger one fails by itself', async (t) => {
  const source = answering('return { records: records.map((r) => ok(r, r.data.length + "")) };');
  const { run } = opened(t, { function: await functionOf(t, 'lambda', source) });
  const alone = 4.5 * 2 ** 20;
  const records = [
    recordOf(1, 'a'),
    recordOf(2, Buffer.alloc(alone)),
    recordOf(3, 'b'),
    recordOf(4, Buffer.alloc(alone - 1024)),
    recordOf(5, 'c'),
  ];
  const batches = await run(records);
  assert.deepEqual(
    batches.map((batch) => shown([batch]).records),
    [['1 4'], [], ['3 4'], [`4 ${4 * Math.ceil((alone - 1024) / 3)}`], ['5 4']],
  );
  const [failed] = batches[1]!.failed;
  assert.equal(failed!.errorCode, 'Lambda.RequestTooLargeException');
  assert.equal(failed!.record, records[1]);
});

for (const kind of kinds) {
  test(`${kind}: an answer that is too large is asked for in parts, and one record alone fails`, async (t) => {
    const { run } = opened(t, {
      function: await functionOf(
        t,
        kind,
        answering(
          `return { records: records.map((r) =>
            r === of('r5') ? ok(r, 'x'.repeat(5e6)) : ok(r, String(records.length).padEnd(1e6))) };`,
        ),
      ),
      retries: 0,
    });
    const [batch] = await run(recordsOf(12));
    assert.deepEqual(
      batch!.records.map(({ sequence, data }) => `${sequence} ${data.toString().trim()}`),
      // Of 12 records 6 at once are too many still, as a million bytes are 1.33 million in Base64.
      [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11].map(
        (index) => `${100 + index} ${index === 3 || index === 4 ? 2 : 3}`,
      ),
    );
    const [failed, ...others] = batch!.failed;
    assert.deepEqual(others, []);
    assert.deepEqual(
      [failed!.record.sequence, failed!.errorCode, failed!.attempts],
      [105, 'Lambda.FunctionError', 1],
    );
    assert.match(failed!.errorMessage, /more than 6291456 bytes/);
  });

  test(`${kind}: a second run makes the same calls, in order, with the same ids`, async (t) => {
    const source = `export const handler = ({ invocationId, records }) => ({ records: records.map(
      ({ recordId }) => ({ recordId, result: 'Ok', data: Buffer.from(invocationId + recordId).toString('base64') })) })`;
    const { run } = opened(t, {
      function: await functionOf(t, kind, source),
      batchBytes: 4,
    });
    const once = await run(recordsOf(9));
    assert.equal(once.length, 5);
    assert.deepEqual(await run(recordsOf(9), { slice: 2 }), once);
    const other = await run(recordsOf(9), { plan: { ...context, planId: 'another' } });
    assert.notDeepEqual(other, once);
    assert.deepEqual(await run([]), []);
  });

  test(`${kind}: a run that is called off ends with the reason`, async (t) => {
    const { run } = opened(t, {
      function: await functionOf(t, kind, answering('return new Promise(() => {});')),
    });
    const end = new AbortController();
    const reason = new Error('enough');
    const running = run(recordsOf(1), { signal: end.signal });
    setImmediate(() => {
      end.abort(reason);
    });
    await assert.rejects(running, reason);
  });
}

function held(code: SinkErrorCode, message: RegExp, hasAdvice: boolean) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof SinkError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.equal(error.advice !== null, hasAdvice);
    return true;
  };
}

test('an endpoint that says no holds the records, and fails none', async (t) => {
  let calls = 0;
  const url = await serve(t, (request, _body, response) => {
    calls += 1;
    response.writeHead(Number(request.url?.slice(1))).end();
  });
  for (const [status, code, expected] of [
    [429, 'throttled', 4],
    [503, 'throttled', 4],
    [502, 'unreachable', 4],
    [404, 'denied', 1],
  ] as const) {
    calls = 0;
    const http = { url: `${url}/${status}`, authorization: null };
    const { run } = opened(t, { function: { http } });
    const message = new RegExp(`can't be run: .*status ${status}`);
    await assert.rejects(run(recordsOf(2)), held(code, message, code === 'denied'));
    assert.equal(calls, expected, `${status}`);
  }
});

test('a function that is asked for less at times still gets everything', async (t) => {
  let calls = 0;
  const url = await serve(t, (_request, body, response) => {
    calls += 1;
    if (calls % 3 !== 0) {
      response.writeHead(429).end();
      return;
    }
    const { records } = JSON.parse(body.toString()) as { records: object[] };
    response.end(JSON.stringify({ records: records.map((r) => ({ ...r, result: 'Ok' })) }));
  });
  const http = { url, authorization: null };
  const { run } = opened(t, { function: { http }, batchBytes: 4, retries: 2 });
  const batches = await run(recordsOf(6));
  assert.deepEqual(
    batches.flatMap((batch) => batch.records),
    recordsOf(6),
  );
});

test('a Lambda that is not there, and one without the right, hold the records', async (t) => {
  const target = { function: 'f', region: 'eu-central-1', ...keys };
  const away = { lambda: { ...target, endpoint: 'http://127.0.0.1:1' } };
  await assert.rejects(
    opened(t, { function: away, retries: 0 }).run(recordsOf(1)),
    held('unreachable', /does not answer/, false),
  );
  const known = await functionOf(t, 'lambda', answering('return 1'));
  assert.ok('lambda' in known);
  const denied = { lambda: { ...known.lambda, secretAccessKey: 'other' } };
  await assert.rejects(
    opened(t, { function: denied }).run(recordsOf(1)),
    held('denied', /InvalidSignatureException/, true),
  );
});

test('a module that does not load holds the records', async (t) => {
  const path = await moduleFile(t, 'export const handler = (');
  const module = { path, export: 'handler', memoryMaxMiB: 64, concurrency: 1 };
  const { run } = opened(t, { function: { module } });
  const once = new RegExp(`^the transform can't be run: ${path} can't be loaded: SyntaxError`);
  await assert.rejects(run(recordsOf(1)), held('denied', once, true));
});

for (const kind of ['http', 'lambda'] as const) {
  test(`${kind}: an answer that is no JSON fails all records, after all retries`, async (t) => {
    const { run } = opened(t, {
      function: await functionOf(t, kind, answering('return "RAW <html>";')),
    });
    assert.deepEqual(shown(await run(recordsOf(1))).failed, [
      '100 r0 processing-failed Lambda.JsonProcessingException 4',
    ]);
  });
}

test('a module that leaves, or fills its memory, fails its records', async (t) => {
  for (const deed of [
    'process.exit(1);',
    'const a = []; for (;;) a.push(new Array(999).fill(0.5));',
  ]) {
    const { run } = opened(t, {
      function: await functionOf(t, 'module', answering(deed)),
      retries: 1,
    });
    assert.deepEqual(shown(await run(recordsOf(1))).failed, [
      '100 r0 processing-failed Lambda.FunctionError 2',
    ]);
  }
});

test('what waited for a function until patience was lost has a code of Firehose', () => {
  const codes = (['unreachable', 'throttled', 'denied'] as const).map(
    (code) => failureOf(new SinkError(code, 'so')).errorCode,
  );
  assert.deepEqual(codes, [
    'Lambda.InvokeAPIException',
    'Lambda.InvokeLimitExceeded',
    'Lambda.InvokeAccessDenied',
  ]);
});
