/** PutMedia from ffmpeg's Matroska over curl: slowly, fast, cut off and lied to; what is acknowledged. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { clustersByKeyframe, packetsOf } from '../../../ingest/mkv/footage.ts';
import { makeFootage } from '../../../storage/video/footage.ts';
import { needs } from '../../../support/tools.ts';
import type { Ack } from './producer.ts';
import { box, relative, secretAccessKey, type Box } from './put-media-rig.ts';

/** What begins a cluster (RFC 9559, section 5.1.3). */
const clusterId = Buffer.from('1f43b675', 'hex');

class Curl {
  readonly acks: Ack[] = [];
  readonly child: ChildProcess;
  /** The whole answer. */
  out = '';
  #stderr = '';
  #ended = false;
  #changed: () => void = () => undefined;

  constructor(
    t: TestContext,
    url: string,
    headers: object,
    secret: string,
    options: readonly string[] = [],
  ) {
    this.child = spawn('curl', [
      ...options,
      ...['-sS', '-N', '-X', 'POST', '-T', '-', '-w', '%{stderr}%{http_code}'],
      ...['--aws-sigv4', 'aws:amz:us-east-1:kinesisvideo', '--user', `AKIAPRODUCER:${secret}`],
      ...Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${String(value)}`]),
      `${url}/putMedia`,
    ]);
    t.after(() => this.child.kill('SIGKILL'));
    this.child.stdin?.on('error', () => undefined);
    this.child.stderr?.on('data', (part: Buffer) => (this.#stderr += part.toString()));
    this.child.stdout?.on('data', (part: Buffer) => {
      this.out += part.toString();
      const lines = this.out.split('\r\n').slice(this.acks.length, -1);
      this.acks.push(...lines.map((line) => JSON.parse(line) as Ack));
      this.#changed();
    });
    this.child.once('close', () => {
      this.#ended = true;
      this.#changed();
    });
  }

  /** The status that it printed last. */
  get status(): string {
    return this.#stderr.slice(-3);
  }

  async send(bytes: Buffer): Promise<void> {
    if (this.child.stdin?.write(bytes) === false) {
      await Promise.race([once(this.child.stdin, 'drain'), this.ended()]);
    }
  }

  async end(): Promise<void> {
    this.child.stdin?.end();
    await this.ended();
  }

  async ended(): Promise<void> {
    await this.until(() => this.#ended);
  }

  /** Resolves when it is so, or no more comes. */
  async until(wanted: () => boolean): Promise<void> {
    while (!wanted() && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  count(type: string): number {
    return this.acks.filter(({ EventType }) => EventType === type).length;
  }
}

function curlTo(
  t: TestContext,
  b: Box,
  headers: object = relative,
  ...options: readonly string[]
): Curl {
  return new Curl(t, b.url, headers, secretAccessKey, options);
}

/** Fragments of a second. */
const footageOf = (seconds: number): Promise<Buffer> =>
  makeFootage({ seconds, format: clustersByKeyframe });

/** Where clusters begin. */
function clustersIn(bytes: Buffer): readonly number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(clusterId); at !== -1; at = bytes.indexOf(clusterId, at + 4)) {
    found.push(at);
  }
  return found;
}

/** Every fragment was acknowledged three times, in order, under its number and its time. */
async function assertAcknowledged(b: Box, acks: readonly Ack[], count: number): Promise<void> {
  const fragments = await b.fragments();
  assert.equal(fragments.length, count);
  assert.deepEqual(
    acks,
    fragments.flatMap(({ number }, index) =>
      ['BUFFERING', 'RECEIVED', 'PERSISTED'].map((EventType) => ({
        ...{ EventType, FragmentTimecode: index * 1_000, FragmentNumber: String(number) },
      })),
    ),
  );
}

test('what ffmpeg makes and curl signs is kept as it is, and a wrong signature refused', async (t) => {
  if (!needs(t, 'curl')) return;
  const b = await box(t, { mode: 'sigv4' });
  const sent = await footageOf(4);
  const refused = new Curl(t, b.url, relative, 'another');
  refused.child.stdin?.end(sent);
  await refused.ended();
  assert.equal(refused.status, '403');
  assert.match(refused.out, /signature we calculated does not match/);

  const curl = curlTo(t, b);
  await curl.send(sent);
  await curl.end();
  assert.equal(curl.status, '200');
  await assertAcknowledged(b, curl.acks, 4);
  const fragments = await b.fragments();
  const parts = [await b.init(fragments[0]?.initId ?? 0)];
  for (const fragment of fragments) parts.push(await b.read(fragment));
  assert.deepEqual(
    (await packetsOf(Buffer.concat(parts))).map(({ hash, ms }) => [hash, ms]),
    (await packetsOf(sent)).map(({ hash, ms }) => [hash, ms]),
  );
});

test('slowly: what is on disk is acknowledged while the rest still comes', async (t) => {
  if (!needs(t, 'curl')) return;
  const b = await box(t, { mode: 'sigv4' });
  const sent = await footageOf(4);
  const curl = curlTo(t, b, relative, '--limit-rate', String(Math.floor(sent.length / 4)));
  curl.child.stdin?.end(sent);
  await curl.until(() => curl.count('PERSISTED') > 0);
  assert.ok((await b.fragments()).length >= 1);
  assert.ok(curl.count('BUFFERING') < 4, 'before the last one began');
  await curl.ended();
  await assertAcknowledged(b, curl.acks, 4);
});

test('fast: a producer that hurries is held back, and loses nothing', async (t) => {
  if (!needs(t, 'curl')) return;
  const b = await box(t, { mode: 'sigv4' });
  const curl = curlTo(t, b);
  await curl.send(await footageOf(9));
  await curl.end();
  assert.equal(curl.status, '200');
  await assertAcknowledged(b, curl.acks, 9);
});

test('cut off: what was whole is kept, and no more was acknowledged', async (t) => {
  if (!needs(t, 'curl')) return;
  const b = await box(t, { mode: 'sigv4' });
  const sent = await footageOf(4);
  const curl = curlTo(t, b);
  await curl.send(sent.subarray(0, sent.length - 100));
  // curl itself waits for more to send meanwhile.
  while ((await b.fragments()).length < 3) await new Promise((wake) => setImmediate(wake));
  curl.child.kill('SIGKILL');
  await curl.ended();
  await b.idle();
  const kept = (await b.fragments()).map(({ number }) => String(number));
  assert.equal(kept.length, 3);
  for (const { EventType, FragmentNumber } of curl.acks) {
    if (EventType === 'PERSISTED') assert.ok(kept.includes(FragmentNumber ?? ''));
  }
  for (const fragment of await b.fragments()) await b.read(fragment);
  assert.match(b.entrance.status('gate')?.failure ?? '', /\S/);
});

test('lied to: it says what is wrong, or believes its own clock', async (t) => {
  if (!needs(t, 'curl')) return;
  const sent = await footageOf(3);
  const [, second = 0, third = 0] = clustersIn(sent);
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(sent);
    change(bytes);
    return bytes;
  };
  const mp4 = ['-f', 'mp4', '-movflags', '+frag_keyframe+empty_moov'];
  const twice = Buffer.concat([sent.subarray(0, third), sent.subarray(second)]);
  const lies: readonly (readonly [body: Buffer, errorId: number, kept: number])[] = [
    [await makeFootage({ seconds: 1, format: mp4 }), 4006, 0],
    [changed((bytes) => bytes.fill(0, second, second + 4)), 4006, 1],
    // Of another codec than it has, and of a size that ends in the middle of a frame.
    [changed((bytes) => bytes.write('V_MPEG4/ISO/ASP', bytes.indexOf('V_MPEG4'))), 4006, 0],
    [changed((bytes) => bytes.fill(0, second + 5, second + 11)), 4006, 1],
    [twice, 4004, 2],
  ];
  for (const [index, [body, errorId, kept]] of lies.entries()) {
    const b = await box(t, { mode: 'sigv4' });
    const curl = curlTo(t, b);
    await curl.send(body);
    await curl.end();
    const last = curl.acks.at(-1);
    const said = `lie ${index}: ${curl.out}`;
    assert.deepEqual([last?.EventType, last?.ErrorId], ['ERROR', errorId], said);
    assert.equal(curl.count('PERSISTED'), kept, said);
    assert.equal((await b.fragments()).length, kept, said);
  }
  // Times that can be none: in 1970, and in a year.
  const nextYear = Math.floor(Date.now() / 1000) + 365 * 86_400;
  for (const headers of [
    { ...relative, 'x-amzn-fragment-timecode-type': 'ABSOLUTE' },
    { ...relative, 'x-amzn-producer-start-timestamp': String(nextYear) },
  ]) {
    const b = await box(t, { mode: 'sigv4' });
    const beforeMs = Date.now();
    const curl = curlTo(t, b, headers);
    await curl.send(sent);
    await curl.end();
    assert.equal(curl.count('PERSISTED'), 3, curl.out);
    for (const { startUs, durationUs } of await b.fragments()) {
      const endMs = (startUs + durationUs) / 1000;
      assert.ok(endMs > beforeMs - 10_000 && endMs < Date.now() + 10_000, `it ended at ${endMs}`);
    }
  }
});
