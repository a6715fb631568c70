import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { KinesisClient, ListStreamsCommand } from '@aws-sdk/client-kinesis';
import { NodeHttp2Handler, NodeHttpHandler } from '@smithy/node-http-handler';
import { decodeCbor, encodeCbor } from '../../../../gateway/api/kinesis/cbor.ts';
import { selfSigned } from '../../../support/certificate.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { jsonHeaders, serveKinesis, startKinesis, type TestKinesis } from './support.ts';

const target = 'Kinesis_20131202.';

function cborOf(value: unknown): Buffer {
  const pieces: Buffer[] = [];
  encodeCbor(value, pieces);
  return Buffer.concat(pieces);
}

interface Raw {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

async function post(
  { url }: TestKinesis,
  headers: Readonly<Record<string, string>>,
  body: string | Buffer,
  path = '/',
): Promise<Raw> {
  const sent = typeof body === 'string' ? body : new Uint8Array(body);
  const response = await fetch(new URL(path, url), { method: 'POST', headers, body: sent });
  return {
    status: response.status,
    headers: response.headers,
    body: Buffer.from(await response.arrayBuffer()),
  };
}

const listStreams = { ...jsonHeaders, 'x-amz-target': `${target}ListStreams` };
const cborHeaders = { ...jsonHeaders, 'content-type': 'application/x-amz-cbor-1.1' };

test('JSON and CBOR are answered in kind', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream('readings');
  for (const type of [
    'application/x-amz-json-1.1',
    'application/json',
    'application/x-amz-json-1.1; charset=utf-8',
  ]) {
    const answer = await post(kinesis, { ...listStreams, 'content-type': type }, '{}');
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), type.split(';')[0]);
    assert.match(answer.headers.get('x-amzn-requestid') ?? '', /^[0-9a-f-]{36}$/);
    assert.equal(Buffer.from(answer.headers.get('x-amz-id-2') ?? '', 'base64').length, 54);
    const body = JSON.parse(answer.body.toString()) as { StreamSummaries: unknown[] };
    assert.deepEqual(body.StreamSummaries, [
      {
        StreamName: 'readings',
        StreamARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/readings',
        StreamStatus: 'ACTIVE',
        StreamModeDetails: { StreamMode: 'PROVISIONED' },
        StreamCreationTimestamp: Date.UTC(2026, 0, 1) / 1000,
      },
    ]);
  }
  const answer = await post(
    kinesis,
    { ...cborHeaders, 'x-amz-target': `${target}ListStreams` },
    cborOf({}),
  );
  assert.equal(answer.headers.get('content-type'), 'application/x-amz-cbor-1.1');
  const body = decodeCbor(answer.body) as { StreamSummaries: { StreamCreationTimestamp: Date }[] };
  assert.deepEqual(
    body.StreamSummaries[0]?.StreamCreationTimestamp,
    new Date(Date.UTC(2026, 0, 1)),
  );
});

test('records go in and out as byte strings of CBOR', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream('readings');
  const call = async (operation: string, input: unknown): Promise<Record<string, unknown>> => {
    const headers = { ...cborHeaders, 'x-amz-target': `${target}${operation}` };
    const answer = await post(kinesis, headers, cborOf(input));
    const body = decodeCbor(answer.body) as Record<string, unknown>;
    assert.equal(answer.status, 200, JSON.stringify(body));
    return body;
  };
  const Data = Buffer.from([0, 255, 1, 254]);
  const put = await call('PutRecord', { StreamName: 'readings', PartitionKey: 'k', Data });
  kinesis.clock.advance(60_000);
  const { ShardIterator } = await call('GetShardIterator', {
    ...{ StreamName: 'readings', ShardId: 'shardId-000000000000' },
    ...{ ShardIteratorType: 'AT_TIMESTAMP', Timestamp: new Date(Date.UTC(2026, 0, 1)) },
  });
  const { Records } = await call('GetRecords', { ShardIterator });
  assert.equal(
    JSON.stringify(Records),
    JSON.stringify([
      {
        SequenceNumber: put['SequenceNumber'],
        ApproximateArrivalTimestamp: new Date(Date.UTC(2026, 0, 1)),
        Data,
        PartitionKey: 'k',
      },
    ]),
  );
});

test('bodies that are not well-formed are refused, and nothing is written', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream('readings');
  const json = { ...jsonHeaders, 'x-amz-target': `${target}PutRecord` };
  for (const body of ['{', '{"StreamName"', 'null', '"text"', '12', '\u0000', '{}}']) {
    const answer = await post(kinesis, json, body);
    assert.deepEqual(
      [answer.status, answer.body.toString()],
      [400, '{"__type":"SerializationException"}'],
      body,
    );
  }
  const whole = cborOf({ StreamName: 'readings', PartitionKey: 'k', Data: Buffer.alloc(64, 3) });
  const cbor = { ...cborHeaders, 'x-amz-target': `${target}PutRecord` };
  for (let length = 0; length < whole.length; length += 1) {
    const answer = await post(kinesis, cbor, whole.subarray(0, length));
    assert.equal(answer.status, 400);
    const body = decodeCbor(answer.body) as Record<string, unknown>;
    assert.equal(body['__type'], 'SerializationException', `${length} bytes`);
  }
  assert.equal(kinesis.log.stream('readings').shards[0]?.nextSequence, 0);
  assert.equal((await post(kinesis, cbor, whole)).status, 200);
});

