import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:http2';
import { test } from 'node:test';
import { Attempts } from '../../../gateway/http/authentication.ts';
import { HttpError } from '../../../gateway/http/errors.ts';
import { createHttpServer } from '../../../gateway/http/server.ts';
import { systemClock } from '../../../storage/clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { startGateway } from './gateway.ts';

function fail(attempts: Attempts, address: string, times: number): void {
  for (let i = 0; i < times; i++) attempts.failed(address);
}

function refuses(attempts: Attempts, address: string): boolean {
  try {
    attempts.check(address);
    return false;
  } catch (error) {
    assert.ok(error instanceof HttpError);
    return true;
  }
}

test('one address waits, others do not', () => {
  const attempts = new Attempts(new ManualClock());
  fail(attempts, '10.0.0.1', 9);
  assert.equal(refuses(attempts, '10.0.0.1'), false);
  fail(attempts, '10.0.0.1', 1);
  assert.equal(refuses(attempts, '10.0.0.1'), true);
  assert.equal(refuses(attempts, '::ffff:10.0.0.1'), true, 'the same one, written otherwise');
  assert.equal(refuses(attempts, '10.0.0.2'), false);
});

test('of IPv6 a whole /64 waits, because one machine has all of it', () => {
  const attempts = new Attempts(new ManualClock());
  for (let i = 0; i < 10; i++) attempts.failed(`2001:db8:1:2:${i}::1`);
  assert.equal(refuses(attempts, '2001:db8:1:2::99'), true);
  assert.equal(refuses(attempts, '2001:db8:1:3::99'), false);
  fail(attempts, '::1', 10);
  assert.equal(refuses(attempts, '::1'), true);
});

test('a flood of addresses takes no more memory than a thousand of them', () => {
  const attempts = new Attempts(new ManualClock());
  fail(attempts, '10.0.0.1', 10);
  for (let i = 0; i < 1_024; i++) attempts.failed(`192.168.${i >> 8}.${i & 255}`);
  assert.equal(refuses(attempts, '10.0.0.1'), false, 'the oldest gave way');
});

test('the same rules hold over real connections, in both protocols', async (context) => {
  const { app, token, logger, metrics } = await startGateway(context);
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    fetch: app.fetch,
    clock: systemClock,
    logger,
    metrics,
  });
  context.after(() => server.close());
  const session = connect(server.url);
  context.after(() => session.destroy());
  const overHttp2 = async (authorization: string): Promise<number> => {
    const stream = session.request({ ':path': '/api/v1/status', authorization });
    const [headers] = (await once(stream, 'response')) as [Record<string, number>];
    stream.resume();
    return headers[':status'] ?? 0;
  };
  const overHttp1 = async (authorization: string): Promise<number> =>
    (await fetch(`${server.url}/api/v1/status`, { headers: { authorization } })).status;
  for (const ask of [overHttp1, overHttp2]) {
    assert.equal(await ask(`Bearer ${token}`), 200);
    for (let i = 0; i < 5; i++) assert.equal(await ask('Bearer hg_wrong'), 401);
  }
  for (const ask of [overHttp1, overHttp2]) {
    assert.equal(await ask('Bearer hg_wrong'), 429, 'counted together, by address');
    assert.equal(await ask(`Bearer ${token}`), 200, 'who has a right one need not wait');
  }
});
