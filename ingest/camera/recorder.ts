/**
 * Drives the video store with the stream of one session: bytes in, fragments out.
 *
 * Here the pieces meet: `chunk-reader` says what the bytes are, `fragmenter` where fragments begin,
 * `timeline` when that was, `parameter-sets` when the codec changed. The run begins with the first
 * keyframe. Where the bytes come from is the business of `session.ts`.
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { RunRecording, VideoStore } from '../../storage/model.ts';
import { describeTrack, type InitTrack, Mp4Error, readInit } from '../../storage/video/boxes.ts';
import { SourceError } from '../source.ts';
import { ClockWatch } from './clock-watch.ts';
import { ChunkReader, type MediaChunk, type StreamPart } from './chunk-reader.ts';
import { Fragmenter } from './fragmenter.ts';
import {
  changedConfiguration,
  type CodecConfiguration,
  readCodecConfiguration,
  withConfiguration,
} from './parameter-sets.ts';
import { type ClockReading, type MediaInstant, Timeline } from './timeline.ts';

export interface RecorderOptions {
  readonly camera: string;
  readonly video: VideoStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with the init's tracks, before anything of it is kept; may refuse by throwing. */
  readonly onTracks?: (tracks: readonly InitTrack[]) => void;
  /** Called once the first fragment is on disk. */
  readonly onFirstFragment?: () => void;
  /** The input comes in real time, so that its clock can be held against ours. */
  readonly isLive?: boolean;
  /** As in `SessionOptions`. */
  readonly firstPictureSeconds?: () => readonly number[];
}

/** What is known from the init on. */
interface Stream {
  readonly video: InitTrack;
  readonly timescales: ReadonlyMap<number, number>;
  readonly fragmenter: Fragmenter;
  readonly timeline: Timeline;
  init: Buffer;
  configuration: CodecConfiguration;
}

/** A wall clock that is off its course by this much was set. */
const clockStepMsMax = 60_000;
/** Below this the timeline follows by itself; above it, it says so once. */
const tellErrorUs = 5_000_000;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #reader: ChunkReader;
  readonly #clockDifferenceMs: number;
  readonly #clockWatch: ClockWatch;
  #stream: Stream | null = null;
  #recording: RunRecording | null = null;
  /** A fragment is open that has a chunk at least. */
  #fragmentOpen = false;
  #fragments = 0;
  #damaged = false;
  #dropped = 0;
  #videoChunks = 0;
  #lastVideoEndUs: number | null = null;
  #toldError = false;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.#reader = new ChunkReader(options.firstPictureSeconds);
    this.#clockDifferenceMs = options.clock.nowMs() - options.clock.monotonicMs();
    this.#clockWatch = new ClockWatch(options.isLive ?? false);
  }

  /** Chunks with video so far: grows as long as the camera sends pictures. */
  get videoChunks(): number {
    return this.#videoChunks;
  }

  /** Fragments on disk. */
  get fragments(): number {
    return this.#fragments;
  }

  /** Something of the stream was lost: the fragment that is open says so. */
  markDamaged(): void {
    this.#damaged = true;
  }

  /**
   * Takes the next bytes of the stream; resolves when what they completed is written.
   * @throws Mp4Error, StorageError, SourceError; nothing is taken after it, but `end` is called
   */
  async accept(bytes: Buffer, arrivalMs: number): Promise<void> {
    for (const part of this.#reader.push(bytes)) await this.#take(part, arrivalMs);
  }

  /** Commits the fragment that is open and ends the run. Resolves also when there was none. */
  async end(reason: string): Promise<void> {
    const recording = this.#recording;
    this.#recording = null;
    if (recording === null) return;
    try {
      if (this.#fragmentOpen) await this.#closeFragment(recording, null);
    } finally {
      await recording.end(reason);
    }
  }

  async #take(part: StreamPart, arrivalMs: number): Promise<void> {
    if (part.type === 'init') this.#begin(part.bytes);
    else await this.#takeChunk(part.chunk, arrivalMs);
  }

  #begin(bytes: Buffer): void {
    const { tracks } = readInit(bytes);
    const video = tracks.find(({ kind }) => kind === 'video');
    const configuration = video === undefined ? null : readCodecConfiguration(bytes, video);
    if (video === undefined || configuration === null) {
      const what = video === undefined ? 'no video' : `${video.codec} video`;
      throw new SourceError('unsupported', `it sends ${what}; H.264 and H.265 can be recorded`);
    }
    this.#options.onTracks?.(tracks);
    this.#stream = {
      video,
      configuration,
      init: bytes,
      timescales: new Map(tracks.map(({ trackId, timescale }) => [trackId, timescale])),
      fragmenter: new Fragmenter({ timescale: video.timescale }),
      timeline: new Timeline(),
    };
  }

  async #takeChunk(chunk: MediaChunk, arrivalMs: number): Promise<void> {
    const stream = this.#stream;
    if (stream === null) throw new Mp4Error('malformed', 'media before its init');
    this.#checkClock();
    const reading = readClocks(stream, chunk, arrivalMs);
    if (reading !== null) {
      this.#clockWatch.check(reading.mediaEndUs, reading.arrivalUs, delayUsOf(stream, chunk));
      if (!stream.timeline.hasRoomFor(reading.mediaEndUs)) {
        throw new SourceError('ended', 'footage that is dated later begins here');
      }
      stream.timeline.observe(reading);
      this.#videoChunks += 1;
    }
    const changed = changeOf(stream, chunk);
    const placement = stream.fragmenter.place(chunk, changed !== null);
    if (placement === 'drop') {
      this.#dropped += 1;
      return;
    }
    if (placement === 'begin') await this.#beginFragment(stream, chunk, changed, arrivalMs);
    if (reading !== null) this.#lastVideoEndUs = reading.mediaEndUs;
    const ticks = chunk.video?.durationTicks ?? 0;
    await this.#recording?.appendChunk({
      bytes: chunk.bytes,
      durationUs: Math.round((ticks / stream.video.timescale) * 1e6),
      keyframe: chunk.keyframe,
    });
    this.#fragmentOpen = true;
  }

  async #beginFragment(
    stream: Stream,
    chunk: MediaChunk,
    changed: CodecConfiguration | null,
    arrivalMs: number,
  ): Promise<void> {
    const instant = instantOf(stream, chunk);
    if (this.#recording !== null && this.#fragmentOpen) {
      await this.#closeFragment(this.#recording, instant);
    }
    const first = this.#recording === null;
    this.#recording ??= await this.#startRun(stream.timeline, instant);
    const startUs = stream.timeline.begin(instant);
    if (changed !== null) {
      stream.init = withConfiguration(stream.init, changed);
      stream.configuration = changed;
    }
    if (changed !== null || first) {
      const tracks = readInit(stream.init).tracks.map(describeTrack);
      await this.#recording.setInit(stream.init, tracks);
    }
    const producer = producerOf(stream, chunk);
    const producerUs =
      producer === null ? null : producer.wallUs + instant.presentationUs - producer.mediaUs;
    await this.#recording.openFragment({
      startUs,
      producerMs: producerUs === null ? null : Math.round(producerUs / 1000),
      serverMs: arrivalMs,
    });
    this.#tellError(stream, instant);
  }

  async #startRun(timeline: Timeline, instant: MediaInstant): Promise<RunRecording> {
    const { camera, video, logger } = this.#options;
    if (this.#dropped > 0) {
      logger.debug({ camera, chunks: this.#dropped }, 'Chunks before the first keyframe dropped.');
    }
    const recording = await video.startRun(camera, timeline.estimate(instant));
    timeline.bound(recording.free);
    return recording;
  }

  /** @param next where the next fragment begins; null: with the last frame there is. */
  async #closeFragment(recording: RunRecording, next: MediaInstant | null): Promise<void> {
    const stream = this.#stream;
    if (stream === null) return;
    this.#fragmentOpen = false;
    const times = stream.timeline.finish(next?.decodeUs ?? this.#lastVideoEndUs ?? 0);
    const damaged = this.#damaged;
    this.#damaged = false;
    await recording.closeFragment({ ...times, damaged });
    this.#fragments += 1;
    if (this.#fragments === 1) this.#options.onFirstFragment?.();
  }

  /** A run has one timeline; footage after a step of the wall clock begins another. */
  #checkClock(): void {
    const { clock } = this.#options;
    const stepMs = clock.nowMs() - clock.monotonicMs() - this.#clockDifferenceMs;
    if (Math.abs(stepMs) <= clockStepMsMax) return;
    throw new SourceError('ended', `the clock was set by ${Math.round(stepMs / 1000)} s`);
  }

  #tellError(stream: Stream, instant: MediaInstant): void {
    const errorUs = stream.timeline.errorUs(instant.decodeUs);
    if (this.#toldError || Math.abs(errorUs) < tellErrorUs) return;
    this.#toldError = true;
    this.#options.logger.warn(
      { camera: this.#options.camera, errorSeconds: Math.round(errorUs / 1e6) },
      "The recording's timeline is off the wall clock and follows it slowly.",
    );
  }
}