test('unknown operations and services, content types, and missing credentials', async (t) => {
  const kinesis = await startKinesis(t);
  const unknown = '{"__type":"UnknownOperationException"}';
  for (const name of [
    'Kinesis_20131202.Nothing',
    'Kinesis_20131202',
    'Dynamo.ListStreams',
    'Kinesis_20131202.constructor',
    '',
  ]) {
    const answer = await post(kinesis, { ...jsonHeaders, 'x-amz-target': name }, '{}');
    assert.deepEqual([answer.status, answer.body.toString()], [400, unknown], name);
  }
  const typeless = await post(kinesis, { ...listStreams, 'content-type': 'text/plain' }, '{}');
  assert.equal(typeless.status, 400);
  assert.equal(typeless.headers.get('content-type'), 'application/x-amz-cbor-1.1');
  assert.deepEqual(
    { ...(decodeCbor(typeless.body) as object) },
    { __type: 'UnknownOperationException' },
  );
  const nobody = {
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-target': `${target}ListStreams`,
  };
  const missing = await post(kinesis, nobody, '{}');
  assert.deepEqual(
    [missing.status, missing.body.toString()],
    [
      400,
      '{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}',
    ],
  );
  const plain = await post(kinesis, { ...nobody, 'content-type': 'text/plain' }, '{}');
  assert.deepEqual(
    [plain.status, plain.body.toString()],
    [
      403,
      '<MissingAuthenticationTokenException>\n  <Message>Missing Authentication Token</Message>\n</MissingAuthenticationTokenException>\n',
    ],
  );
  const stranger = await post(
    kinesis,
    { ...listStreams, authorization: 'AWS4-HMAC-SHA256 Credential=AKIAOTHER/x' },
    '{}',
  );
  assert.deepEqual(
    [stranger.status, stranger.body.toString()],
    [
      400,
      '{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}',
    ],
  );
});

test('what is denied is not done, and the authorizer is told what is asked for', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.makeStream('readings');
  kinesis.denied.add('kinesis:DeleteStream');
  const denied = await kinesis.ask('DeleteStream', { StreamName: 'readings' });
  const resource = 'arn:aws:kinesis:us-east-1:000000000000:stream/readings';
  assert.deepEqual(denied, {
    status: 400,
    body: {
      __type: 'AccessDeniedException',
      message: `User: arn:aws:iam::000000000000:user/tester is not authorized to perform: kinesis:DeleteStream on resource: ${resource}`,
    },
  });
  assert.equal(kinesis.log.streams().length, 1);
  assert.deepEqual(
    kinesis.asked.map(({ action, resource: arn }) => [action, arn]),
    [['kinesis:DeleteStream', resource]],
  );
  assert.equal(kinesis.asked[0]?.facts['aws:SourceIp'], '127.0.0.1');
  assert.equal(kinesis.asked[0].facts['aws:SecureTransport'], 'false');
  // Whether there is such a stream is not told to whom it is not allowed.
  const unknown = await kinesis.ask('DeleteStream', { StreamName: 'missing' });
  assert.equal(unknown.body['__type'], 'AccessDeniedException');
});

test('other sites are answered as the service answers them', async (t) => {
  const kinesis = await startKinesis(t);
  const origin = { origin: 'https://app.example.net' };
  const preflight = await fetch(kinesis.url, {
    method: 'OPTIONS',
    headers: {
      ...origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,x-amz-target',
    },
  });
  assert.equal(preflight.status, 200);
  assert.equal(preflight.headers.get('access-control-allow-origin'), '*');
  assert.equal(preflight.headers.get('access-control-allow-headers'), 'authorization,x-amz-target');
  assert.equal(preflight.headers.get('access-control-allow-methods'), 'POST');
  assert.equal(preflight.headers.get('access-control-max-age'), '172800');
  const answer = await post(kinesis, { ...listStreams, ...origin }, '{}');
  assert.equal(answer.headers.get('access-control-allow-origin'), '*');
  assert.match(answer.headers.get('access-control-expose-headers') ?? '', /x-amzn-RequestId/);
  const same = await post(kinesis, listStreams, '{}');
  assert.equal(same.headers.get('access-control-allow-origin'), null);
});

