/**
 * Records one session of a camera: an ffmpeg, from its start to its end, into one run.
 *
 * Ends in three ways: the source ends, the signal aborts (ffmpeg is asked to finish, and what it
 * still holds is stored), or it fails, with a `SourceError`. Starting again is the supervisor's
 * business; only where a live camera's media clock is found to be wrong another run begins here, if
 * need be timed by when its pictures arrive.
 *
 * A camera whose audio can't be copied makes two attempts of it, one whose audio is announced and
 * never comes three: nothing is stored before that is known. What is silent for the first seconds
 * is recorded without audio until its next session.
 */
import type { VideoStore } from '../../storage/model.ts';
import { StorageError } from '../../storage/errors.ts';
import type { CancelTimer, Clock, Gauge, Logger, Metrics } from '../../storage/ports.ts';
import { type InitTrack, Mp4Error } from '../../storage/video/boxes.ts';
import { SourceError } from '../source.ts';
import { ClockFault } from './clock-watch.ts';
import { type ChildOutput, openChildOutput } from './child-output.ts';
import {
  type AudioHandling,
  type CameraInput,
  Ffmpeg,
  ffmpegCommand,
  type FfmpegExit,
  type Timing,
} from './ffmpeg.ts';
import { failureOf, isAudioFailure } from './ffmpeg-errors.ts';
import { FfmpegLog } from './ffmpeg-log.ts';
import { Recorder } from './recorder.ts';

export type { CameraInput } from './ffmpeg.ts';
export { probeFfmpegVersion } from './ffmpeg.ts';

export interface SessionOptions {
  /** Name of a camera that the store knows. */
  readonly camera: string;
  readonly input: CameraInput;
  readonly video: VideoStore;
  readonly ffmpegPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
  /** Called once the first fragment is on disk. */
  readonly onFirstFragment?: () => void;
  /** How long the camera may send no picture; 15 s when left out. */
  readonly stallTimeoutMs?: number;
  /** Audio is copied or transcoded when left out. */
  readonly audio?: 'keep' | 'leave out';
  /**
   * The input comes in real time, and goes on where ffmpeg begins to read it again: what is wrong
   * with its clock can then be dealt with here.
   */
  readonly isLive?: boolean;
  /** Packets known to be missing so far: a fragment in which there are more is damaged. */
  readonly missingPackets?: () => number;
  /**
   * When the first pictures that ffmpeg was sent are shown: seconds since the first keyframe, in the
   * order in which they came; none where that is not known.
   */
  readonly firstPictureSeconds?: () => readonly number[];
  /** Whether the camera's media clock was set back since ffmpeg began to read. */
  readonly hasLeaptBack?: () => boolean;
}

const defaultStallTimeoutMs = 15_000;

/** A clock that leaps sooner again is not believed any more. */
const leapsApartMsMin = 3_600_000;

/** What is missing shows in the pictures that come within this time. */
const damageShowsMs = 1_000;

/** The audio is not what ffmpeg was told to make of it: try the next way. */
class AudioMismatch extends Error {
  override readonly name = 'AudioMismatch';
}

/**
 * Records one run of a camera.
 *
 * ```ts
 * await recordSession({
 *   camera: 'gate',
 *   input: { args: ['-rtsp_transport', 'tcp', '-i', url], description: maskCredentials(url) },
 *   ...
 * });
 * ```
 * @throws SourceError
 */
export async function recordSession(options: SessionOptions): Promise<void> {
  let timing: Timing = 'camera';
  let faultMs = -Infinity;
  for (;;) {
    try {
      await recordRun(options, timing);
      return;
    } catch (error) {
      if (!(error instanceof SourceError) || !(error.cause instanceof ClockFault)) throw error;
      const nowMs = options.clock.monotonicMs();
      const isSoon = nowMs - faultMs < leapsApartMsMin;
      faultMs = nowMs;
      if (options.isLive !== true || timing === 'arrival' || options.signal.aborted) throw error;
      // A clock may be set. One that leaps all the time, or does not run as ours does, is no clock.
      if (error.cause.kind === 'rate' || isSoon) timing = 'arrival';
      options.logger.warn(
        { camera: options.camera, reason: error.cause.message, timing },
        "The camera's media clock is wrong: another run begins.",
      );
    }
  }
}

