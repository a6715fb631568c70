import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { RemoteFunction } from '../../../gateway/functions/function.ts';
import { openFunction } from '../../../gateway/functions/open.ts';
import type { FunctionTarget } from '../../../gateway/functions/target.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import {
  functionError,
  functionOf,
  ImpatientClock,
  keys,
  kinds,
  serve,
} from './support/functions.ts';

const never = new AbortController().signal;
const timeoutMs = 300_000;

function opened(t: TestContext, target: FunctionTarget) {
  const clock = new ImpatientClock();
  const logger = new MemoryLogger();
  const answerBytesMax = 1024;
  const remote = openFunction(target, { clock, logger, fetch, timeoutMs, answerBytesMax });
  t.after(() => remote.close());
  return { clock, logger, remote };
}

function call(remote: RemoteFunction, event: unknown, signal = never): Promise<Buffer> {
  return remote.call({ id: 'call-1', payload: Buffer.from(JSON.stringify(event)) }, signal);
}

for (const kind of kinds) {
  test(`${kind}: a function gets its event and gives its answer`, async (t) => {
    const source = `export async function handler(event, { awsRequestId }) {
      return { event, id: awsRequestId };
    }`;
    const { remote } = opened(t, await functionOf(t, kind, source));
    const event = { text: 'ä\u2028"\\', list: [1, null] };
    const { id, ...answer } = JSON.parse((await call(remote, event)).toString()) as { id: string };
    assert.deepEqual(answer, { event });
    assert.equal(id, kind === 'lambda' ? 'of-lambda' : 'call-1');
    assert.equal(remote.kind, kind);
  });

  test(`${kind}: a function that returns nothing answers null`, async (t) => {
    const { remote } = opened(t, await functionOf(t, kind, 'export const handler = () => {};'));
    assert.equal((await call(remote, {})).toString(), 'null');
  });

  test(`${kind}: a function that throws says why, and is there for the next call`, async (t) => {
    const source = `export function handler({ broken }) {
      if (broken) throw new RangeError('out of it');
      return 'well';
    }`;
    const { remote } = opened(t, await functionOf(t, kind, source));
    await assert.rejects(call(remote, { broken: true }), functionError('failed', /out of it/));
    assert.equal((await call(remote, {})).toString(), '"well"');
  });

  test(`${kind}: a function that hangs is given up when its time is over`, async (t) => {
    const source = `let calls = 0;
      export async function handler({ hang }) {
        if (hang) await new Promise(() => {});
        return ++calls;
      }`;
    const { remote, clock } = opened(t, await functionOf(t, kind, source));
    await call(remote, {});
    const begun = clock.begun(timeoutMs);
    const refused = assert.rejects(call(remote, { hang: true }), functionError('timeout', /300 s/));
    await begun;
    clock.advance(timeoutMs);
    await refused;
    assert.match((await call(remote, {})).toString(), /^[12]$/);
  });

  test(`${kind}: an answer that is too large is refused`, async (t) => {
    const source = `export const handler = ({ bytes }) => 'x'.repeat(bytes - 2);`;
    const { remote } = opened(t, await functionOf(t, kind, source));
    assert.equal((await call(remote, { bytes: 1024 })).length, 1024);
    await assert.rejects(call(remote, { bytes: 1025 }), functionError('too-large', /1024 bytes/));
    await assert.rejects(call(remote, { bytes: 5e6 }), functionError('too-large'));
  });

  test(`${kind}: a call that is called off ends with the reason`, async (t) => {
    const source = 'export const handler = () => new Promise(() => {});';
    const { remote } = opened(t, await functionOf(t, kind, source));
    const end = new AbortController();
    const calledOff = call(remote, {}, end.signal);
    const reason = new Error('enough');
    setImmediate(() => {
      end.abort(reason);
    });
    await assert.rejects(calledOff, reason);
    await assert.rejects(call(remote, {}, end.signal), reason);
  });
}

test('what an endpoint answers says whether to ask again', async (t) => {
  const url = await serve(t, (request, _body, response) => {
    response.writeHead(Number(request.url?.slice(1)), { location: '/200' }).end('so\u0007 it is');
  });
  for (const [status, code] of [
    [204, null],
    [302, 'denied'],
    [400, 'denied'],
    [403, 'denied'],
    [404, 'denied'],
    [408, 'unreachable'],
    [413, 'too-large'],
    [429, 'throttled'],
    [500, 'failed'],
    [501, 'failed'],
    [502, 'unreachable'],
    [503, 'throttled'],
    [504, 'unreachable'],
  ] as const) {
    const { remote } = opened(t, { http: { url: `${url}/${status}`, authorization: null } });
    if (code === null) assert.equal((await call(remote, {})).length, 0);
    else await assert.rejects(call(remote, {}), functionError(code, new RegExp(`${status}.*so `)));
  }
});

test('what Lambda answers says whether to ask again', async (t) => {
  const endpoint = await serve(t, ({ url = '' }, _body, response) => {
    const status = Number(/functions\/s(\d+)\//.exec(url)?.[1]);
    if (status === 200) {
      response.setHeader('x-amz-function-error', 'Unhandled');
      response.end('{"errorType":"Sandbox.Timedout","errorMessage":"Error: Task timed out"}');
    } else response.writeHead(status, { 'x-amzn-errortype': 'SomeException:http://x' }).end();
  });
  for (const [status, code] of [
    [200, 'timeout'],
    [400, 'denied'],
    [403, 'denied'],
    [404, 'denied'],
    [413, 'too-large'],
    [429, 'throttled'],
    [500, 'unreachable'],
    [502, 'unreachable'],
  ] as const) {
    const lambda = { function: `s${status}`, region: 'eu-central-1', endpoint, ...keys };
    const { remote } = opened(t, { lambda });
    const message = code === 'timeout' ? /timed out/ : /SomeException$/;
    await assert.rejects(call(remote, {}), functionError(code, message));
  }
});

test('an answer that Lambda finds too large is told from one that went wrong', async (t) => {
  const endpoint = await serve(t, (_request, _body, response) => {
    response.setHeader('x-amz-function-error', 'Unhandled');
    response.end(
      '{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}',
    );
  });
  const { remote } = opened(t, { lambda: { function: 'f', region: 'a', endpoint, ...keys } });
  await assert.rejects(call(remote, {}), functionError('too-large', /6291556 bytes/));
});

test('a signature that the other side does not know is no fault of the function', async (t) => {
  const target = await functionOf(t, 'lambda', 'export const handler = () => 1;');
  assert.ok('lambda' in target);
  const { remote } = opened(t, { lambda: { ...target.lambda, secretAccessKey: 'other' } });
  await assert.rejects(call(remote, {}), functionError('denied', /InvalidSignatureException/));
});

test('nobody there, and a connection that breaks, are no fault of the function', async (t) => {
  const url = await serve(t, (_request, _body, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('{', () => response.destroy());
  });
  for (const there of ['http://127.0.0.1:1', url]) {
    const http = opened(t, { http: { url: there, authorization: null } });
    await assert.rejects(call(http.remote, {}), functionError('unreachable', /does not answer/));
    const target = { function: 'f', region: 'eu-central-1', endpoint: there, ...keys };
    const lambda = opened(t, { lambda: target });
    await assert.rejects(call(lambda.remote, {}), functionError('unreachable', /does not answer/));
  }
});
