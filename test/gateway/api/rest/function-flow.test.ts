import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  FunctionReplaySchema,
  FunctionSchema,
  FunctionsSchema,
} from '../../../../gateway/api/rest/function-schemas.ts';
import { startEventSources, type EventSources } from '../../../../gateway/event-sources.ts';
import { parseConfig } from '../../../../gateway/config/load.ts';
import type { Config } from '../../../../gateway/config/schema.ts';
import { streamOptions } from '../../../storage/support/open.ts';
import { moduleFile } from '../../functions/support/functions.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

interface Started {
  readonly gateway: TestGateway;
  readonly functions: EventSources;
  readonly configured: Config['functions'];
  readonly post: (path: string, body?: unknown) => Promise<Response>;
}

/** `failing` gives up what it gets; `held` is paused by the configuration. */
async function start(context: TestContext): Promise<Started> {
  const gateway = await startGateway(context);
  const { log, video, clock, logger, metrics } = gateway;
  for (const stream of ['readings', 'letters']) {
    await log.createStream({ ...streamOptions(), name: stream });
  }
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('{"id":1}') }]);
  const path = await moduleFile(
    context,
    `export const handler = () => { throw new Error('no'); };`,
  );
  const target = `{ from: { stream: readings }, function: { module: { path: ${path} } }`;
  const parsed = parseConfig({
    name: 'headgate.yaml',
    text: `streams: { readings: {}, letters: {} }
functions:
  failing: ${target}, retries: 0, deadLetter: { stream: letters } }
  held: ${target}, paused: true }`,
    folder: '/',
    env: {},
  });
  assert.ok(parsed.ok);
  const functions = await startEventSources({
    ...{ functions: parsed.config.functions, log, video, gatewayId: 'box', fetch },
    account: { accountId: '123456789012', region: 'eu-central-1' },
    ...{ clock, logger, metrics, random: () => 0.5 },
  });
  context.after(() => functions.close());
  gateway.sources.functionFlow = functions;
  gateway.sources.functions = () => functions.status();
  const post = async (path: string, body?: unknown): Promise<Response> =>
    gateway.app.request(`http://localhost/api/v1/functions/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  return { gateway, functions, configured: parsed.config.functions, post };
}

const isDone = async ({ gateway }: Started) => {
  for (;;) {
    const { functions } = FunctionsSchema.parse(await gateway.json('/api/v1/functions'));
    const failing = functions.find(({ name }) => name === 'failing');
    if (failing?.backlog.records === 0) return failing;
  }
};

test('a function is paused, rewound, resumed and given again what failed, each written down', async (context) => {
  const started = await start(context);
  const { gateway, post } = started;
  const { failed, deadLetter, state, lastError, advice, sinceTime, givenUp } =
    await isDone(started);
  assert.equal(deadLetter, 'stream letters');
  assert.deepEqual([failed?.batches, failed?.newest?.reason.includes('no')], [1, true]);
  const one = { batches: 1, records: 1 };
  const time = '2026-01-01T00:00:00.000Z';
  assert.deepEqual([state, lastError, advice, sinceTime], ['running', null, null, time]);
  assert.deepEqual(givenUp, {
    ...{ kept: one, gone: { batches: 0, records: 0 } },
    newest: { time, reason: 'it threw Error: no' },
  });
  const alone = FunctionSchema.parse(await gateway.json('/api/v1/functions/failing'));
  assert.deepEqual([alone.name, alone.failed?.batches], ['failing', 1]);
  const paused = FunctionSchema.parse(await (await post('failing/pause')).json());
  assert.equal(paused.state, 'waiting');
  assert.deepEqual(paused.held, { by: 'pause', reason: 'paused since 2026-01-01T00:00:00.000Z' });
  for (const to of ['2026-01-01T00:00:00Z', '0', 'earliest']) {
    const back = await post('failing/rewind', { to });
    assert.equal(FunctionSchema.parse(await back.json()).backlog.records, 1, to);
  }
  const asked = FunctionReplaySchema.parse(await (await post('failing/replay')).json());
  assert.deepEqual(asked, { name: 'failing', batches: 1 });
  const resumed = FunctionSchema.parse(await (await post('failing/resume')).json());
  assert.equal(resumed.held, null);
  await isDone(started);
  const entry = {
    ...{ resource: 'function/failing', caller: 'operator', accessKeyId: null },
    ...{ sourceAddress: 'unknown', requestId: null, outcome: 'ok' },
  };
  assert.deepEqual(
    gateway.audited,
    ['Pause', 'Rewind', 'Rewind', 'Rewind', 'Replay', 'Resume'].map((what) => ({
      ...entry,
      action: `headgate:${what}Function`,
    })),
  );
});

test('what is asked for while a function is begun again holds for the one that runs then', async (context) => {
  const started = await start(context);
  const { gateway, functions, configured, post } = started;
  await isDone(started);
  const { failing, held } = configured;
  assert.ok(failing !== undefined && held !== undefined);
  const changing = functions.update({ failing: { ...failing, deadLetter: null }, held });
  const paused = FunctionSchema.parse(await (await post('failing/pause')).json());
  await changing;
  const { functions: all } = FunctionsSchema.parse(await gateway.json('/api/v1/functions'));
  assert.deepEqual([paused.deadLetter, paused.held?.by], [null, 'pause']);
  assert.equal(all[0]?.held?.by, 'pause');
});

test('what the configuration holds back it alone lets go on', async (context) => {
  const { post } = await start(context);
  const held = { by: 'configuration', reason: 'functions.held.paused is true' };
  const resumed = FunctionSchema.parse(await (await post('held/resume')).json());
  assert.deepEqual([resumed.state, resumed.held], ['waiting', held]);
});

test('what is not there, not kept or not a time is refused; a removed one is forgotten', async (context) => {
  const started = await start(context);
  const { gateway, post, functions } = started;
  for (const what of ['pause', 'resume', 'replay', 'forget']) {
    const answer = await post(`nobody/${what}`);
    assert.equal(answer.status, 404, what);
    assert.match(await answer.text(), /There is no function named nobody/);
  }
  for (const body of [
    undefined,
    {},
    { to: 'yesterday' },
    { to: '2126-01-01T00:00:00Z' },
    { to: 'latest', more: 1 },
  ]) {
    assert.equal((await post('failing/rewind', body)).status, 400, JSON.stringify(body));
  }
  const kept = await post('held/replay');
  assert.equal(kept.status, 409);
  assert.match(await kept.text(), /held has no deadLetter/);
  const configured = await post('failing/forget');
  assert.equal(configured.status, 409);
  assert.match(await configured.text(), /failing is configured/);
  const path = 'http://localhost/api/v1/functions/failing/pause';
  assert.equal((await gateway.app.request(path, { method: 'POST' })).status, 401);
  await isDone(started);
  await post('failing/replay');
  await functions.update({});
  const { functions: none, removed } = FunctionsSchema.parse(
    await gateway.json('/api/v1/functions'),
  );
  assert.deepEqual(none, []);
  assert.deepEqual(
    removed.map(({ name, deadLetter, failed }) => [name, deadLetter, failed?.batches]),
    [
      ['failing', 'stream letters', 1],
      ['held', null, undefined],
    ],
  );
  assert.equal((await post('failing/forget')).status, 200);
  assert.equal((await post('failing/forget')).status, 404);
  const left = gateway.log.applications.list().map(({ name }) => name);
  assert.deepEqual(left, ['function:held']);
  const { attributes } = gateway.log.stream('letters');
  assert.deepEqual(attributes, {});
});
