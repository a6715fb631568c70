/**
 * What recording takes: the processor time and memory of the gateway and of its ffmpeg for each
 * camera of 1080p at 4 Mb/s, encrypted and with its activity as they are by default, beside a bare
 * `ffmpeg -c copy` that reads the same camera at the same time; and whether anything is lost of it.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Database } from '../../storage/sqlite.ts';
import { startChild } from '../support/child.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { ffmpegPath } from '../support/tools.ts';
import type { Benchmark, BenchmarkContext, Figure } from './bench.ts';
import { fragmentUs, startFullHd } from './support/full-hd.ts';
import { ffmpegsOf, memoryOf, pidOf, seconds, secondsPerMinute } from './support/processes.ts';

/** The engine compiles what runs often: for the first minute that costs more than the cameras. */
const warmUpSeconds = 60;
const settleSeconds = 10;
const measuredSeconds = 60;

export const benchmark: Benchmark = {
  name: 'camera',
  title: `Recording cameras of 1080p30 at 4 Mb/s, ${measuredSeconds} s each`,
  run: async (context) => {
    context.note('making a clip');
    const camera = await startFullHd(context);
    context.note('an idle gateway');
    const idleBytes = await measureIdle(context);
    context.note('one camera, and a bare ffmpeg beside it');
    const one = await measure(context, camera.url, 1);
    context.note('ten cameras, and a bare ffmpeg beside them');
    const ten = await measure(context, camera.url, 10);
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
  /** Of all cameras, while the gateway ran. */
  readonly lostFragments: number;
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
      against: { name: 'ffmpeg -c copy', value: ten.bareSeconds },
      ratio: ten.ffmpegSeconds / ten.bareSeconds,
      target: { atMost: 1.1 },
    },
    {
      name: 'gateway, CPU per camera-minute, encrypted and with activity, one camera',
      value: one.gatewaySeconds,
      unit: 's',
      against: { name: 'ffmpeg -c copy', value: one.bareSeconds },
    },
    {
      name: 'gateway, CPU per camera-minute, encrypted and with activity, ten cameras',
      value: ten.gatewaySeconds,
      unit: 's',
      against: { name: 'ffmpeg -c copy', value: ten.bareSeconds },
      target: { atMost: 0.25 },
    },
    {
      name: 'fragments lost or damaged, ten cameras',
      value: ten.lostFragments,
      unit: 'fragments',
      target: { atMost: 0 },
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

async function measureIdle(context: BenchmarkContext): Promise<number> {
  const gateway = await startGateway(context, 'idle', '');
  await seconds(settleSeconds);
  const bytes = await memoryOf(pidOf(gateway));
  await gateway.stop();
  return bytes;
}

async function measure(context: BenchmarkContext, url: string, cameras: number): Promise<Measured> {
  const lines = Array.from(
    { length: cameras },
    (_, index) => `  camera-${index}: { source: { rtsp: '${url}' } }`,
  );
  const gateway = await startGateway(context, `of-${cameras}`, `cameras:\n${lines.join('\n')}`);
  const file = join(context.folder, 'bare.mp4');
  const input = ['-v', 'error', '-nostdin', '-y', '-rtsp_transport', 'tcp', '-i', url];
  const bare = startChild(context, ffmpegPath, [...input, '-c', 'copy', '-f', 'mp4', file]);
  await seconds(warmUpSeconds);
  const gatewayPid = pidOf(gateway);
  const children = await ffmpegsOf(gatewayPid);
  if (children.length !== cameras) throw new Error(`${children.length} of ${cameras} record`);
  const pids = [gatewayPid, bare.process.pid ?? 0, ...children];
  const [gatewaySeconds = 0, bareSeconds = 0, ...ofFfmpeg] = await secondsPerMinute(
    pids,
    measuredSeconds,
  );
  const measured = {
    gatewaySeconds: gatewaySeconds / cameras,
    ffmpegSeconds: ofFfmpeg.reduce((sum, value) => sum + value, 0) / cameras,
    bareSeconds,
    ffmpegBytes: Math.max(...(await Promise.all(children.map(memoryOf)))),
    gatewayBytes: await memoryOf(gatewayPid),
  };
  await bare.stop('SIGTERM');
  await gateway.stop();
  return { ...measured, lostFragments: await countLost(gateway.dataFolder, cameras) };
}

/**
 * Fragments that are damaged, or missing between others. Rejects when what was recorded is not
 * encrypted, or has no activity.
 */
async function countLost(dataFolder: string, cameras: number): Promise<number> {
  const database = await Database.open(join(dataFolder, 'headgate.db'), { readOnly: true });
  const rows = await database.all<{
    readonly camera: number;
    readonly startUs: number;
    readonly durationUs: number;
    readonly damaged: number;
    readonly activity: number;
    readonly encryption: string;
  }>(
    `SELECT c.id AS camera, m.start_us + f.start_offset_us AS startUs, f.duration_us AS durationUs,
       f.damaged, f.activity, c.encryption
     FROM camera c JOIN media_file m ON m.camera_id = c.id
     JOIN fragment f ON f.number BETWEEN m.id * 4096 AND m.id * 4096 + 4095
     ORDER BY c.id, m.start_us, f.number`,
  );
  await database.close();
  const measured = rows.filter(
    // The last fragment may be a keyframe alone, which has no activity.
    ({ encryption, activity }) => encryption === 'aes-256-gcm' && activity > 0,
  );
  const recorded = new Set(measured.map(({ camera }) => camera)).size;
  if (recorded !== cameras) throw new Error(`${recorded} of ${cameras} recorded what is measured`);
  let lost = 0;
  for (const [index, row] of rows.entries()) {
    if (row.damaged !== 0) lost += 1;
    const before = rows[index - 1];
    if (before?.camera !== row.camera) continue;
    lost += Math.round((row.startUs - before.startUs - before.durationUs) / fragmentUs);
  }
  return lost;
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
