/**
 * Destinations that refuse: what is wrong is named, with what to do about it, nothing is lost, and
 * sending goes on by itself once they take it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { SinkError, type SinkErrorCode } from '../../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { kinesisVideoSink } from '../../../../gateway/forward/sinks/kinesis-video/kinesis-video-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { startProxy, type Passing } from '../support/proxy.ts';
import { numbered, openRig, runClock, settleAll, streamOptions } from '../support/rig.ts';
import { uploadOf } from '../support/uploads.ts';
import { type Behaviour, lyingService } from '../support/video-services.ts';

const never = new AbortController().signal;
const credentials = { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'secret' };
const quick = { credentials, connectTimeoutMs: 2_000, idleTimeoutMs: 2_000 };

interface Refusal {
  readonly status: number;
  readonly name: string;
  readonly more?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

function refuseS3({ request, response }: Passing, refusal: Refusal): void {
  request.resume();
  const { status, name, more = '', headers = {} } = refusal;
  response.writeHead(status, { 'content-type': 'application/xml', ...headers });
  response.end(`<Error><Code>${name}</Code><Message>no</Message>${more}</Error>`);
}

async function caught(work: Promise<unknown>): Promise<SinkError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof SinkError, String(error));
    return error;
  }
  return assert.fail('it was taken');
}

const refusals: readonly (readonly [Refusal, SinkErrorCode, RegExp])[] = [
  [{ status: 400, name: 'ExpiredToken' }, 'credentials', /have expired.*renew them/],
  [{ status: 403, name: 'InvalidAccessKeyId' }, 'credentials', /Check to\.s3\.accessKeyId/],
  [{ status: 403, name: 'SignatureDoesNotMatch' }, 'credentials', /secretAccessKey/],
  [{ status: 403, name: 'AccessDenied' }, 'denied', /s3:PutObject on the bucket/],
  [{ status: 400, name: 'KMS.DisabledException' }, 'denied', /enable the key/],
  [{ status: 404, name: 'NoSuchBucket' }, 'missing', /Create the bucket/],
  [
    {
      status: 301,
      name: 'PermanentRedirect',
      headers: { 'x-amz-bucket-region': 'eu-central-1' },
    },
    'missing',
    /set to\.s3\.region to eu-central-1/,
  ],
  [
    { status: 400, name: 'AuthorizationHeaderMalformed', more: '<Region>us-west-2</Region>' },
    'missing',
    /in the region us-west-2/,
  ],
  [
    {
      status: 403,
      name: 'RequestTimeTooSkewed',
      headers: { date: new Date(Date.now() + 5 * 3_600_000).toUTCString() },
    },
    'clock',
    /clock is 5 hours behind/,
  ],
  [{ status: 503, name: 'SlowDown' }, 'throttled', /goes on by itself/],
  [{ status: 507, name: 'XMinioStorageFull' }, 'full', /Make room/],
  [{ status: 507, name: 'Whatever' }, 'full', /^$/],
];

for (const [refusal, code, advice] of refusals) {
  test(`S3 refuses with ${refusal.status} ${refusal.name}: ${code}`, async (context) => {
    const { endpoint } = await startProxy(context, null, (passing) => {
      refuseS3(passing, refusal);
    });
    const sink = s3Sink({ ...quick, bucket: 'bucket', endpoint });
    context.after(() => sink.close());
    const error = await caught(sink.put(uploadOf('k', Buffer.from('x')), never));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, new RegExp(refusal.name));
    assert.match(error.advice ?? '', advice);
  });
}

const kinesisRefusals: readonly (readonly [string, string, SinkErrorCode, RegExp])[] = [
  ['ExpiredTokenException', 'expired', 'credentials', /have expired/],
  ['UnrecognizedClientException', 'invalid', 'credentials', /to\.kinesis\.accessKeyId/],
  ['AccessDeniedException', 'not authorized', 'denied', /kinesis:PutRecords/],
  ['ResourceNotFoundException', 'no stream', 'missing', /Create the data stream/],
  ['KMSDisabledException', 'disabled', 'denied', /enable the key/],
  [
    'InvalidSignatureException',
    'Signature expired: 20260101T000000Z is now earlier than 20260101T050000Z',
    'clock',
    /clock/,
  ],
  ['ProvisionedThroughputExceededException', 'slow', 'throttled', /aggregate: kpl/],
];

for (const [name, message, code, advice] of kinesisRefusals) {
  test(`Kinesis refuses with ${name}: ${code}`, async (context) => {
    const { endpoint } = await startProxy(context, null, ({ request, response }) => {
      request.resume();
      response.writeHead(400, { 'content-type': 'application/x-amz-json-1.1' });
      response.end(JSON.stringify({ __type: name, message }));
    });
    const sink = kinesisSink({ ...quick, stream: 'up', endpoint });
    context.after(() => sink.close());
    const records = [{ partitionKey: 'k', data: Buffer.from('x') }];
    const error = await caught(sink.send(records, never));
    assert.equal(error.code, code, error.message);
    assert.match(error.advice ?? '', advice);
  });
}

test('a login page of the network that answers everything with 200 takes nothing', async (context) => {
  for (const status of [200, 302]) {
    const { endpoint } = await startProxy(context, null, ({ request, response }) => {
      request.resume();
      response.writeHead(status, { 'content-type': 'text/html', location: 'http://portal/' });
      response.end('<html><body>Please log in</body></html>');
    });
    const s3 = s3Sink({ ...quick, bucket: 'bucket', endpoint });
    const kinesis = kinesisSink({ ...quick, stream: 'up', endpoint });
    context.after(async () => {
      await s3.close();
      await kinesis.close();
    });
    const records = [{ partitionKey: 'k', data: Buffer.from('x') }];
    for (const work of [
      () => s3.put(uploadOf('k', Buffer.from('x')), never),
      () => kinesis.send(records, never),
    ]) {
      const error = await caught(work());
      assert.equal(error.code, 'unavailable', `${status}: ${error.message}`);
      assert.match(error.advice ?? '', /login page/);
    }
  }
});

test('a certificate that nobody here trusts is named', async (context) => {
  if (!needs(context, 'openssl')) return;
  const folder = await temporaryFolder(context);
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '2', '-subj', '/CN=localhost', '-keyout', key, '-out', cert],
  ]);
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const endpoint = `https://127.0.0.1:${port}`;
  const sink = s3Sink({ ...quick, bucket: 'bucket', endpoint });
  const video = kinesisVideoSink({ ...quick, stream: 's', endpoint, clock: new ManualClock() });
  context.after(() => Promise.all([sink.close(), video.close()]));
  for (const error of [
    await caught(sink.put(uploadOf('k', Buffer.from('x')), never)),
    await caught(video.connect(0, never)),
  ]) {
    assert.equal(error.code, 'untrusted', error.message);
    assert.match(error.advice ?? '', /not trusted here.*NODE_EXTRA_CA_CERTS/);
  }
});

test('what PutMedia refuses is named, with what to do about it', async (context) => {
  const refused: readonly (readonly [Behaviour['refuse'], SinkErrorCode, RegExp])[] = [
    [{ status: 400, type: 'ExpiredTokenException' }, 'credentials', /have expired/],
    [{ status: 403, type: 'AccessDeniedException' }, 'denied', /kinesisvideo:PutMedia/],
    [{ status: 404, type: 'ResourceNotFoundException:http://x/' }, 'missing', /video stream/],
    [{ status: 400, type: 'ConnectionLimitExceededException' }, 'throttled', /slower/],
    [{ status: 302, type: '' }, 'unavailable', /login page/],
  ];
  const { url } = await lyingService(
    context,
    refused.map(([refuse]) => ({ refuse })),
  );
  const clock = new ManualClock();
  const sink = kinesisVideoSink({ ...quick, stream: 's', endpoint: url, clock });
  context.after(() => sink.close());
  for (const [, code, advice] of refused) {
    const error = await caught(sink.connect(0, never));
    assert.equal(error.code, code, error.message);
    assert.match(error.advice ?? '', advice);
  }
  const called = new AbortController();
  called.abort();
  assert.equal((await caught(sink.connect(0, called.signal))).code, 'aborted');
});

test('credentials that were renewed in their file are taken up, without a restart', async (context) => {
  const folder = await temporaryFolder(context);
  const file = join(folder, 'credentials');
  const write = (id: string): void => {
    writeFileSync(file, `[default]\naws_access_key_id = ${id}\naws_secret_access_key = s\n`);
  };
  const before = { ...process.env };
  context.after(() => {
    process.env = before;
  });
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = file;
  process.env['AWS_CONFIG_FILE'] = join(folder, 'config');
  process.env['AWS_EC2_METADATA_DISABLED'] = 'true';
  delete process.env['AWS_ACCESS_KEY_ID'];
  delete process.env['AWS_SECRET_ACCESS_KEY'];
  write('AKIAOLD');
  const valid = new Set(['AKIAOLD']);
  const asked: string[] = [];
  const { endpoint } = await startProxy(context, null, (passing) => {
    const [, id = ''] =
      /Credential=(\w+)\//.exec(passing.request.headers.authorization ?? '') ?? [];
    asked.push(id);
    if (!valid.has(id)) {
      refuseS3(passing, { status: 400, name: 'ExpiredToken' });
      return;
    }
    passing.request.resume();
    passing.response.writeHead(200, { etag: '"x"' }).end();
  });
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  const sink = s3Sink({ bucket: 'bucket', endpoint, connectTimeoutMs: 2_000 });
  const delivery = rig.start(
    {
      name: 'archive',
      from: { stream: 'readings' },
      to: { s3: { bucket: 'bucket' } },
      buffer: { maxSeconds: 1 },
    },
    sink,
  );
  const sent = (count: number) => (): boolean =>
    rig.metrics.total('headgate_delivery_sent_records_total') === count;
  await rig.store.log.append('readings', numbered(0, 10));
  await runClock(rig, clock, sent(10), 500, settleAll);

  valid.clear();
  await rig.store.log.append('readings', numbered(10, 10));
  const failures = (): number => rig.metrics.total('headgate_delivery_failures_total');
  await runClock(rig, clock, () => failures() >= 3, 500, settleAll);
  const status = await delivery.status();
  assert.equal(status.state, 'backing-off');
  assert.equal(status.lastFailure?.code, 'credentials');
  assert.equal(status.lastFailure.retryable, true);
  assert.match(status.lastFailure.advice ?? '', /have expired/);
  assert.equal(status.backlog.records, 10, 'nothing is lost');

  write('AKIANEW');
  valid.add('AKIANEW');
  await runClock(rig, clock, sent(20), 500, settleAll);
  assert.equal(asked.at(-1), 'AKIANEW');
  assert.equal((await delivery.status()).state, 'idle');
});

test('a bucket that refuses for hours, then takes: all of it comes by itself', async (context) => {
  let refusal: Refusal | null = { status: 403, name: 'AccessDenied' };
  const { endpoint } = await startProxy(context, null, (passing) => {
    if (refusal !== null) {
      refuseS3(passing, refusal);
      return;
    }
    passing.request.resume();
    passing.response.writeHead(200, { etag: '"x"' }).end();
  });
  const clock = new ManualClock();
  const rig = await openRig(context, { clock });
  await rig.store.log.ensureStream(streamOptions('readings'));
  const delivery = rig.start(
    {
      name: 'archive',
      from: { stream: 'readings' },
      to: { s3: { bucket: 'bucket' } },
      buffer: { maxSeconds: 1 },
    },
    s3Sink({ ...quick, bucket: 'bucket', endpoint }),
  );
  await rig.store.log.append('readings', numbered(0, 50));
  for (const [name, advice] of [
    ['AccessDenied', /s3:PutObject/],
    ['NoSuchBucket', /Create the bucket/],
  ] as const) {
    refusal = { status: 403, name };
    const before = rig.metrics.total('headgate_delivery_failures_total');
    for (let step = 0; step < 12; step += 1) {
      clock.advance(60_000);
      await settleAll(rig);
    }
    const status = await delivery.status();
    assert.match(status.lastFailure?.advice ?? '', advice);
    assert.equal(status.backlog.records, 50);
    const attempts = rig.metrics.total('headgate_delivery_failures_total') - before;
    assert.ok(attempts >= 2 && attempts <= 30, `tried, not hammered: ${attempts}`);
  }
  refusal = null;
  const tookMs = await runClock(
    rig,
    clock,
    () => rig.metrics.total('headgate_delivery_sent_records_total') === 50,
    5000,
    settleAll,
  );
  assert.ok(tookMs <= 70_000, `within a minute: ${tookMs} ms`);
});
