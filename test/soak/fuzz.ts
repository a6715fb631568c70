/**
 * Nearly valid traffic on the three ports of a whole gateway, seeded. It must not crash, hang or
 * leak, whatever comes: after every round each port answers a client that behaves, and at the end
 * no file, connection or memory is held for those that did not.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { connectAsync } from 'mqtt';
import { seededRandom } from '../storage/support/open.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { frame, frameTypes, literalField, preface } from '../support/load/http2-frames.ts';
import { mutate, randomBytes } from '../support/load/mutate.ts';
import type { Scope } from '../support/scope.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import type { Soak } from './soak.ts';

export interface FuzzOptions {
  readonly conversations: number;
  readonly seed: number;
  readonly note: (text: string) => void;
}

export interface FuzzFigures {
  readonly conversations: number;
  readonly sentBytes: number;
  readonly answeredBytes: number;
  readonly openFilesBefore: number;
  readonly openFilesAfter: number;
  readonly memoryBeforeBytes: number;
  readonly memoryAfterBytes: number;
}

export const soak: Soak = {
  name: 'fuzz',
  title: 'two thousand nearly valid conversations with a whole gateway',
  seeds: 20,
  run: async ({ after, seed, note }) => ({
    ...(await fuzzGateway({ after }, { conversations: 2000, seed, note })),
  }),
};

const mqttUser = { username: 'device', password: 'device-password' };
const camera = { username: 'front', password: 'camera-password' };
/** In the mode permissive it is enough to name it, so that much of what is sent gets far. */
const accessKey = { name: 'plant', accessKeyId: 'AKIAPLANT', secretAccessKey: 'secret-of-plant' };
const atOnce = 20;
/** A peer that waits for more gets no more of ours: long enough for an answer, most of the time. */
const conversationMs = 150;
/** What a heap may grow by before it is collected. */
const memoryGrowthMaxBytes = 200 * 2 ** 20;

export async function fuzzGateway(scope: Scope, options: FuzzOptions): Promise<FuzzFigures> {
  const { conversations, seed, note } = options;
  const random = seededRandom(seed);
  const gateway = await GatewayProcess.start(
    scope,
    await temporaryFolder(scope),
    `
streams: { readings: { shards: 2, maxBytes: 30000000, whenFull: drop-oldest } }
cameras: { front: { source: { push: ${JSON.stringify(camera)} } } }
kinesis: { enforceLimits: false }
auth: { mode: permissive, keys: [${JSON.stringify(accessKey)}] }`,
    JSON.stringify([mqttUser]),
    "[{ topic: '#', stream: readings, decoder: json }]",
  );
  const ports = [
    { port: gateway.mqttPort, templates: mqttTemplates() },
    { port: gateway.httpPort, templates: httpTemplates(gateway.token) },
    { port: gateway.httpPort, templates: kinesisTemplates() },
    { port: gateway.rtspPort, templates: rtspTemplates(gateway.rtspPort) },
  ];
  await assertServes(gateway);
  const before = await resources(gateway);

  let sentBytes = 0;
  let answeredBytes = 0;
  for (let done = 0; done < conversations;) {
    const round = Array.from({ length: Math.min(atOnce, conversations - done) }, () => {
      const { port, templates } = pick(random, ports);
      return { port, pieces: conversationOf(random, templates), from: loopbackAddress(random) };
    });
    const answers = await Promise.all(round.map(converse));
    answeredBytes += answers.reduce((sum, bytes) => sum + bytes, 0);
    sentBytes += round.flatMap(({ pieces }) => pieces).reduce((sum, { length }) => sum + length, 0);
    done += round.length;
    assert.equal(gateway.child.process.exitCode, null, `it crashed before conversation ${done}`);
    if (done % (atOnce * 10) === 0) {
      await assertServes(gateway);
      note(`${done} conversations, ${Math.round(sentBytes / 1000)} kB`);
    }
  }
  await assertServes(gateway);
  const after = await settled(gateway, before.openFiles);
  assert.ok(
    after.memoryBytes - before.memoryBytes <= memoryGrowthMaxBytes,
    `memory grew from ${before.memoryBytes} to ${after.memoryBytes} bytes`,
  );
  const said = gateway.child.lines.filter((line) => /TypeError|RangeError|unhandled/i.test(line));
  assert.deepEqual(said, [], 'nothing went wrong inside');
  assert.equal(await gateway.stop(), 0, 'it leaves in good order');
  return {
    conversations,
    sentBytes,
    answeredBytes,
    openFilesBefore: before.openFiles,
    openFilesAfter: after.openFiles,
    memoryBeforeBytes: before.memoryBytes,
    memoryAfterBytes: after.memoryBytes,
  };
}

