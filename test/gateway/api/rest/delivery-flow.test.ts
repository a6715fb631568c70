import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import {
  DeliveryMeteringSchema,
  DeliverySchema,
} from '../../../../gateway/api/rest/delivery-schemas.ts';
import { ErrorSchema } from '../../../../gateway/api/rest/error-schemas.ts';
import { startDeliveries, type Deliveries } from '../../../../gateway/forward/deliveries.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import { streamOptions } from '../../../storage/support/open.ts';
import { testPrograms } from '../../forward/support/rig.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { startGateway, type TestGateway } from '../../http/gateway.ts';

interface Started {
  readonly gateway: TestGateway;
  readonly deliveries: Deliveries;
  readonly post: (path: string, body?: unknown) => Promise<Response>;
}

async function start(context: TestContext): Promise<Started> {
  const gateway = await startGateway(context);
  const { log, video, clock, logger, metrics } = gateway;
  await log.createStream(streamOptions());
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('{"id":1}') }]);
  const path = await temporaryFolder(context);
  const deliveries = startDeliveries({
    deliveries: [
      {
        ...{ name: 'archive', from: { stream: 'readings' }, to: { folder: { path } } },
        buffer: { maxSeconds: 1 },
      },
    ],
    ...{ log, video, gatewayId: 'box', programs: testPrograms, random: () => 0.5 },
    ...{ clock, logger, metrics },
  });
  context.after(() => deliveries.close());
  gateway.sources.deliveryFlow = deliveries;
  gateway.sources.deliveries = () => deliveries.status();
  const post = async (path: string, body?: unknown): Promise<Response> =>
    gateway.app.request(`http://localhost/api/v1/deliveries/${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  return { gateway, deliveries, post };
}

test('a delivery is paused, rewound and resumed, each written down', async (context) => {
  const { gateway, post } = await start(context);
  const paused = DeliverySchema.parse(await (await post('archive/pause')).json());
  assert.equal(paused.state, 'waiting');
  assert.deepEqual(paused.held, {
    by: 'pause',
    reason: 'paused since 2026-01-01T00:00:00.000Z',
    isFault: false,
    untilTime: null,
    advice: null,
  });
  assert.equal(paused.backlog.records, 1);
  assert.deepEqual(await gateway.json('/api/v1/deliveries/archive'), paused);
  const rewound = await post('archive/rewind', { to: 'latest' });
  assert.equal(DeliverySchema.parse(await rewound.json()).backlog.records, 0);
  for (const to of ['2026-01-01T00:00:00Z', '0', 'earliest']) {
    const back = await post('archive/rewind', { to });
    assert.equal(DeliverySchema.parse(await back.json()).backlog.records, 1, to);
  }
  const resumed = DeliverySchema.parse(await (await post('archive/resume')).json());
  assert.equal(resumed.held, null);
  const entry = {
    ...{ resource: 'delivery/archive', caller: 'operator', accessKeyId: null },
    ...{ sourceAddress: 'unknown', requestId: null, outcome: 'ok' },
  };
  assert.deepEqual(gateway.audited, [
    { ...entry, action: 'headgate:PauseDelivery' },
    ...[1, 2, 3, 4].map(() => ({ ...entry, action: 'headgate:RewindDelivery' })),
    { ...entry, action: 'headgate:ResumeDelivery' },
  ]);
});

test('what is not there or not a time is refused, and nothing changes', async (context) => {
  const { gateway, post } = await start(context);
  for (const what of ['pause', 'resume']) {
    const answer = await post(`nobody/${what}`);
    assert.equal(answer.status, 404);
    assert.match(await answer.text(), /There is no delivery named nobody/);
  }
  for (const what of ['deliveries', 'functions']) {
    const answer = await gateway.get(`/api/v1/${what}/nobody`);
    assert.equal(answer.status, 404);
    assert.match(await answer.text(), /There is no (delivery|function) named nobody/);
  }
  assert.equal((await post('nobody/rewind', { to: 'latest' })).status, 404);
  assert.equal(gateway.audited.at(-1)?.outcome, 'not-found');
  const rubbish = [undefined, {}, { to: '' }, { to: 'yesterday' }, { to: null }, { to: -1 }, []];
  for (const body of [
    ...rubbish,
    { to: '2026-02-30T00:00:00Z' },
    { to: '2126-01-01T00:00:00Z' },
    { to: 'latest', more: 1 },
  ]) {
    const answer = await post('archive/rewind', body);
    assert.equal(answer.status, 400, JSON.stringify(body));
  }
  assert.equal(gateway.audited.length, 3, 'what was not understood was not asked for');
  const asNobody = await gateway.app.request('http://localhost/api/v1/deliveries/archive/pause', {
    method: 'POST',
  });
  assert.equal(asNobody.status, 401);
  const answer = await gateway.json('/api/v1/deliveries');
  assert.match(JSON.stringify(answer), /"held":null/);
});

test('one that was removed says so, and is forgotten by force alone while records of it failed', async (context) => {
  const { gateway, deliveries, post } = await start(context);
  const { log } = gateway;
  await log.append('readings', [{ partitionKey: 'k', data: Buffer.from('no JSON') }]);
  const [archive] = await deliveries.status();
  assert.equal(archive?.name, 'archive');
  const path = await temporaryFolder(context);
  const strict: DeliveryOptions = {
    ...{ name: 'strict', from: { stream: 'readings' }, to: { folder: { path } } },
    ...{ buffer: { maxSeconds: 0 }, filter: 'id' },
  };
  await deliveries.update([strict]);
  for (let count = 0; count < 1;) {
    await setImmediate();
    count = (await deliveries.status())[0]?.failedRecords ?? 0;
  }
  const asked = async (path: string): Promise<[number, string]> => {
    const answer = await post(path);
    const { error } = ErrorSchema.parse(await answer.json());
    return [answer.status, error.message];
  };
  assert.deepEqual(await asked('strict/forget'), [
    409,
    'strict is configured: take it out first, then forget it.',
  ]);
  await deliveries.update([{ ...strict, origin: 'firehose' }]);
  assert.deepEqual(await asked('strict/forget'), [
    409,
    'strict was made over the Firehose API, and DeleteDeliveryStream deletes it.',
  ]);
  await deliveries.update([]);
  const left =
    'strict is no longer configured, and left 1 failed record. Configured again it goes on where it was; "headgate delivery forget strict" lets go of it.';
  for (const what of ['replay', 'pause', 'resume']) {
    assert.deepEqual(await asked(`strict/${what}`), [409, left]);
  }
  const forced =
    'With strict goes failed.strict (1 failed record not sent again). Configure strict again to send them, or forget it with force (--force, ?force=true).';
  assert.deepEqual(await asked('strict/forget'), [409, forced]);
  assert.deepEqual(await asked('strict/forget?force=false'), [409, forced]);
  assert.equal((await asked('strict/forget?force=perhaps'))[0], 400);
  assert.ok(log.streams().some(({ name }) => name === 'failed.strict'));
  assert.equal((await post('strict/forget?force=true')).status, 200);
  assert.ok(!log.streams().some(({ name }) => name === 'failed.strict'));
  assert.deepEqual(await asked('strict/forget?force=true'), [
    404,
    'There is no removed delivery named strict. There is only archive.',
  ]);
  assert.deepEqual(await asked('strict/replay'), [
    404,
    'There is no delivery named strict. There is none at all.',
  ]);
  assert.deepEqual(
    gateway.audited.map(({ action, outcome }) => `${action} ${outcome}`),
    [
      'headgate:ForgetDelivery conflict',
      'headgate:ForgetDelivery conflict',
      'headgate:ReplayDelivery conflict',
      'headgate:PauseDelivery conflict',
      'headgate:ResumeDelivery conflict',
      'headgate:ForgetDelivery conflict',
      'headgate:ForgetDelivery conflict',
      'headgate:ForgetDelivery ok',
      'headgate:ForgetDelivery not-found',
      'headgate:ReplayDelivery not-found',
    ],
  );
});

test('a body that is missing, or of another kind, is told so', async (context) => {
  const { gateway } = await start(context);
  const json = 'application/json';
  const wanted = 'it has to be JSON, sent with "content-type: application/json"';
  const cases: readonly (readonly [string | null, string | null, number, string])[] = [
    [null, null, 400, `The body is missing: ${wanted}.`],
    ['text/plain', '{"to":"latest"}', 415, `The body is of another type: ${wanted}.`],
    [
      'application/x-www-form-urlencoded',
      'to=latest',
      415,
      `The body is of another type: ${wanted}.`,
    ],
    [json, null, 400, `The body is empty, or no JSON: ${wanted}.`],
    [json, '', 400, `The body is empty, or no JSON: ${wanted}.`],
    [json, '{"to"', 400, `The body is empty, or no JSON: ${wanted}.`],
    [json, '{}', 400, 'The request is not right: to: is missing'],
    [json, '{"at":1}', 400, 'The request is not right: to: is missing; at: is not known'],
    [json, '{"to":5}', 400, 'The request is not right: to: expected string, received number'],
    [json, '[]', 400, 'The request is not right: the body: expected object, received array'],
    [json, 'null', 400, 'The request is not right: the body: expected object, received null'],
  ];
  for (const [type, body, status, message] of cases) {
    const url = 'http://localhost/api/v1/deliveries/archive/rewind';
    const response = await gateway.app.request(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${gateway.token}`,
        ...(type === null ? {} : { 'content-type': type }),
      },
      body,
    });
    const { error } = ErrorSchema.parse(await response.json());
    assert.deepEqual([response.status, error.message], [status, message], `${type}: ${body}`);
  }
  assert.deepEqual(gateway.audited, []);
});

test('the measures of a delivery and of its stream, under the names of Firehose', async (context) => {
  const { gateway } = await start(context);
  const { metrics } = DeliveryMeteringSchema.parse(
    await gateway.json('/api/v1/deliveries/archive/metering'),
  );
  const byName = new Map(metrics.map(({ name, total }) => [name, total]));
  assert.equal(byName.get('IncomingRecords'), 1);
  assert.equal(byName.get('IncomingBytes'), 9);
  assert.ok(byName.has('DeliveryToFolder.DataFreshness'));
  assert.equal((await gateway.get('/api/v1/deliveries/nobody/metering')).status, 404);
});
