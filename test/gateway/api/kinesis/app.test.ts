/** The API within the whole application: its own rules hold for it, and nobody else's are weaker. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { startGateway, type TestGateway } from '../../http/gateway.ts';
import { jsonHeaders, startKinesis } from './support.ts';

async function start(t: TestContext): Promise<TestGateway> {
  const { routes } = await startKinesis(t);
  return startGateway(t, { kinesis: routes });
}

const listStreams = { ...jsonHeaders, 'x-amz-target': 'Kinesis_20131202.ListStreams' };
const elsewhere = 'https://elsewhere.example.org';

test('a signed request may come under any name, from any page, with a large body', async (t) => {
  const { app } = await start(t);
  const answer = await app.request('http://kinesis.internal:8080/', {
    method: 'POST',
    headers: { ...listStreams, origin: elsewhere, 'sec-fetch-site': 'cross-site' },
    body: JSON.stringify({ padding: 'x'.repeat(1_000_000) }),
  });
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {
    StreamNames: [],
    HasMoreStreams: false,
    StreamSummaries: [],
  });
});

test('what is not of the API keeps the rules of the gateway', async (t) => {
  const { app, token } = await start(t);
  const status = async (url: string, init: RequestInit): Promise<number> =>
    (await app.request(url, init)).status;
  const body = 'x'.repeat(100_000);
  // Without a target it is no request of the API.
  assert.equal(await status('http://localhost/', { method: 'POST', headers: jsonHeaders }), 404);
  const other = { 'sec-fetch-site': 'cross-site', origin: elsewhere };
  assert.equal(await status('http://localhost/', { method: 'POST', headers: other }), 403);
  assert.equal(await status('http://localhost/', { method: 'POST', body }), 413);
  assert.equal(await status('http://other.example.org/', { method: 'POST' }), 421);
  // With a target, but elsewhere.
  const target = { ...listStreams };
  const api = 'http://localhost/api/v1/streams';
  assert.equal(await status(api, { headers: target }), 401);
  assert.equal(await status(api, { headers: { ...target, origin: elsewhere } }), 401);
  assert.equal(await status(api, { method: 'POST', headers: target, body }), 413);
  assert.equal(await status('http://other.example.org/api/v1/streams', { headers: target }), 421);
  // A token is no signature, and a signature no token.
  const bearer = { ...target, authorization: `Bearer ${token}` };
  const answer = await app.request('http://localhost/', {
    ...{ method: 'POST', headers: bearer, body: '{}' },
  });
  assert.match(await answer.text(), /UnrecognizedClientException/);
});

test('requests are counted as those of the API', async (t) => {
  const { app, metrics } = await start(t);
  await app.request('http://localhost/', { method: 'POST', headers: listStreams, body: '{}' });
  assert.equal(metrics.values.get('headgate_http_requests_total{area="kinesis",status="200"}'), 1);
});