function pick<T>(random: () => number, from: readonly T[]): T {
  const found = from[Math.floor(random() * from.length)];
  if (found === undefined) throw new RangeError('there is nothing to pick from');
  return found;
}

/** One template, changed here and there, in one piece or several. */
function conversationOf(random: () => number, templates: readonly Buffer[]): readonly Buffer[] {
  const whole =
    random() < 0.05
      ? randomBytes(random, Math.floor(random() * 4096))
      : mutate(random, pick(random, templates), templates);
  if (random() < 0.5) return [whole];
  const at = Math.floor(random() * whole.length);
  return [whole.subarray(0, at), whole.subarray(at)];
}

/** One of many, because an address with too many wrong passwords is not listened to for a while. */
function loopbackAddress(random: () => number): string {
  const part = (): number => 1 + Math.floor(random() * 250);
  return `127.${part()}.${part()}.${part()}`;
}

interface Conversation {
  readonly port: number;
  readonly pieces: readonly Buffer[];
  readonly from: string;
}

/** Sends the pieces and goes away, in good manners or not; resolves with the bytes of the answer. */
async function converse({ port, pieces, from }: Conversation): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: from });
  let answered = 0;
  socket.on('data', (bytes: Buffer) => (answered += bytes.length));
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', resolve));
  const timer = setTimeout(() => socket.destroy(), conversationMs);
  for (const piece of pieces) await written(socket, piece);
  await closed;
  clearTimeout(timer);
  return answered;
}

function written(socket: Socket, piece: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.once('close', resolve);
    socket.write(piece, () => {
      socket.off('close', resolve);
      setImmediate(resolve);
    });
  });
}

/** Each port answers somebody who behaves. */
async function assertServes(gateway: GatewayProcess): Promise<void> {
  const client = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, mqttUser);
  await client.publishAsync('alive', '{"alive":true}', { qos: 1 });
  await client.endAsync();
  await gateway.get('/status');
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = connect(gateway.rtspPort, '127.0.0.1');
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes.toString());
      socket.destroy();
    });
    socket.once('error', reject);
    socket.write('OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n');
  });
  assert.match(answer, /^RTSP\/1\.0 200 /, 'RTSP answers');
}

interface Resources {
  readonly openFiles: number;
  readonly memoryBytes: number;
}

async function resources(gateway: GatewayProcess): Promise<Resources> {
  const { pid } = gateway.child.process;
  const status = await readFile(`/proc/${String(pid)}/status`, 'utf8');
  const openFiles = (await readdir(`/proc/${String(pid)}/fd`)).length;
  return { openFiles, memoryBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024 };
}

/** Resolves once no more files are open than before; a leak makes the test's own time run out. */
async function settled(gateway: GatewayProcess, openFiles: number): Promise<Resources> {
  for (;;) {
    const now = await resources(gateway);
    // A few of SQLite's connections are opened when they are first needed.
    if (now.openFiles <= openFiles + 4) return now;
    await new Promise((wake) => setTimeout(wake, 250));
  }
}

// ---------------------------------------------------------------- conversations

/** A text with its length in front (MQTT 3.1.1, section 1.5.3). */
function field(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]);
}

function packet(header: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length: number[] = [];
  for (let rest = body.length; ; rest >>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.of(header, ...length), body]);
}

