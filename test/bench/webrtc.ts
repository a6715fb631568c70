/**
 * Live pictures for browsers: how old they are when they are seen, and what fifty viewers of one
 * camera by WHEP take of the gateway and of mediasoup's worker, beside an ffmpeg that sends the same
 * camera to one viewer by SRTP. The viewers run in a process of their own. Linux only: read from
 * /proc.
 */
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cameras } from '../../gateway/api/rest/camera-schemas.ts';
import { type Child, startChild } from '../support/child.ts';
import { GatewayProcess } from '../support/gateway.ts';
import type { Scope } from '../support/scope.ts';
import { ffmpegPath, needsMediaWorker } from '../support/tools.ts';
import type { LightCounts } from '../support/webrtc-client.ts';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';
import { picturesPerSecond, startFullHd } from './support/full-hd.ts';
import { glassToGlass } from './support/glass-to-glass.ts';
import { pidOf, seconds, secondsPerMinute } from './support/processes.ts';

const viewers = 50;
/** Until then the engine compiles, which costs more than all the rest. */
const warmUpSeconds = 30;
const settleSeconds = 5;
const measuredSeconds = 30;

export const benchmark: Benchmark = {
  name: 'webrtc',
  title: `Live in browsers: glass to glass, and ${viewers} viewers of a camera of 1080p30 at 4 Mb/s`,
  run: async (context) => {
    if (!(await needsMediaWorker({ skip: (reason) => context.note(reason ?? '') }))) return [];
    return [...(await glassToGlass(context)), ...(await manyViewers(context))];
  },
};

interface Taken {
  /** Processor seconds per minute, of each process. */
  readonly cpu: readonly number[];
  /** That came to all viewers meanwhile. */
  readonly pictures: number;
}

async function manyViewers(context: BenchmarkContext): Promise<readonly Figure[]> {
  context.note('making a clip');
  const camera = await startFullHd(context);
  const folder = join(context.folder, 'viewers');
  await mkdir(folder);
  const sections = `cameras: { gate: { source: { rtsp: '${camera.url}' } } }`;
  const gateway = await GatewayProcess.start(context, folder, sections);
  await gateway.until<Cameras>('/cameras', ({ cameras }) =>
    cameras.some(({ state }) => state === 'recording'),
  );
  const clients = startChild(context, process.execPath, [
    ...['--import', import.meta.resolve('tsx')],
    ...[join(import.meta.dirname, 'support/whep-viewers.ts')],
    ...[`${gateway.url}/whep/gate`, gateway.token],
  ]);
  context.note('one viewer');
  await open(clients, 1, 1);
  const connections = camera.connections;
  const ffmpeg = await sendWithFfmpeg(context, camera.url);
  await seconds(warmUpSeconds);
  const ours = [pidOf(gateway), await gateway.webRtcProcess()];
  const one = await measure(clients, [...ours, ffmpeg.process.pid ?? 0]);
  await ffmpeg.stop('SIGKILL');
  context.note(`${viewers} viewers`);
  const before = camera.connections;
  await open(clients, viewers - 1, viewers);
  await seconds(settleSeconds);
  const many = await measure(clients, ours);
  const sources = connections + camera.connections - before;
  const [gatewayOfOne = 0, workerOfOne = 0, bare = 0] = one.cpu;
  const [gatewayOfAll = 0, workerOfAll = 0] = many.cpu;
  const perViewer = (gatewayOfAll + workerOfAll - gatewayOfOne - workerOfOne) / (viewers - 1);
  const due = picturesPerSecond * measuredSeconds * viewers;
  return [
    {
      ...{ name: `${viewers} viewers, connections to the camera`, value: sources, unit: '' },
      target: { atMost: 1 },
    },
    {
      ...{ name: `${viewers} viewers, pictures that came, each`, value: many.pictures / viewers },
      ...{ unit: `in ${measuredSeconds} s`, against: { name: 'sent', value: due / viewers } },
      ...{ ratio: many.pictures / due, target: { atLeast: 0.99 } },
    },
    {
      ...{ name: `${viewers} viewers, the gateway's own CPU per minute`, value: gatewayOfAll },
      ...{ unit: 's', against: { name: 'one viewer', value: gatewayOfOne } },
      ratio: gatewayOfAll / gatewayOfOne,
    },
    {
      ...{ name: "each further viewer, gateway's and worker's CPU per minute", value: perViewer },
      ...{ unit: 's', against: { name: 'ffmpeg -c copy to one by SRTP', value: bare } },
      ratio: perViewer / bare,
    },
  ];
}

async function measure(clients: Child, pids: readonly number[]): Promise<Taken> {
  const before = await picturesOf(clients);
  const cpu = await secondsPerMinute(pids, measuredSeconds);
  return { cpu, pictures: (await picturesOf(clients)) - before };
}

async function open(clients: Child, more: number, all: number): Promise<void> {
  clients.process.stdin?.write(`open ${more}\n`);
  await clients.line(new RegExp(`^opened ${all}$`));
}

/** Of all viewers together, so far. */
async function picturesOf(clients: Child): Promise<number> {
  const seen = clients.lines.length;
  clients.process.stdin?.write('count\n');
  if (clients.lines.length === seen) await clients.next();
  const counts = JSON.parse(clients.lines.at(-1) ?? '[]') as readonly LightCounts[];
  return counts.reduce((sum, { pictures }) => sum + pictures, 0);
}

/** A viewer served by an ffmpeg of its own. */
async function sendWithFfmpeg(scope: Scope, camera: string): Promise<Child> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  scope.after(() => {
    socket.close();
  });
  const srtp = ['-srtp_out_suite', 'AES_CM_128_HMAC_SHA1_80'];
  const key = ['-srtp_out_params', randomBytes(30).toString('base64')];
  return startChild(scope, ffmpegPath, [
    ...['-v', 'error', '-nostdin', '-rtsp_transport', 'tcp', '-i', camera, '-c', 'copy'],
    ...['-f', 'rtp', ...srtp, ...key, `srtp://127.0.0.1:${socket.address().port}?pkt_size=1200`],
  ]);
}