test('a body over the limit is refused by what it says of itself, before it is read', async (t) => {
  const kinesis = await startKinesis(t);
  const socket = connect(kinesis.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write(requestHead({ 'content-length': String(15 * 2 ** 20 + 1) }));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.match(answer.toString('latin1'), /^HTTP\/1\.1 413 /);
});

test('a body over the limit that does not say so is refused where it passes it', async (t) => {
  const kinesis = await startKinesis(t);
  const socket = connect(kinesis.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => undefined);
  const answered = once(socket, 'data') as Promise<[Buffer]>;
  socket.write(requestHead({ 'transfer-encoding': 'chunked' }));
  const chunk = Buffer.concat([
    Buffer.from('100000\r\n'),
    Buffer.alloc(2 ** 20),
    Buffer.from('\r\n'),
  ]);
  for (let sent = 0; sent < 17; sent += 1) socket.write(chunk);
  const [answer] = await answered;
  assert.match(answer.toString('latin1'), /^HTTP\/1\.1 413 /);
});

function requestHead(headers: Readonly<Record<string, string>>): string {
  const all = { ...listStreams, host: 'localhost', ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  return ['POST / HTTP/1.1', ...lines, '', ''].join('\r\n');
}

test('what all requests together send has a limit; who is refused may come again', async (t) => {
  const kinesis = await startKinesis(t);
  const body = 2 ** 20 * 14;
  const sockets = Array.from({ length: 8 }, () => connect(kinesis.port, '127.0.0.1'));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  const refused = new Promise<string>((resolve) => {
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => {
        resolve(bytes.toString('latin1'));
      });
      // All but the last byte, so that nothing ends.
      socket.write(requestHead({ 'content-length': String(body) }));
      socket.write(Buffer.alloc(body - 1));
    }
  });
  assert.match(await refused, /^HTTP\/1\.1 503 [\s\S]*ServiceUnavailable/);
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map(async (socket) => socket.closed || once(socket, 'close')));
  const { body: answer } = await kinesis.ask('PutRecord', {
    ...{ StreamName: 'x', PartitionKey: 'k', Data: Buffer.alloc(2 ** 20).toString('base64') },
  });
  assert.equal(answer['__type'], 'ResourceNotFoundException');
});

test('requests are counted by operation and outcome', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.ask('ListStreams', {});
  await kinesis.ask('DescribeStream', { StreamName: 'missing' });
  const count = (operation: string, outcome: string): number | undefined =>
    kinesis.metrics.values.get(
      `headgate_kinesis_requests_total{operation="${operation}",outcome="${outcome}"}`,
    );
  assert.equal(count('ListStreams', 'ok'), 1);
  assert.equal(count('DescribeStream', 'ResourceNotFoundException'), 1);
});

test('operations that change something are audited, whatever came of them', async (t) => {
  const kinesis = await startKinesis(t);
  await kinesis.ask('CreateStream', { StreamName: 'readings', ShardCount: 1 });
  await kinesis.ask('DescribeStream', { StreamName: 'readings' });
  await kinesis.ask('PutRecord', { StreamName: 'readings', PartitionKey: 'k', Data: '' });
  kinesis.denied.add('kinesis:DeleteStream');
  await kinesis.ask('DeleteStream', { StreamName: 'readings' });
  await kinesis.ask('PutResourcePolicy', {});
  for (const authorization of ['AWS4-HMAC-SHA256 Credential=AKIANOBODY/', '']) {
    await fetch(kinesis.url, {
      method: 'POST',
      headers: { ...jsonHeaders, 'x-amz-target': 'Kinesis_20131202.DeleteStream', authorization },
      body: '{"StreamName":"readings"}',
    });
  }
  assert.deepEqual(kinesis.audited, [
    'kinesis:CreateStream ok',
    'kinesis:DeleteStream AccessDeniedException',
    'kinesis:PutResourcePolicy ValidationException',
    'a stranger',
    'a stranger',
  ]);
});

test('over TLS, HTTP/1.1 and HTTP/2, policies are told so', async (t) => {
  const pair = await selfSigned(t);
  if (pair === null) return;
  const { server, asked } = await serveKinesis(t, { clock: new ManualClock(), tls: pair });
  const trusted = { ca: pair.cert, servername: 'camera' };
  for (const requestHandler of [
    new NodeHttpHandler({ httpsAgent: trusted }),
    new NodeHttp2Handler({ nodeHttp2ConnectOptions: trusted }),
  ]) {
    const client = new KinesisClient({
      ...{ region: 'us-east-1', maxAttempts: 1, requestHandler },
      endpoint: `https://127.0.0.1:${server.address.port}`,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' },
    });
    t.after(() => {
      client.destroy();
    });
    await client.send(new ListStreamsCommand({}));
  }
  assert.deepEqual(
    asked.map(({ facts }) => facts['aws:SecureTransport']),
    ['true', 'true'],
  );
});
