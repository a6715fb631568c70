/** Servers that lie, break off, hang or refuse: every one of them is a typed error in time. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { SinkError, type SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { startProxy, type Passing } from '../support/proxy.ts';
import {
  createStream,
  credentials,
  readStream,
  startKinesis,
  startS3,
} from '../support/servers.ts';
import { uploadOf } from '../support/uploads.ts';

const never = new AbortController().signal;
const quick = { credentials, connectTimeoutMs: 2_000, idleTimeoutMs: 300 };

function xml(code: string): string {
  return `<?xml version="1.0"?><Error><Code>${code}</Code><Message>no</Message></Error>`;
}

const answers: [string, SinkErrorCode, (passing: Passing) => Promise<void> | void][] = [
  ['500', 'unavailable', ({ response }) => void response.writeHead(500).end(xml('InternalError'))],
  [
    '503 SlowDown',
    'throttled',
    ({ response }) => void response.writeHead(503).end(xml('SlowDown')),
  ],
  ['503 without a body', 'throttled', ({ response }) => void response.writeHead(503).end()],
  ['403', 'denied', ({ response }) => void response.writeHead(403).end(xml('AccessDenied'))],
  ['404', 'missing', ({ response }) => void response.writeHead(404).end(xml('NoSuchBucket'))],
  ['413', 'too-large', ({ response }) => void response.writeHead(413).end()],
  ['400', 'rejected', ({ response }) => void response.writeHead(400).end(xml('Whatever'))],
  ['500 with rubbish', 'unavailable', ({ response }) => void response.writeHead(500).end('<<{&')],
  ['a connection dropped', 'unreachable', ({ response }) => void response.destroy()],
  [
    'a connection dropped in mid-body',
    'unreachable',
    ({ request, response }) => void request.once('data', () => response.destroy()),
  ],
  ['silence', 'timeout', ({ request }) => void request.resume()],
];

for (const [name, code, handler] of answers) {
  test(`S3 that answers with ${name}: ${code}`, async (context) => {
    const { endpoint } = await startProxy(context, null, handler);
    const sink = s3Sink({ ...quick, bucket: 'bucket', endpoint });
    context.after(() => sink.close());
    const upload = uploadOf('k', Buffer.alloc(1024 ** 2, 1));
    await assert.rejects(sink.put(upload, never), (error) => {
      assert.ok(error instanceof SinkError);
      assert.equal(error.code, code, error.message);
      return true;
    });
  });
}

test('a port where nobody listens, and one that speaks no HTTP: unreachable', async (context) => {
  const server = createServer((socket) => socket.resume().end('220 ftp ready\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const upload = uploadOf('k', Buffer.from('x'));
  const sink = s3Sink({ ...quick, bucket: 'bucket', endpoint: `http://127.0.0.1:${port}` });
  context.after(() => sink.close());
  await assert.rejects(sink.put(upload, never), { code: 'unreachable' });
  await new Promise<void>((resolve) => server.close(() => resolve()));
  await assert.rejects(sink.put(upload, never), { code: 'unreachable' });
});

test('a call that hangs is called off at once', async (context) => {
  const { promise: asked, resolve } = withResolvers();
  const { endpoint } = await startProxy(context, null, () => resolve());
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  context.after(() => sink.close());
  const controller = new AbortController();
  const put = sink.put(uploadOf('k', Buffer.alloc(3 * 1024 ** 2)), controller.signal);
  await asked;
  controller.abort();
  await assert.rejects(put, { code: 'aborted' });
});

test('a bucket that is not there: missing', async (context) => {
  const { endpoint } = await startS3(context, await temporaryFolder(context));
  const sink = s3Sink({ ...quick, bucket: 'nowhere', endpoint });
  context.after(() => sink.close());
  await assert.rejects(sink.put(uploadOf('k', Buffer.from('x')), never), {
    code: 'missing',
    retryable: false,
  });
});

test('the content is signed with its own SHA-256', async (context) => {
  const seen: unknown[] = [];
  const { endpoint } = await startProxy(context, null, ({ request, response }) => {
    seen.push(request.headers['x-amz-content-sha256'], request.headers['content-length']);
    request.resume();
    response.writeHead(200, { etag: '"x"' }).end();
  });
  const sink = s3Sink({ ...quick, bucket: 'bucket', endpoint });
  context.after(() => sink.close());
  const upload = uploadOf('k', Buffer.from('signed'));
  await sink.put(upload, never);
  assert.deepEqual(seen, [upload.sha256, '6']);
});

test('Kinesis takes records over plain HTTP/1.1, and a missing stream is told', async (context) => {
  const { endpoint, client } = await startKinesis(context);
  await createStream(client, 'there', 1);
  const records = [
    { partitionKey: 'a', data: Buffer.from('1') },
    { partitionKey: 'é', data: Buffer.of(0, 255) },
  ];
  const sink = kinesisSink({ ...quick, stream: 'there', endpoint });
  context.after(() => sink.close());
  assert.deepEqual(await sink.send(records, never), [null, null]);
  const stored = await readStream(client, 'there');
  assert.deepEqual(
    stored,
    records.map(({ partitionKey, data }) => ({ key: partitionKey, data })),
  );
  const lost = kinesisSink({ ...quick, stream: 'nowhere', endpoint });
  context.after(() => lost.close());
  await assert.rejects(lost.send(records, never), { code: 'missing', retryable: false });
});

const lies: [string, SinkErrorCode, number, string][] = [
  ['fewer outcomes than records', 'unavailable', 200, '{"FailedRecordCount":0,"Records":[]}'],
  ['no outcomes at all', 'unavailable', 200, '{}'],
  ['rubbish', 'unavailable', 200, 'rubbish{'],
  ['a throttled call', 'throttled', 400, '{"__type":"ProvisionedThroughputExceededException"}'],
  ['a limit', 'throttled', 400, '{"__type":"LimitExceededException"}'],
  ['a refusal', 'denied', 400, '{"__type":"AccessDeniedException"}'],
];

for (const [name, code, status, body] of lies) {
  test(`Kinesis that answers with ${name}: ${code}`, async (context) => {
    const sink = await lyingKinesis(context, status, body);
    const records = [{ partitionKey: 'a', data: Buffer.from('1') }];
    await assert.rejects(sink.send(records, never), { code });
  });
}

test('a record without a sequence number was not taken', async (context) => {
  const sink = await lyingKinesis(context, 200, '{"FailedRecordCount":0,"Records":[{}]}');
  const [outcome] = await sink.send([{ partitionKey: 'a', data: Buffer.from('1') }], never);
  assert.equal(outcome?.code, 'unavailable');
});

async function lyingKinesis(context: TestContext, status: number, body: string) {
  const { endpoint } = await startProxy(context, null, ({ request, response }) => {
    request.resume();
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' }).end(body);
  });
  const sink = kinesisSink({ ...quick, stream: 'there', endpoint });
  context.after(() => sink.close());
  return sink;
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
