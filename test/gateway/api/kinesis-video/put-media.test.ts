/** PutMedia over HTTP: who may send, what is acknowledged when, and how it ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { before, describe, it } from 'node:test';
import { Pace } from '../../../../gateway/api/kinesis-video/pace.ts';
import { producerStartMs } from '../../../../gateway/api/kinesis-video/put-media-request.ts';
import { type MkvStream, producerStream } from '../../../ingest/mkv/footage.ts';
import { fragmentedFormat, makeFootage, parseFootage } from '../../../storage/video/footage.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { Producer } from './producer.ts';
import { box, relative } from './put-media-rig.ts';

describe('PutMedia', () => {
  let stream: MkvStream;
  let whole: Buffer;
  before(async () => {
    stream = producerStream(
      parseFootage(await makeFootage({ seconds: 4, format: fragmentedFormat })),
    );
    whole = Buffer.concat([stream.head, ...stream.clusters]);
  });

  it('answers at once and acknowledges while the body still comes', async (t) => {
    const b = await box(t);
    const producer = b.producer();
    await producer.answered();
    assert.equal(producer.status, 200);
    await producer.send(stream.head);
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = stream.clusters;
    await producer.send(first);
    await producer.until(() => producer.count('BUFFERING') === 1);
    assert.equal(producer.count('PERSISTED'), 0);
    await producer.send(second);
    await producer.until(() => producer.count('PERSISTED') === 1);
    assert.equal((await b.fragments()).length, 1);
    producer.end();
    await producer.ended();
    assert.deepEqual(
      producer.acks.map(({ EventType, FragmentTimecode }) => `${EventType} ${FragmentTimecode}`),
      [0, 1_000].flatMap((ms) =>
        ['BUFFERING', 'RECEIVED', 'PERSISTED'].map((type) => `${type} ${ms}`),
      ),
    );
    assert.deepEqual(b.entrance.status('gate')?.failure, null);
  });

  it('says what is wrong, keeps what was whole, and takes the next connection', async (t) => {
    const b = await box(t);
    const producer = b.producer();
    const lie = Buffer.concat([stream.clusters[0] ?? Buffer.alloc(0), Buffer.alloc(100)]);
    await producer.send(Buffer.concat([stream.head, lie, Buffer.alloc(200_000)]));
    await producer.ended();
    const last = producer.acks.at(-1);
    assert.deepEqual(
      [last?.EventType, last?.ErrorId, last?.ErrorCode],
      ['ERROR', 4006, 'INVALID_MKV_DATA'],
    );
    await b.idle();
    assert.match(b.entrance.status('gate')?.failure ?? '', /no element begins with 00/);
    const next = b.producer();
    await next.send(whole);
    next.end();
    await next.ended();
    assert.equal(next.count('PERSISTED'), 4);
    assert.equal((await b.fragments()).length, 4);
    assert.equal(b.entrance.status('gate')?.failure, null);
  });

  it('keeps what is whole of a connection that breaks, and nothing else', async (t) => {
    const b = await box(t);
    const producer = b.producer();
    await producer.send(whole.subarray(0, whole.length - 50));
    await producer.until(() => producer.count('BUFFERING') === 4);
    producer.cut();
    await b.idle();
    assert.equal((await b.fragments()).length, 3);
    assert.match(b.entrance.status('gate')?.failure ?? '', /\S/);
  });

  it('ends with IDLE when nothing comes for 30 s', async (t) => {
    const clock = new ManualClock();
    const b = await box(t, { clock });
    const producer = b.producer();
    await producer.send(Buffer.concat([stream.head, stream.clusters[0] ?? Buffer.alloc(0)]));
    await producer.until(() => producer.count('BUFFERING') === 1);
    // Its last piece may be on its way still: the time runs from there.
    while (producer.count('IDLE') === 0) {
      clock.advance(10_000);
      await new Promise((wake) => setImmediate(wake));
    }
    await producer.ended();
    assert.deepEqual(producer.acks.at(-1), { EventType: 'IDLE' });
    assert.equal((await b.fragments()).length, 0);
  });

  it('lets a newer connection take the place of one that hangs, after 5 s', async (t) => {
    const clock = new ManualClock();
    const b = await box(t, { clock, limits: { idleMs: 10_000_000 } });
    const old = b.producer();
    await old.send(Buffer.concat([stream.head, ...stream.clusters.slice(0, 2)]));
    await old.until(() => old.count('PERSISTED') === 1);
    const young = b.producer();
    await young.send(whole);
    young.end();
    await young.answered();
    assert.equal(young.acks.length, 0);
    clock.advance(5_000);
    await young.ended();
    await old.ended();
    assert.equal(young.count('PERSISTED'), 4);
    assert.equal((await b.fragments()).length, 5);
  });

  it('ends connections with their camera', async (t) => {
    const b = await box(t);
    const producer = b.producer();
    await producer.send(Buffer.concat([stream.head, ...stream.clusters]));
    await producer.until(() => producer.count('PERSISTED') === 3);
    await b.stop();
    await producer.ended();
    assert.equal((await b.fragments()).length, 3);
    const late = b.producer();
    await late.answered();
    assert.equal(late.status, 404);
  });

  it('ends a connection that is too old, at the end of a fragment', async (t) => {
    const clock = new ManualClock();
    const b = await box(t, { clock, limits: { ageMs: 60_000, idleMs: 1e9 } });
    const producer = b.producer();
    await producer.send(Buffer.concat([stream.head, ...stream.clusters.slice(0, 2)]));
    await producer.until(() => producer.count('PERSISTED') === 1);
    clock.advance(60_001);
    await producer.send(stream.clusters[2] ?? Buffer.alloc(0));
    await producer.ended();
    assert.equal(producer.acks.at(-1)?.ErrorCode, 'MAX_CONNECTION_DURATION_REACHED');
    await b.idle();
    assert.equal((await b.fragments()).length, producer.count('PERSISTED'));
  });

  it('refuses what it can not understand, and who may not', async (t) => {
    const b = await box(t, {
      policies: [
        '{"Statement": {"Effect": "Allow", "Action": "kinesisvideo:PutMedia", "Resource": "arn:aws:kinesisvideo:*:*:stream/gate/*"}}',
      ],
    });
    const arn = 'arn:aws:kinesisvideo:us-east-1:000000000000:stream';
    const type = { 'x-amzn-fragment-timecode-type': 'ABSOLUTE' };
    const invalid = 'InvalidArgumentException';
    const cases: readonly (readonly [number, string, Readonly<Record<string, string>>])[] = [
      [400, invalid, type],
      [400, invalid, { ...relative, 'x-amzn-stream-arn': `${arn}/gate/1` }],
      [400, invalid, { ...type, 'x-amzn-stream-arn': `${arn}/gate` }],
      [400, invalid, { 'x-amzn-stream-name': 'gate' }],
      [400, invalid, { ...relative, 'x-amzn-fragment-timecode-type': 'relative' }],
      [400, invalid, { ...relative, 'x-amzn-producer-start-timestamp': 'yesterday' }],
      [403, 'AccessDeniedException', { ...relative, 'x-amzn-stream-name': 'yard' }],
      [
        403,
        'InvalidSignatureException',
        { ...relative, 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' },
      ],
      [
        403,
        'UnrecognizedClientException',
        { ...relative, authorization: 'AWS4-HMAC-SHA256 Credential=AKIAOTHER/x' },
      ],
      [403, 'IncompleteSignatureException', { ...relative, authorization: '' }],
    ];
    for (const [status, errorType, headers] of cases) {
      const producer = b.producer(headers);
      await producer.send(whole);
      await producer.ended();
      const what = JSON.stringify(headers);
      assert.equal(producer.status, status, what);
      assert.equal(producer.header('x-amzn-errortype'), errorType, what);
      assert.match((JSON.parse(producer.body) as { Message: string }).Message, /\S/, what);
    }
    const { port } = new URL((await box(t)).url);
    const unknown = new Producer(`http://localhost:${port}`, {
      ...relative,
      'x-amzn-stream-name': 'x',
    });
    await unknown.answered();
    assert.equal(unknown.status, 404);
    unknown.cut();
    const byArn = b.producer({ ...type, 'x-amzn-stream-arn': `${arn}/gate/1700000000000` });
    await byArn.answered();
    assert.equal(byArn.status, 200);
    const app = await fetch(`${b.url}/putMedia?x`);
    assert.equal(await app.text(), 'app: 0');
  });

  it('is not held to the time that other bodies have', async (t) => {
    const b = await box(t, { http: { requestTimeoutMs: 100, headersTimeoutMs: 100 } });
    const producer = b.producer();
    await producer.send(Buffer.concat([stream.head, ...stream.clusters.slice(0, 2)]));
    await producer.until(() => producer.count('PERSISTED') === 1);
    const slow = httpRequest({ port: b.port, method: 'POST', path: '/other', agent: false });
    slow.on('error', () => undefined);
    slow.write('x');
    const [response] = (await once(slow, 'response')) as [{ statusCode: number }];
    assert.equal(response.statusCode, 408);
    slow.destroy();
    await producer.send(Buffer.concat(stream.clusters.slice(2)));
    producer.end();
    await producer.ended();
    assert.equal(producer.count('PERSISTED'), 4);
  });

  it('reads the times that producers give for their beginning', () => {
    const cases = {
      '5.7': 5_007,
      '5.007': 5_007,
      '5': 5_000,
      '1700000000.12345': 1_700_000_000_123,
    };
    for (const [text, ms] of Object.entries(cases)) assert.equal(producerStartMs(text), ms, text);
    for (const text of ['', '-1', '1e9', '5.', '.5', 'now', '99999999999']) {
      assert.throws(() => producerStartMs(text), /since 1970/, text);
    }
  });

  it('takes so much a second, and a second of it at once', () => {
    const pace = new Pace(5);
    assert.deepEqual(
      [5, 1, 1, 3].map((amount) => pace.take(amount, 1_000)),
      [0, 200, 400, 1_000],
    );
    assert.equal(pace.take(1, 3_000), 0);
    assert.equal(pace.take(5, 60_000), 0);
    assert.equal(pace.take(1, 60_000), 200);
  });
});
