/**
 * What recording takes: the processor time and memory of the gateway and of its ffmpeg for each
 * camera of 1080p at 4 Mb/s, beside a bare `ffmpeg -c copy` that reads the same camera at the same
 * time. Linux only: read from /proc.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startChild } from '../support/child.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { capturePackets, PacketCamera } from '../support/packet-camera.ts';
import { ffmpegPath } from '../support/tools.ts';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';

const clipSeconds = 20;
/** The engine compiles what runs often: for the first minute that costs more than the cameras. */
const warmUpSeconds = 60;
const settleSeconds = 10;
const measuredSeconds = 60;
/** Of the times in /proc/<pid>/stat; the same on every Linux that runs Node. */
const ticksPerSecond = 100;

export const benchmark: Benchmark = {
  name: 'camera',
  title: `Recording cameras of 1080p30 at 4 Mb/s, ${measuredSeconds} s each`,
  run: async (context) => {
    context.note('making a clip');
    const clip = await makeFullHd(context.folder);
    const capture = await capturePackets(context, clip);
    const camera = await PacketCamera.start(context, capture, { pace: 1, loop: true });
    context.note('an idle gateway');
    const idleBytes = await measureIdle(context);
    context.note('one camera, and a bare ffmpeg beside it');
    const one = await measure(context, camera.url, 1, true);
    context.note('ten cameras');
    const ten = await measure(context, camera.url, 10, false);
    return figuresOf(idleBytes, one, ten);
  },
};

interface Measured {
  /** Processor seconds per camera and minute. */
  readonly gatewaySeconds: number;
  readonly ffmpegSeconds: number;
  readonly bareSeconds: number;
  /** Of the ffmpeg that has the most. */
  readonly ffmpegBytes: number;
  readonly gatewayBytes: number;
}

function figuresOf(idleBytes: number, one: Measured, ten: Measured): readonly Figure[] {
  const megabytes = (bytes: number): number => bytes / 1e6;
  return [
    {
      name: 'ffmpeg, CPU per camera-minute',
      value: one.ffmpegSeconds,
      unit: 's',
      against: { name: 'ffmpeg -c copy', value: one.bareSeconds },
      ratio: one.ffmpegSeconds / one.bareSeconds,
      target: { atMost: 1.1 },
    },
    {
      name: 'ffmpeg, CPU per camera-minute, ten cameras',
      value: ten.ffmpegSeconds,
      unit: 's',
    },
    {
      name: 'gateway, CPU per camera-minute, one camera',
      value: one.gatewaySeconds,
      unit: 's',
    },
    {
      name: 'gateway, CPU per camera-minute, ten cameras',
      value: ten.gatewaySeconds,
      unit: 's',
      target: { atMost: 0.25 },
    },
    {
      name: 'ffmpeg, memory (PSS)',
      value: megabytes(Math.max(one.ffmpegBytes, ten.ffmpegBytes)),
      unit: 'MB',
      target: { atMost: 40 },
    },
    {
      name: 'gateway, memory (PSS), idle',
      value: megabytes(idleBytes),
      unit: 'MB',
      target: { atMost: 150 },
    },
    {
      name: 'gateway, memory (PSS), ten cameras',
      value: megabytes(ten.gatewayBytes),
      unit: 'MB',
    },
  ];
}

async function makeFullHd(folder: string): Promise<string> {
  const path = join(folder, 'camera.mp4');
  const picture = `testsrc2=size=1920x1080:rate=30:duration=${clipSeconds},noise=alls=12:allf=t`;
  await promisify(execFile)(ffmpegPath, [
    ...['-v', 'error', '-f', 'lavfi', '-i', picture, '-pix_fmt', 'yuv420p'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-g', '60'],
    ...['-b:v', '4M', '-maxrate', '4M', '-bufsize', '4M', path],
  ]);
  return path;
}

async function measureIdle(context: BenchmarkContext): Promise<number> {
  const gateway = await startGateway(context, 'idle', '');
  await seconds(settleSeconds);
  const bytes = await memoryOf(pidOf(gateway));
  await gateway.stop();
  return bytes;
}

async function measure(
  context: BenchmarkContext,
  url: string,
  cameras: number,
  withBare: boolean,
): Promise<Measured> {
  const lines = Array.from(
    { length: cameras },
    (_, index) => `  camera-${index}: { source: { rtsp: '${url}' } }`,
  );
  const gateway = await startGateway(context, `of-${cameras}`, `cameras:\n${lines.join('\n')}`);
  const file = join(context.folder, 'bare.mp4');
  const input = ['-v', 'error', '-nostdin', '-y', '-rtsp_transport', 'tcp', '-i', url];
  const bare = withBare
    ? startChild(context, ffmpegPath, [...input, '-c', 'copy', '-f', 'mp4', file])
    : null;
  await seconds(warmUpSeconds);
  const gatewayPid = pidOf(gateway);
  const children = await childrenOf(gatewayPid);
  if (children.length !== cameras) throw new Error(`${children.length} of ${cameras} record`);
  const barePid = bare?.process.pid ?? null;
  const pids = [gatewayPid, ...children, ...(barePid === null ? [] : [barePid])];
  const before = await Promise.all(pids.map(processorSeconds));
  await seconds(measuredSeconds);
  const after = await Promise.all(pids.map(processorSeconds));
  const perMinute = (index: number): number =>
    (((after[index] ?? 0) - (before[index] ?? 0)) * 60) / measuredSeconds;
  const ofFfmpeg = children.map((_, index) => perMinute(index + 1));
  const memory = await Promise.all(children.map(memoryOf));
  const measured = {
    gatewaySeconds: perMinute(0) / cameras,
    ffmpegSeconds: ofFfmpeg.reduce((sum, value) => sum + value, 0) / cameras,
    bareSeconds: barePid === null ? Number.NaN : perMinute(pids.length - 1),
    ffmpegBytes: Math.max(...memory),
    gatewayBytes: await memoryOf(gatewayPid),
  };
  await bare?.stop('SIGTERM');
  await gateway.stop();
  return measured;
}

async function startGateway(
  context: BenchmarkContext,
  name: string,
  sections: string,
): Promise<GatewayProcess> {
  const folder = join(context.folder, name);
  await mkdir(folder);
  return GatewayProcess.start(context, folder, sections);
}

function pidOf({ child }: GatewayProcess): number {
  const { pid } = child.process;
  if (pid === undefined) throw new Error('the gateway does not run');
  return pid;
}

/** The ffmpegs among the children of a process. */
async function childrenOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const found: number[] = [];
  for (const child of text.trim().split(/\s+/).map(Number)) {
    if ((await readFile(`/proc/${child}/comm`, 'utf8')).startsWith('ffmpeg')) found.push(child);
  }
  return found;
}

/** User and system time of a process, all its threads together (proc(5), stat). */
async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** The memory of a process, with its share of what it shares with others, in bytes. */
async function memoryOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1024;
}

function seconds(count: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, count * 1000));
}
