/**
 * Nearly valid traffic on the three ports of a whole gateway, seeded. It must not crash, hang or
 * leak, whatever comes: after every round each port answers a client that behaves, and at the end
 * no file, connection or memory is held for those that did not.
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { connectAsync } from 'mqtt';
import { clustersByKeyframe } from '../ingest/mkv/footage.ts';
import { seededRandom } from '../storage/support/open.ts';
import { makeFootage } from '../storage/video/footage.ts';
import { GatewayProcess } from '../support/gateway.ts';
import {
  accessKey,
  camera,
  httpTemplates,
  kinesisTemplates,
  kinesisVideoTemplates,
  mqttTemplates,
  mqttUser,
  playbackTemplates,
  rtspTemplates,
} from '../support/load/conversations.ts';
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

const footage = { seconds: 2, size: '32x32', framesPerSecond: 5, group: 5 };
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
cameras:
  front: { source: { push: ${JSON.stringify(camera)} } }
  gate: { source: { putMedia: {} } }
kinesis: { enforceLimits: false }
auth: { mode: permissive, keys: [${JSON.stringify(accessKey)}] }`,
    JSON.stringify([mqttUser]),
    "[{ topic: '#', stream: readings, decoder: json }]",
  );
  const media = await makeFootage({ ...footage, format: clustersByKeyframe });
  const ports = [
    { port: gateway.mqttPort, templates: mqttTemplates() },
    { port: gateway.httpPort, templates: httpTemplates(gateway.token) },
    { port: gateway.httpPort, templates: kinesisTemplates() },
    { port: gateway.httpPort, templates: kinesisVideoTemplates(media) },
    { port: gateway.httpPort, templates: playbackTemplates(gateway.token) },
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