function mqttTemplates(): readonly Buffer[] {
  const id = Buffer.of(0, 1);
  const connectPacket = (flags: number, ...more: readonly Buffer[]): Buffer =>
    packet(
      0x10,
      ...[field('MQTT'), Buffer.of(4, 0xc0 | flags, 0, 60), field('fuzz'), ...more],
      ...[field(mqttUser.username), field(mqttUser.password)],
    );
  const login = connectPacket(2);
  const publish = (qos: number): Buffer =>
    packet(0x30 | (qos << 1), field('a/b'), ...(qos > 0 ? [id] : []), Buffer.from('{"n":1}'));
  return [
    Buffer.concat([login, publish(0), publish(1), packet(0xc0)]),
    Buffer.concat([login, publish(2), packet(0x62, id), publish(2), packet(0xe0)]),
    Buffer.concat([login, packet(0x82, id, field('a/#'), Buffer.of(1)), publish(1)]),
    Buffer.concat([connectPacket(0x2e, field('will/topic'), field('gone')), publish(1)]),
    Buffer.concat([login, packet(0x31, field('kept'), Buffer.from('{"kept":1}'))]),
    Buffer.concat([login, packet(0x82, id, field('$share/g/a'), Buffer.of(2)), packet(0xa2, id)]),
  ];
}

function httpTemplates(token: string): readonly Buffer[] {
  const headers = `Host: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nAccept-Encoding: gzip\r\n`;
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\n${headers}\r\n`;
  const post = (path: string, body: string): string =>
    `POST ${path} HTTP/1.1\r\n${headers}Content-Type: application/json\r\n` +
    `Content-Length: ${body.length}\r\n\r\n${body}`;
  const texts = [
    get('/api/v1/status') + get('/healthz'),
    get('/api/v1/streams/readings/shards/0/records?position=latest&limit=10'),
    get('/api/v1/streams/readings/shards/1/records?time=2026-01-01T00:00:00Z&limit=1'),
    get('/api/v1/streams/readings/series?field=n&from=0&to=1&points=100'),
    get('/api/v1/cameras/front/timeline?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z'),
    get('/api/v1/cameras/front/fragments?from=0&to=99999999999999&limit=5'),
    get('/hls/front/live.m3u8') + get('/hls/front/range.m3u8?from=1&to=2'),
    get('/login?token=abcdefghijklmnop') + get('/assets/../../../etc/passwd'),
    post('/login', '{"token":"abc"}') + post('/api/v1/logout', ''),
    `POST /login HTTP/1.1\r\n${headers}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n`,
    `GET /metrics HTTP/1.1\r\n${headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  ];
  return [...texts.map((text) => Buffer.from(text)), http2Template()];
}

/** Preface, SETTINGS, HEADERS of `GET /` (literal fields, RFC 7541 section 6.2.2), WINDOW_UPDATE. */
function http2Template(): Buffer {
  const authority = Buffer.concat([Buffer.of(0x01, 9), Buffer.from('127.0.0.1')]);
  const fields = Buffer.concat([Buffer.of(0x82, 0x84, 0x86), authority]);
  return Buffer.concat([
    preface,
    frame(frameTypes.settings, 0, 0, Buffer.of(0, 3, 0, 0, 0, 100)),
    frame(frameTypes.headers, 5, 1, fields),
    frame(frameTypes.windowUpdate, 0, 0, Buffer.of(0, 0, 16, 0)),
    frame(frameTypes.headers, 5, 3, fields),
    frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
  ]);
}

