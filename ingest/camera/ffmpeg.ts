/**
 * One ffmpeg per camera: copies what the camera sends into fragmented MP4 on its stdout.
 *
 * - Video is copied, never transcoded. AAC is copied; other audio is transcoded to AAC, which
 *   `session.ts` finds out by trying.
 * - `-max_interleave_delta` keeps the video flowing when the audio stops; `-flush_packets` hands
 *   each chunk on at once.
 * - Where audio and video begin apart, ffmpeg puts the first sample of the later one at 0 too and
 *   makes it last until the second, whose time is right again. (`delay_moov` would not, but writes
 *   edit lists, which players of fragmented MP4 get wrong.)
 * - It is started without a shell. A URL with credentials does not appear on its command line, which
 *   every user of the machine may read: it comes on its standard input (`input-script.ts`).
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { Clock } from '../../storage/ports.ts';
import { ReadingPace } from '../reading-pace.ts';
import { SourceError } from '../source.ts';
import { ByteQueue } from './byte-queue.ts';
import type { ChildOutput } from './child-output.ts';
import { concealed } from './input-script.ts';

/** Where the media comes from: what stands before ffmpeg's output options. */
export interface CameraInput {
  /** Input options and `-i` with its URL. */
  readonly args: readonly string[];
  /** For logs and errors; without credentials. */
  readonly description: string;
}

export type AudioHandling = 'copy' | 'transcode' | 'leave out';

/** Whose clock times the frames: the camera's RTP timestamps, or ours as they arrive. */
export type Timing = 'camera' | 'arrival';

const chunkUs = 200_000;
const interleaveUs = 500_000;
/** ffmpeg 5: in older ones `-timeout` of RTSP means something else. */
const libavformatMin = 59;
const killAfterMs = 3_000;

/** What ffmpeg is started with. */
export interface FfmpegCommand {
  readonly args: readonly string[];
  /** For its standard input, if anything. */
  readonly script: string | null;
}

export function ffmpegCommand(
  input: CameraInput,
  audio: AudioHandling,
  timing: Timing = 'camera',
): FfmpegCommand {
  const timed = timing === 'arrival' ? ['-use_wallclock_as_timestamps', '1'] : [];
  const { args, script } = concealed([...timed, ...input.args]);
  const audioArguments = {
    copy: ['-map', '0:a:0?', '-c:a', 'copy'],
    transcode: ['-map', '0:a:0?', '-c:a', 'aac', '-b:a', '64k'],
    'leave out': ['-an'],
  }[audio];
  const all = [
    ...['-hide_banner', '-nostdin', '-nostats', '-loglevel', 'level+warning'],
    ...args,
    ...['-map', '0:v:0', '-c:v', 'copy'],
    ...audioArguments,
    ...['-max_interleave_delta', String(interleaveUs)],
    ...['-f', 'mp4', '-flush_packets', '1', '-write_prft', 'wallclock'],
    ...['-movflags', '+frag_keyframe+empty_moov+default_base_moof+skip_trailer'],
    ...['-frag_duration', String(chunkUs), 'pipe:1'],
  ];
  return { args: all, script };
}

export interface FfmpegExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface FfmpegOptions {
  readonly path: string;
  readonly command: FfmpegCommand;
  /** null: a pipe of its own. */
  readonly output: ChildOutput | null;
  /** Whether its output may be let gather before it is read. */
  readonly mayRest: () => boolean;
  readonly clock: Clock;
  /** Takes its stderr, in pieces. */
  readonly onError: (text: string) => void;
}

export class Ffmpeg {
  readonly output: ByteQueue;
  /** Resolves when it is gone and its pipes are closed; rejects when it could not be started. */
  readonly exited: Promise<FfmpegExit>;
  readonly #process: ChildProcess;
  readonly #clock: Clock;
  readonly #pace: ReadingPace | null;
  #cancelKill: (() => void) | null = null;

  constructor(options: FfmpegOptions) {
    const { output, clock, mayRest } = options;
    const { args, script } = options.command;
    const child = spawn(options.path, args, {
      stdio: ['pipe', output?.writer ?? 'pipe', 'pipe'],
      shell: false,
    });
    output?.writer.destroy();
    const { stdin, stderr } = child;
    const stdout = output?.reader ?? child.stdout;
    assert(stdin !== null && stdout !== null && stderr !== null);
    // One that ends before it has read all says why on stderr.
    stdin.on('error', () => undefined).end(script ?? '');
    this.#process = child;
    this.#clock = clock;
    const pace = output === null ? null : new ReadingPace(output.reader, clock, true);
    this.#pace = pace;
    this.output = new ByteQueue(stdout, clock, (bytes) => {
      if (mayRest()) pace?.rest(bytes);
    });
    stderr.setEncoding('utf8').on('data', options.onError);
    this.exited = new Promise((resolve, reject) => {
      child.once('error', (error) => {
        reject(
          new SourceError('unsupported', `${options.path} can't be started`, { cause: error }),
        );
      });
      child.once('close', (code, signal) => {
        this.#cancelKill?.();
        resolve({ code, signal });
      });
    });
    // Awaited by the session in the end; until then a failure is nobody's.
    this.exited.catch(() => undefined);
  }

  /**
   * Asks it to finish, so that it hands over what it holds; after 3 s it is killed. Calling it
   * again is harmless.
   */
  stop(): void {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    if (this.#cancelKill !== null) return;
    this.#pace?.end();
    this.#process.kill('SIGTERM');
    this.#cancelKill = this.#clock.setTimer(killAfterMs, () => {
      this.#process.kill('SIGKILL');
    });
  }
}

/**
 * The version an ffmpeg says it has.
 * @throws SourceError `unsupported` when it can't be run or is older than 5
 */
export async function probeFfmpegVersion(path: string): Promise<string> {
  let text: string;
  try {
    text = (await promisify(execFile)(path, ['-hide_banner', '-version'])).stdout;
  } catch (error) {
    throw new SourceError('unsupported', `${path} can't be run as ffmpeg`, { cause: error });
  }
  const version = /^ffmpeg version (\S+)/m.exec(text)?.[1];
  // Builds from git carry no version number, but the libraries in them always do.
  const libavformat = Number(/^\s*libavformat\s+(\d+)\./m.exec(text)?.[1]);
  if (version === undefined || Number.isNaN(libavformat)) {
    throw new SourceError('unsupported', `${path} does not say that it is ffmpeg`);
  }
  if (libavformat < libavformatMin) {
    throw new SourceError('unsupported', `${path} is ffmpeg ${version}; 5 or newer is needed`);
  }
  return version;
}
