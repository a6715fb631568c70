/** One picture made by one ffmpeg: decodes a piece of MP4 up to a picture, and encodes that. */
import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import type { Clock } from '../../storage/ports.ts';

export type ImageErrorCode =
  /** Too many wait already. */
  | 'busy'
  /** ffmpeg could not make it of what is recorded. */
  | 'failed'
  /** The gateway is closing. */
  | 'closed';

export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code: ImageErrorCode;

  constructor(code: ImageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export interface PictureFormat {
  readonly format: 'jpeg' | 'png';
  /**
   * Pixels. One of the two follows the other, and makes no picture larger than it was recorded; both
   * together are as they say. Left out: as recorded.
   */
  readonly width?: number;
  readonly height?: number;
  /** Of JPEG, 1 to 100; 80 when left out. */
  readonly quality?: number;
}

export interface PictureSource {
  /** An MP4 whose video begins with a keyframe. */
  readonly bytes: Buffer;
  /** The presentation time of the picture, in the ticks of its track. */
  readonly shownTicks: number;
}

export interface MadePicture {
  /** null: it could not be made. */
  readonly bytes: Buffer | null;
  /** Processor time that it took; an estimate where ffmpeg did not say. */
  readonly cpuSeconds: number;
  /** ffmpeg's last complaint, if it had any. */
  readonly complaint: string | null;
}

interface PictureWork {
  readonly clock: Clock;
  /** Kills it. */
  readonly signal: AbortSignal;
  /** A person waits for it: not at low priority. */
  readonly isUrgent: boolean;
}

const timeoutMs = 20_000;
const outputBytesMax = 64 * 1024 * 1024;
const complaintCharactersMax = 2_048;
const guessedCpuSeconds = 0.5;
const defaultQuality = 80;

/**
 * @throws ImageError `failed` when ffmpeg can't be started; the signal's reason
 */
export async function makePicture(
  ffmpegPath: string,
  source: PictureSource,
  format: PictureFormat,
  { clock, signal, isUrgent }: PictureWork,
): Promise<MadePicture> {
  signal.throwIfAborted();
  const child = spawn(ffmpegPath, arguments_(source.shownTicks, format), { stdio: 'pipe' });
  const kill = (): void => {
    child.kill('SIGKILL');
  };
  signal.addEventListener('abort', kill, { once: true });
  const cancelTimeout = clock.setTimer(timeoutMs, kill);
  const output: Buffer[] = [];
  let outputBytes = 0;
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => {
    output.push(bytes);
    outputBytes += bytes.length;
    if (outputBytes > outputBytesMax) kill();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-complaintCharactersMax);
  });
  // It leaves once it has its picture, whatever is still to be written to it.
  child.stdin.on('error', () => undefined).end(source.bytes);
  child.once('spawn', () => {
    if (!isUrgent) lower(child.pid);
  });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    signal.throwIfAborted();
    const isMade = code === 0 && outputBytes > 0 && outputBytes <= outputBytesMax;
    return {
      bytes: isMade ? Buffer.concat(output) : null,
      cpuSeconds: cpuSecondsOf(said),
      complaint: lastComplaint(said),
    };
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ImageError('failed', `${ffmpegPath} can't be started`, { cause: error });
  } finally {
    cancelTimeout();
    signal.removeEventListener('abort', kill);
  }
}

function arguments_(shownTicks: number, format: PictureFormat): readonly string[] {
  const isJpeg = format.format === 'jpeg';
  const scale = [...sizeArguments(format), ...(isJpeg ? ['out_range=full'] : [])].join(':');
  const filters = [
    `select=eq(pts\\,${shownTicks})`,
    ...(scale === '' ? [] : [`scale=${scale}`]),
    `format=${isJpeg ? 'yuvj420p' : 'rgb24'}`,
  ].join(',');
  const encoder = isJpeg
    ? ['-c:v', 'mjpeg', '-q:v', String(jpegScale(format.quality ?? defaultQuality))]
    : ['-c:v', 'png'];
  return [
    ...['-hide_banner', '-nostats', '-loglevel', 'level+info', '-benchmark', '-copyts'],
    ...['-threads', '1', '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0'],
    ...['-vf', filters, '-frames:v', '1', '-fps_mode', 'passthrough', '-threads', '1'],
    ...[...encoder, '-f', 'image2pipe', 'pipe:1'],
  ];
}

function sizeArguments({ width, height }: PictureFormat): readonly string[] {
  if (width !== undefined && height !== undefined) return [`w=${width}:h=${height}:flags=area`];
  if (width !== undefined) return [`w='min(iw,${width})':h=-2:flags=area`];
  return height === undefined ? [] : [`w=-2:h='min(ih,${height})':flags=area`];
}

/**
 * ffmpeg's scale of a quality as the JPEG library has it: both multiply a table of about the same
 * shape, and this makes them as coarse.
 */
function jpegScale(quality: number): number {
  const percent = quality < 50 ? 5_000 / quality : 200 - 2 * quality;
  return Math.min(31, Math.max(1, Math.round(0.187 * percent)));
}

/** What nobody waits for comes last. */
function lower(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, constants.priority.PRIORITY_BELOW_NORMAL);
  } catch {
    // It is gone already.
  }
}

/** What `-benchmark` says at its end. */
function cpuSecondsOf(said: string): number {
  const found = /utime=([\d.]+)s stime=([\d.]+)s/.exec(said);
  return found === null ? guessedCpuSeconds : Number(found[1]) + Number(found[2]);
}

function lastComplaint(said: string): string | null {
  const lines = said.split('\n').filter((line) => /\[(error|fatal|panic)\]/.test(line));
  return lines.at(-1)?.replace(/^(\[[^\]]*\]\s*)+/, '') ?? null;
}