function kinesisTemplates(): readonly Buffer[] {
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKey.accessKeyId}/1/2/kinesis/3`;
  const target = (operation: string): string => `Kinesis_20131202.${operation}`;
  const post = (operation: string, body: Buffer, type = 'json'): Buffer =>
    Buffer.concat([
      Buffer.from(
        `POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Amz-Target: ${target(operation)}\r\n` +
          `Content-Type: application/x-amz-${type}-1.1\r\nAuthorization: ${authorization}\r\n` +
          `Content-Length: ${body.length}\r\n\r\n`,
      ),
      body,
    ]);
  const json = (operation: string, body: object): Buffer =>
    post(operation, Buffer.from(JSON.stringify({ StreamName: 'readings', ...body })));
  const record = { PartitionKey: 'a', Data: 'YQ==' };
  // {"StreamName": "readings", "PartitionKey": "a", "Data": h'61'}
  const cbor = Buffer.from(
    'a36a53747265616d4e616d656872656164696e6773' +
      '6c506172746974696f6e4b65796161' +
      '64446174614161',
    'hex',
  );
  const headers = Buffer.concat([
    Buffer.of(0x83, 0x84, 0x86),
    ...Object.entries({
      ':authority': '127.0.0.1',
      'x-amz-target': target('PutRecord'),
      'content-type': 'application/x-amz-cbor-1.1',
      authorization,
    }).map(([name, value]) => literalField(name, value)),
  ]);
  return [
    json('PutRecord', record),
    json('PutRecords', { Records: [record, { ...record, ExplicitHashKey: '7' }] }),
    Buffer.concat([json('DescribeStream', {}), json('ListShards', { MaxResults: 1 })]),
    json('GetShardIterator', { ShardId: '0', ShardIteratorType: 'AT_TIMESTAMP', Timestamp: 1.5 }),
    json('GetRecords', { ShardIterator: Buffer.alloc(63).toString('base64'), Limit: 10 }),
    json('SplitShard', { ShardToSplit: '0', NewStartingHashKey: '77777777777777777777' }),
    json('MergeShards', { ShardToMerge: '0', AdjacentShardToMerge: '1' }),
    json('AddTagsToStream', { Tags: { a: 'b' } }),
    json('PutResourcePolicy', { ResourceARN: 'arn:aws:kinesis:us-east-1:000000000000:stream/x' }),
    json('CreateStream', { StreamName: 'other', ShardCount: 3 }),
    post('PutRecord', cbor, 'cbor'),
    Buffer.concat([
      ...[preface, frame(frameTypes.settings, 0, 0, Buffer.alloc(0))],
      ...[frame(frameTypes.headers, 4, 1, headers), frame(frameTypes.data, 1, 1, cbor)],
      ...[frame(frameTypes.headers, 4, 3, headers), frame(frameTypes.reset, 0, 3, Buffer.alloc(4))],
    ]),
  ];
}

function rtspTemplates(port: number): readonly Buffer[] {
  const url = `rtsp://127.0.0.1:${port}/front`;
  const { username, password } = camera;
  const basic = Buffer.from(`${username}:${password}`).toString('base64');
  let sequence = 0;
  const ask = (method: string, path: string, lines: readonly string[] = [], body = ''): string => {
    sequence += 1;
    const length = body === '' ? [] : [`Content-Length: ${body.length}`];
    const head = [`${method} ${url}${path} RTSP/1.0`, `CSeq: ${sequence}`];
    return [...head, `Authorization: Basic ${basic}`, ...lines, ...length, '', body].join('\r\n');
  };
  const sdp = [
    ...['v=0', 'o=- 0 0 IN IP4 127.0.0.1', 's=-', 'c=IN IP4 127.0.0.1', 't=0 0'],
    ...['m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000'],
    'a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==',
    ...['a=control:streamid=0', ''],
  ].join('\r\n');
  const announce = ask('ANNOUNCE', '', ['Content-Type: application/sdp'], sdp);
  const transport = 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record';
  const setup = ask('SETUP', '/streamid=0', [transport]);
  const rtp = Buffer.concat([
    Buffer.of(0x24, 0, 0, 20, 0x80, 0xe0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9),
    Buffer.of(0x65, 0x88, 0x84, 0, 0x33, 0xff, 0, 1),
  ]);
  const rtcp = Buffer.from('24010008' + '80c8000100000009', 'hex');
  return [
    Buffer.from(ask('OPTIONS', '') + announce + setup + ask('RECORD', '')),
    Buffer.concat([Buffer.from(announce + setup + ask('RECORD', '')), rtp, rtcp, rtp]),
    Buffer.from(ask('DESCRIBE', '', ['Accept: application/sdp'])),
    Buffer.from(ask('DESCRIBE', '') + setup.replace(';mode=record', '') + ask('PLAY', '')),
    Buffer.from(ask('GET_PARAMETER', '', ['Content-Type: text/parameters'], 'position\r\n')),
    Buffer.concat([rtp, rtcp, Buffer.from(ask('TEARDOWN', ''))]),
  ];
}
