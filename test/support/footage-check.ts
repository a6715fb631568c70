/** What can be said about recorded footage from outside: through the REST API and a decoder. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import type {
  CameraFragment,
  CameraFragments,
  CameraRun,
  CameraRuns,
} from '../../gateway/api/rest/camera-schemas.ts';
import type { GatewayProcess } from './gateway.ts';
import { ffmpegPath } from './tools.ts';

export const msOf = (time: string): number => Date.parse(time);

/** From an hour before a test to an hour after it. */
export function aroundNow(): string {
  const at = (ms: number): string => new Date(Date.now() + ms).toISOString();
  return `from=${at(-3_600_000)}&to=${at(3_600_000)}`;
}

export async function runsOf(
  gateway: GatewayProcess,
  camera: string,
): Promise<readonly CameraRun[]> {
  return (await gateway.get<CameraRuns>(`/cameras/${camera}/runs?${aroundNow()}`)).runs;
}

/** The fragments of a camera, run by run, in order of time. */
export async function fragmentsByRun(
  gateway: GatewayProcess,
  camera: string,
): Promise<readonly (readonly CameraFragment[])[]> {
  const { fragments } = await gateway.get<CameraFragments>(
    `/cameras/${camera}/fragments?${aroundNow()}&limit=5000`,
  );
  const runs = [...new Set(fragments.map(({ runId }) => runId))];
  return runs.map((id) => fragments.filter(({ runId }) => runId === id));
}

/** Each fragment begins where the one before it ends, to one frame. */
export function assertContiguous(fragments: readonly CameraFragment[], frameMs: number): void {
  fragments.slice(1).forEach((fragment, index) => {
    const before = fragments[index];
    assert.ok(before !== undefined);
    const holeMs = msOf(fragment.startTime) - msOf(before.startTime) - before.durationMs;
    assert.ok(Math.abs(holeMs) <= frameMs, `${holeMs} ms before fragment ${fragment.number}`);
  });
}

export const totalMs = (fragments: readonly CameraFragment[]): number =>
  fragments.reduce((sum, { durationMs }) => sum + durationMs, 0);

/** The longest time between the arrivals of two neighbours. */
export function longestWaitMs(fragments: readonly CameraFragment[]): number {
  const arrivals = fragments.map(({ serverTime }) => msOf(serverTime));
  return Math.max(...arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? at)));
}

export interface Decoded {
  readonly pictures: number;
  /** Pieces of sound that differ from each other: silence has two at most. */
  readonly sounds: number;
}

/** Decodes a fragment, fetched by its addresses; fails at the first complaint of the decoder. */
export async function decodeFragment(
  gateway: GatewayProcess,
  fragment: CameraFragment,
): Promise<Decoded> {
  const parts: Buffer[] = [];
  for (const url of [fragment.initUrl, fragment.url]) {
    const response = await gateway.fetch(url);
    assert.equal(response.status, 200, url);
    parts.push(Buffer.from(await response.arrayBuffer()));
  }
  const decoder = spawn(
    ffmpegPath,
    [
      ...['-v', 'error', '-threads', '1', '-i', 'pipe:0', '-map', '0'],
      ...['-fps_mode', 'passthrough', '-f', 'framemd5', 'pipe:1'],
    ],
    { stdio: 'pipe' },
  );
  decoder.stdin.on('error', () => undefined);
  decoder.stdin.end(Buffer.concat(parts));
  const [frames, complaints] = await Promise.all([
    text(decoder.stdout),
    text(decoder.stderr),
    once(decoder, 'close'),
  ]);
  assert.deepEqual([complaints, decoder.exitCode], ['', 0], fragment.url);
  const hashes = (track: number): readonly string[] =>
    frames.match(new RegExp(`(?<=^${track},.*)[0-9a-f]{32}$`, 'gm')) ?? [];
  return { pictures: hashes(0).length, sounds: new Set(hashes(1)).size };
}

/** How long a picture of a clip is shown. */
export async function frameMsOf(clip: string): Promise<number> {
  const { stdout } = await promisify(execFile)('ffprobe', [
    ...['-v', 'error', '-select_streams', 'v:0', '-show_entries', 'stream=avg_frame_rate'],
    ...['-of', 'csv=p=0', clip],
  ]);
  const [frames, seconds] = stdout.trim().split('/').map(Number);
  return (1000 * (seconds ?? 1)) / (frames ?? 25);
}
