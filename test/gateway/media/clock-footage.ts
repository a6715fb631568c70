/** Footage with a clock in the picture: each shows its number, in black and white columns. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LONGEST_WAIT_MS } from '../../support/deadline.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { type Footage, splitFootage } from '../api/hls/footage.ts';

const run = promisify(execFile);

const columnPx = 16;
const bits = 10;
export const clockWidth = columnPx * bits;
export const clockHeight = 32;
export const framesPerSecond = 25;
export const frameUs = 1e6 / framesPerSecond;

export interface ClockOptions {
  readonly seconds: number;
  readonly bFrames?: number;
  /** Pictures from one keyframe to the next; 25. */
  readonly group?: number;
  readonly hevc?: boolean;
  readonly sound?: boolean;
  /** Times the usual size. */
  readonly scale?: number;
}

/**
 * Pictures numbered from 0; if wanted, with a beep of 0.2 s at the beginning of each second. With
 * sound the first picture lasts longer than the others (gateway's ffmpeg.ts says why).
 */
export async function clockFootage(options: ClockOptions): Promise<Footage> {
  return splitFootage(await clockMovie(options));
}

/** The same as fragmented MP4, in chunks of 200 ms. */
export async function clockMovie(options: ClockOptions): Promise<Buffer> {
  const { seconds, bFrames = 0, group = 25, hevc = false, sound = false, scale = 1 } = options;
  const [width, height] = [clockWidth * scale, clockHeight * scale];
  const beep = 'if(lt(mod(t,1),0.2),0.8*sin(6283*t),0)';
  const tone = `aevalsrc='${beep}':sample_rate=48000:duration=${seconds}`;
  const x265 = `keyint=${group}:min-keyint=${group}:scenecut=0:bframes=${bFrames}:open-gop=0:log-level=none`;
  const codec = hevc
    ? ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', x265, '-tag:v', 'hvc1']
    : ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', String(bFrames), '-sc_threshold', '0'];
  const encoding = run(
    ffmpegPath,
    [
      ...['-v', 'error', '-f', 'rawvideo', '-pix_fmt', 'gray', '-video_size', `${width}x${height}`],
      ...['-framerate', String(framesPerSecond), '-i', 'pipe:0'],
      ...(sound ? ['-f', 'lavfi', '-i', tone, '-c:a', 'aac'] : []),
      ...[...codec, '-g', String(group), '-pix_fmt', 'yuv420p', '-threads', '1'],
      ...['-f', 'mp4', '-frag_duration', '200000'],
      ...['-movflags', '+frag_keyframe+empty_moov+default_base_moof+skip_trailer', 'pipe:1'],
    ],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
  );
  encoding.child.stdin?.on('error', () => undefined);
  encoding.child.stdin?.end(numberedPictures(seconds * framesPerSecond, width, height));
  return (await encoding).stdout;
}

/** Grey pixels of pictures that show 0, 1, 2, …, one behind the other. */
function numberedPictures(count: number, width: number, height: number): Buffer {
  const pictures = Buffer.alloc(count * width * height);
  for (let number = 0; number < count; number += 1) {
    const begin = number * width * height;
    for (let x = 0; x < width; x += 1) {
      const bit = Math.floor((x * bits) / width);
      pictures[begin + x] = Math.floor(number / 2 ** bit) % 2 === 1 ? 255 : 0;
    }
    for (let y = 1; y < height; y += 1) {
      pictures.copyWithin(begin + y * width, begin, begin + width);
    }
  }
  return pictures;
}

/** The number that a picture shows, of its grey pixels. */
export function numberShown(pixels: Uint8Array, width: number, height: number): number {
  const middle = Math.floor(height / 2) * width;
  let number = 0;
  for (let bit = 0; bit < bits; bit += 1) {
    const x = Math.floor(((bit + 0.5) * width) / bits);
    if ((pixels[middle + x] ?? 0) > 128) number += 2 ** bit;
  }
  return number;
}

/**
 * The numbers of all pictures of an input.
 * @param bytes what comes by `pipe:0`
 */
export async function numbersOf(input: readonly string[], bytes?: Buffer): Promise<number[]> {
  const [width, height] = [clockWidth, clockHeight];
  const decoding = run(
    ffmpegPath,
    [
      ...['-v', 'error', '-threads', '1', ...input, '-map', '0:v:0'],
      ...['-vf', `scale=${width}:${height}`, '-fps_mode', 'passthrough'],
      ...['-pix_fmt', 'gray', '-f', 'rawvideo', 'pipe:1'],
    ],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024, timeout: LONGEST_WAIT_MS },
  );
  decoding.child.stdin?.on('error', () => undefined);
  decoding.child.stdin?.end(bytes);
  const { stdout } = await decoding;
  const pictureBytes = width * height;
  return Array.from({ length: Math.floor(stdout.length / pictureBytes) }, (_, index) => {
    const at = index * pictureBytes;
    return numberShown(stdout.subarray(at, at + pictureBytes), width, height);
  });
}

/** The numbers of all pictures of a file, with the time at which each is shown. */
export async function picturesOf(
  input: readonly string[],
): Promise<{ readonly number: number; readonly atS: number }[]> {
  const [numbers, times] = await Promise.all([
    numbersOf(input),
    run(ffmpegPath, [
      ...['-v', 'error', '-threads', '1', ...input, '-map', '0:v:0'],
      ...['-fps_mode', 'passthrough', '-enc_time_base', '1:1000000'],
      ...['-f', 'framecrc', 'pipe:1'],
    ]),
  ]);
  return times.stdout
    .split('\n')
    .filter((line) => /^0,/.test(line))
    .map((line, index) => ({
      number: numbers[index] ?? NaN,
      atS: Number(line.split(',')[2]) / 1e6,
    }));
}

/** When the beeps of a file begin, in seconds. */
export async function beepsOf(input: readonly string[]): Promise<number[]> {
  const decode = ['-v', 'error', '-threads', '1', ...input, '-map', '0:a:0'];
  const { stdout } = await run(
    ffmpegPath,
    [...decode, ...['-af', 'aresample=async=1:first_pts=0', '-ac', '1', '-f', 's16le', 'pipe:1']],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
  );
  const samples = new Int16Array(stdout.buffer, stdout.byteOffset, Math.floor(stdout.length / 2));
  const begins: number[] = [];
  let lastLoud = -Infinity;
  samples.forEach((value, index) => {
    if (Math.abs(value) < 3_000) return;
    if (index - lastLoud > 4_800) begins.push(index / 48_000);
    lastLoud = index;
  });
  return begins;
}