/** One run, by whichever way its audio can be taken. */
async function recordRun(options: SessionOptions, timing: Timing): Promise<void> {
  const ways: readonly AudioHandling[] =
    options.audio === 'leave out' ? ['leave out'] : ['copy', 'transcode', 'leave out'];
  for (const [index, audio] of ways.entries()) {
    if (options.signal.aborted) return;
    const last = index === ways.length - 1;
    try {
      const output = await openChildOutput();
      await new Attempt(options, { audio, last, timing }, output).run();
      return;
    } catch (error) {
      if (!(error instanceof AudioMismatch)) throw error;
      options.logger.info(
        { camera: options.camera, reason: error.message },
        audio === 'copy'
          ? "The camera's audio is not AAC: it is transcoded."
          : "The camera's audio can't be used: it is recorded without.",
      );
    }
  }
}

interface Way {
  readonly audio: AudioHandling;
  readonly last: boolean;
  readonly timing: Timing;
}

class Attempt {
  readonly #options: SessionOptions;
  readonly #audio: AudioHandling;
  readonly #last: boolean;
  readonly #timing: Timing;
  readonly #log: FfmpegLog;
  readonly #recorder: Recorder;
  readonly #ffmpeg: Ffmpeg;
  readonly #buffered: Gauge;
  #busy = false;
  #missingPackets: number;
  #damagedUntilMs = -Infinity;
  #lastPictureMs: number;
  #failure: Error | null = null;
  #cancelWatch: CancelTimer = () => undefined;