function changeOf(stream: Stream, chunk: MediaChunk): CodecConfiguration | null {
  const sample = chunk.video?.samples[0];
  if (!chunk.keyframe || sample === undefined) return null;
  return changedConfiguration(stream.configuration, chunk.bytes, sample);
}

function readClocks(stream: Stream, chunk: MediaChunk, arrivalMs: number): ClockReading | null {
  if (chunk.video === null) return null;
  const endTicks = chunk.video.decodeTime + chunk.video.durationTicks;
  return {
    arrivalUs: arrivalMs * 1000,
    mediaEndUs: (endTicks / stream.video.timescale) * 1e6,
    producer: producerOf(stream, chunk),
  };
}

/** How long pictures wait from decoding to showing, at most. */
function delayUsOf({ video }: Stream, chunk: MediaChunk): number {
  const ticks = chunk.video?.samples.map(({ compositionTicks }) => compositionTicks) ?? [];
  return (Math.max(0, ...ticks) / video.timescale) * 1e6;
}

function producerOf(
  stream: Stream,
  { producerTime }: MediaChunk,
): { mediaUs: number; wallUs: number } | null {
  if (producerTime === null) return null;
  const timescale = stream.timescales.get(producerTime.trackId);
  if (timescale === undefined) return null;
  return { mediaUs: (producerTime.mediaTicks / timescale) * 1e6, wallUs: producerTime.wallUs };
}

/** When the keyframe at the head of a chunk is decoded and shown. */
function instantOf(stream: Stream, chunk: MediaChunk): MediaInstant {
  const decodeTicks = chunk.video?.decodeTime ?? 0;
  const compositionTicks = chunk.video?.samples[0]?.compositionTicks ?? 0;
  return {
    decodeUs: (decodeTicks / stream.video.timescale) * 1e6,
    presentationUs: ((decodeTicks + compositionTicks) / stream.video.timescale) * 1e6,
  };
}