  constructor(options: SessionOptions, { audio, last, timing }: Way, output: ChildOutput | null) {
    this.#options = options;
    this.#audio = audio;
    this.#last = last;
    this.#timing = timing;
    this.#lastPictureMs = options.clock.monotonicMs();
    this.#missingPackets = options.missingPackets?.() ?? 0;
    this.#buffered = options.metrics.gauge(
      'headgate_camera_buffered_bytes',
      'Bytes from a camera that wait for the disk.',
    );
    const { camera, video, clock, logger, onFirstFragment, firstPictureSeconds } = options;
    this.#recorder = new Recorder({
      ...{ camera, video, clock, logger },
      onTracks: (tracks) => {
        this.#checkAudio(tracks);
      },
      ...(onFirstFragment === undefined ? {} : { onFirstFragment }),
      isLive: options.isLive === true && timing === 'camera',
      ...(firstPictureSeconds === undefined || timing !== 'camera' ? {} : { firstPictureSeconds }),
    });
    const markDamaged = (): void => {
      this.#recorder.markDamaged();
    };
    this.#log = new FfmpegLog(logger.child({ camera }), markDamaged, !last);
    this.#ffmpeg = new Ffmpeg({
      path: options.ffmpegPath,
      command: ffmpegCommand(options.input, audio, timing),
      output,
      // Until a run has begun, somebody waits for each picture.
      mayRest: () => this.#recorder.fragments > 0,
      clock,
      onError: (text) => {
        this.#log.write(text);
      },
    });
  }

  /** @throws SourceError, AudioMismatch */
  async run(): Promise<void> {
    const stop = (): void => {
      this.#ffmpeg.stop();
    };
    this.#options.signal.addEventListener('abort', stop);
    if (this.#options.signal.aborted) stop();
    this.#watch();
    try {
      await this.#record();
    } catch (error) {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#cancelWatch();
      this.#ffmpeg.output.discard();
      this.#ffmpeg.stop();
      this.#options.signal.removeEventListener('abort', stop);
      this.#buffered.set(0, { camera: this.#options.camera });
    }
    await this.#conclude();
  }

  async #record(): Promise<void> {
    const { output } = this.#ffmpeg;
    for (;;) {
      const piece = await output.next();
      if (piece === null) return;
      this.#buffered.set(output.bytes, { camera: this.#options.camera });
      this.#lookForLeap();
      this.#lookForDamage();
      this.#busy = true;
      try {
        const before = this.#recorder.videoChunks;
        await this.#recorder.accept(piece.bytes, piece.arrivalMs);
        if (this.#recorder.videoChunks > before) {
          this.#lastPictureMs = this.#options.clock.monotonicMs();
          this.#log.release();
        }
      } finally {
        this.#busy = false;
      }
    }
  }

  /** ffmpeg hides it: what it makes of pictures that are dated earlier is of no use. */
  #lookForLeap(): void {
    const fault = this.#leapBack();
    if (fault !== null) throw fault;
  }

  #leapBack(): ClockFault | null {
    const isSeen = this.#timing === 'camera' && this.#options.hasLeaptBack?.() === true;
    return isSeen ? new ClockFault('leap', 'its media clock was set back') : null;
  }

  #lookForDamage(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const missing = this.#options.missingPackets?.() ?? 0;
    if (missing > this.#missingPackets) this.#damagedUntilMs = nowMs + damageShowsMs;
    this.#missingPackets = missing;
    if (nowMs <= this.#damagedUntilMs) this.#recorder.markDamaged();
  }

  /** Waits for ffmpeg, ends the run with its reason, and throws what went wrong. */
  async #conclude(): Promise<void> {
    const { description } = this.#options.input;
    let failure = this.#failure;
    try {
      const exit = await this.#ffmpeg.exited;
      this.#log.end();
      failure ??= this.#failureOfExit(exit);
      this.#log.release(failure instanceof AudioMismatch);
    } catch (error) {
      failure ??= error instanceof Error ? error : new Error(String(error));
    }
    const told = failure === null ? null : sourceError(failure, description);
    try {
      await this.#recorder.end(this.#reasonOf(told));
    } catch (error) {
      throw told ?? sourceError(error, description);
    }
    if (failure instanceof AudioMismatch) throw failure;
    if (told !== null) throw told;
  }

  #reasonOf(failure: Error | null): string {
    if (failure !== null) return `failed: ${failure.message}`;
    return this.#options.signal.aborted ? 'gateway stopped' : 'ended';
  }

  #failureOfExit({ code, signal }: FfmpegExit): Error | null {
    if (this.#options.signal.aborted) return null;
    const { description } = this.#options.input;
    if (signal !== null) {
      return new SourceError('crashed', `${description}: its ffmpeg ended by ${signal}`);
    }
    const { lastLines } = this.#log;
    if (this.#recorder.videoChunks === 0 && !this.#last && isAudioFailure(lastLines)) {
      return new AudioMismatch(lastLines.at(-1) ?? 'ffmpeg failed');
    }
    // Where times go back a long way it gives up.
    const leap = this.#recorder.videoChunks > 0 ? this.#leapBack() : null;
    if (code !== 0) return leap ?? failureOf(description, lastLines);
    if (this.#recorder.fragments > 0 || this.#recorder.videoChunks > 0) return null;
    return new SourceError('ended', `${description}: it ended before the first picture`);
  }

  #checkAudio(tracks: readonly InitTrack[]): void {
    const audio = tracks.find(({ kind }) => kind === 'audio');
    if (this.#audio !== 'copy' || audio === undefined) return;
    // Much else fits MP4 (Opus, MP3, AC-3 …), but not every player.
    if (!audio.codec.startsWith('mp4a.40.')) throw new AudioMismatch(audio.codec);
  }

  /** Ends the attempt when no picture came for too long; a disk that is slow is no stall. */
  #watch(): void {
    const { clock, stallTimeoutMs = defaultStallTimeoutMs } = this.#options;
    const leftMs = this.#lastPictureMs + stallTimeoutMs - clock.monotonicMs();
    const waiting = this.#busy || this.#ffmpeg.output.bytes > 0;
    if (leftMs > 0 || waiting) {
      this.#cancelWatch = clock.setTimer(Math.max(leftMs, stallTimeoutMs / 10), () => {
        this.#watch();
      });
      return;
    }
    const silentAudio = this.#audio === 'transcode' && this.#recorder.videoChunks === 0;
    const seconds = Math.round(stallTimeoutMs / 1000);
    this.#failure ??= silentAudio
      ? new AudioMismatch('none came')
      : new SourceError('stalled', `no picture for ${seconds} s`);
    this.#ffmpeg.stop();
  }
}

/** Any failure in the words of a source, with the camera named. */
function sourceError(error: unknown, description: string): Error {
  if (error instanceof SourceError) {
    return error.message.startsWith(description) && !(error instanceof ClockFault)
      ? error
      : new SourceError(error.code, `${description}: ${error.message}`, { cause: error });
  }
  if (error instanceof StorageError) {
    return new SourceError('storage', `${description}: ${error.message}`, { cause: error });
  }
  if (error instanceof Mp4Error) {
    const code = error.code === 'unsupported' ? 'unsupported' : 'malformed';
    return new SourceError(code, `${description}: ${error.message}`, { cause: error });
  }
  return error instanceof Error ? error : new Error(String(error));
}
