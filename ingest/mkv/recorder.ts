/**
 * Records one PutMedia connection: Matroska in, fragments out, each as the producer cut it.
 *
 * - A cluster is a fragment. It begins with a keyframe, lasts 10 s and has 50 MB at most; anything
 *   else is refused, and ends the connection. What is whole before it is kept.
 * - A fragment is acknowledged three times: when its first chunk is written (BUFFERING), when all of
 *   it is here (RECEIVED), when it and its row are on disk (PERSISTED). One that is cut off is not
 *   kept: its producer was not told that it is, and sends it again.
 * - Times: a producer's requests are signed, so its clock is right within minutes. What it says is
 *   older than that is a backlog, up to 12 h, and is put where it belongs. What it says is later
 *   than now by more than 5 s, or older than a backlog, is wrong: then the arrival counts, as with
 *   every other camera. The producer's own time is kept beside the fragment in any case.
 * - Pictures that are missing for more than a second end the run, and another one begins; so do
 *   other tracks, a step of our clock, and footage that is dated later.
 *
 * Where the bytes come from, and how acknowledgements are sent, is the business of
 * `gateway/api/kinesis-video/put-media.ts`.
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import { StorageError } from '../../storage/errors.ts';
import type { RunRecording, Tags, VideoStore } from '../../storage/model.ts';
import { describeTrack, Mp4Error, readInit } from '../../storage/video/boxes.ts';
import {
  changedConfiguration,
  type CodecConfiguration,
  readCodecConfiguration,
  tagHevc,
  withConfiguration,
} from '../camera/parameter-sets.ts';
import { gapWithinRunUsMax } from '../../storage/video/rows.ts';
import { type MediaInstant, Timeline } from '../camera/timeline.ts';
import type { MkvFrame } from './blocks.ts';
import {
  ChunkMaker,
  leadUs,
  type MadeChunk,
  mp4Tracks,
  type RecordedTracks,
} from './chunk-maker.ts';
import { MkvError } from './ebml.ts';
import { type MkvEvent, MkvReader, type MkvTag } from './mkv-reader.ts';
import { writeInit } from './mp4-writer.ts';
import { PutMediaError } from './put-media-errors.ts';
import type { MkvTrack } from './tracks.ts';

/** What the times in the stream count from. */
export type Timecodes =
  | { readonly type: 'absolute' }
  /** @param startMs when the producer began, by its clock; null: it did not say */
  | { readonly type: 'relative'; readonly startMs: number | null };

export interface FragmentAck {
  readonly type: 'BUFFERING' | 'RECEIVED' | 'PERSISTED';
  /** Of the cluster, as the producer wrote it. */
  readonly timecodeMs: number;
  readonly fragmentNumber: number;
}

export interface MkvRecorderOptions {
  /** Name of a camera that the store knows. */
  readonly camera: string;
  readonly video: VideoStore;
  readonly timecodes: Timecodes;
  readonly onAck: (ack: FragmentAck) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A fragment on its way. */
interface Incoming {
  readonly timecodeUs: number;
  readonly timecodeMs: number;
  readonly arrivalMs: number;
  bytes: number;
  frames: number;
  /** When its first picture is shown; null before it. */
  firstUs: number | null;
  /** A codec that changes with it. */
  changed: CodecConfiguration | null;
  /** Its number; null before its first chunk. */
  number: number | null;
}

/** One run of the store, and its timeline. */
interface OpenRun {
  readonly recording: RunRecording;
  readonly timeline: Timeline;
  readonly clockDifferenceMs: number;
}

const fragmentBytesMax = 50_000_000;
const fragmentUsMax = 10_000_000;
const framesMax = 10_000;
const clockStepMsMax = 60_000;
const backlogUsMax = 12 * 3_600_000_000;
const aheadUsMax = 5_000_000;
/** The year 2100. */
const wallUsMax = Date.UTC(2100, 0, 1) * 1000;
const tagsMax = 10;
const tagNameBytesMax = 128;
const tagValueBytesMax = 256;
/** The service's own tags, which a stream that was read from it brings along. */
const reservedTags = 'AWS_KINESISVIDEO_';

export class MkvRecorder {
  readonly #options: MkvRecorderOptions;
  readonly #reader = new MkvReader();
  #tickNs = 1_000_000;
  #tracks: RecordedTracks | null = null;
  #init: Buffer | null = null;
  #configuration: CodecConfiguration | null = null;
  #chunks: ChunkMaker | null = null;
  #run: OpenRun | null = null;
  #isInitSet = false;
  #incoming: Incoming | null = null;
  #lastTimecodeUs = -Infinity;
  /** Where the media of the last fragment ended, and where it was put. */
  #lastMediaUs: number | null = null;
  #lastEndUs = 0;
  #lastNumber: number | null = null;
  #tags: Tags = {};
  #fragments = 0;
  #silentBytes = 0;

  constructor(options: MkvRecorderOptions) {
    this.#options = options;
  }

  /** Fragments on disk. */
  get fragments(): number {
    return this.#fragments;
  }

  /** The fragment that has begun and is not on disk; null: none. */
  get underWay(): { readonly timecodeMs: number; readonly fragmentNumber: number | null } | null {
    if (this.#incoming === null) return null;
    const { timecodeMs, number } = this.#incoming;
    return { timecodeMs, fragmentNumber: number };
  }

  /**
   * Takes the next bytes of the stream; resolves when what they completed is written.
   * @throws PutMediaError; nothing is taken after it, but `end` is called
   */
  async accept(bytes: Buffer, arrivalMs: number): Promise<void> {
    this.#silentBytes += bytes.length;
    await this.#takeAll(this.#reader.push(bytes), arrivalMs);
    if (this.#silentBytes > fragmentBytesMax) {
      throw new PutMediaError('MAX_FRAGMENT_SIZE_REACHED', `${this.#silentBytes} bytes of nothing`);
    }
  }

  /** The stream has ended as it should: what is open is complete. @throws PutMediaError */
  async finish(arrivalMs: number): Promise<void> {
    await this.#takeAll(this.#reader.finish(), arrivalMs);
  }

  /** Takes back what is not complete and ends the run. Resolves also when there is none. */
  async end(reason: string): Promise<void> {
    const [run, isOpen] = [this.#run, this.#incoming !== null];
    this.#run = null;
    this.#incoming = null;
    if (run === null) return;
    try {
      if (isOpen) await run.recording.discardFragment();
    } finally {
      await run.recording.end(reason);
    }
  }

  async #takeAll(events: Iterable<MkvEvent>, arrivalMs: number): Promise<void> {
    try {
      for (const event of events) {
        this.#silentBytes = 0;
        await this.#take(event, arrivalMs);
      }
    } catch (error) {
      throw asPutMediaError(error);
    }
  }

  async #take(event: MkvEvent, arrivalMs: number): Promise<void> {
    switch (event.type) {
      case 'info':
        this.#tickNs = event.tickNs;
        return;
      case 'tracks':
        // Tags that come before a cluster of this document are not those of one before it.
        this.#lastNumber = null;
        this.#tags = {};
        this.#setTracks(chooseTracks(event.tracks));
        return;
      case 'tags':
        await this.#takeTags(event.tags);
        return;
      case 'cluster':
        this.#begin(event.ticks, arrivalMs);
        return;
      case 'frame':
        await this.#takeFrame(event.frame, arrivalMs);
        return;
      case 'cluster-end':
        await this.#endFragment(arrivalMs);
    }
  }

  #setTracks(tracks: RecordedTracks): void {
    if (JSON.stringify(tracks) === JSON.stringify(this.#tracks)) return;
    const init = tagHevc(writeInit(mp4Tracks(tracks)));
    const video = readInit(init).tracks.find(({ kind }) => kind === 'video');
    const configuration = video === undefined ? null : readCodecConfiguration(init, video);
    if (configuration === null) throw new Mp4Error('unsupported', 'no video that can be recorded');
    this.#tracks = tracks;
    this.#init = init;
    this.#configuration = configuration;
    this.#isInitSet = false;
    this.#chunks = new ChunkMaker(tracks);
  }

  /** Tags before the first fragment are the first one's; later ones that of the one before them. */
  async #takeTags(tags: readonly MkvTag[]): Promise<void> {
    const kept = tags.filter(({ name }) => name !== '' && !name.startsWith(reservedTags));
    const all = {
      ...this.#tags,
      ...Object.fromEntries(kept.map(({ name, value }) => [name, value])),
    };
    const isTooLong = Object.entries(all).some(
      ([name, value]) =>
        Buffer.byteLength(name) > tagNameBytesMax || Buffer.byteLength(value) > tagValueBytesMax,
    );
    if (isTooLong || Object.keys(all).length > tagsMax) {
      throw new PutMediaError(
        'FRAGMENT_METADATA_LIMIT_REACHED',
        `a fragment has ${tagsMax} tags at most, of ${tagNameBytesMax} and ${tagValueBytesMax} bytes`,
      );
    }
    this.#tags = all;
    if (this.#lastNumber !== null && kept.length > 0) await this.#tagStored(this.#lastNumber, all);
  }

  /** A backlog may be older than what is kept: what is gone needs no tags. */
  async #tagStored(number: number, tags: Tags): Promise<void> {
    const { video, logger } = this.#options;
    try {
      await video.tagFragment(number, tags);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (error.code === 'invalid-argument') {
        throw new PutMediaError('FRAGMENT_METADATA_LIMIT_REACHED', error.message, { cause: error });
      }
      if (error.code !== 'not-found') throw error;
      logger.debug({ fragment: number }, 'Tags came for a fragment that is deleted.');
    }
  }

  #begin(ticks: number, arrivalMs: number): void {
    const timecodeUs = ticks * (this.#tickNs / 1000);
    this.#incoming = {
      ...{ timecodeUs, timecodeMs: Math.floor(timecodeUs / 1000), arrivalMs },
      ...{ bytes: 0, frames: 0, firstUs: null, changed: null, number: null },
    };
    // Those that came since are of the fragment before.
    if (this.#lastNumber !== null) this.#tags = {};
    if (this.#tracks === null) throw new MkvError('malformed', 'a cluster before any tracks');
    if (timecodeUs <= this.#lastTimecodeUs) {
      throw new PutMediaError(
        'FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS',
        `a cluster at ${timecodeUs} µs after one at ${this.#lastTimecodeUs} µs`,
      );
    }
    if (Math.max(timecodeUs, this.#wallOf(timecodeUs) ?? 0) > wallUsMax) {
      throw new PutMediaError('INVALID_PRODUCER_TIMESTAMP', `a cluster at ${timecodeUs} µs`);
    }
  }

  async #takeFrame(frame: MkvFrame, arrivalMs: number): Promise<void> {
    const [incoming, tracks, chunks] = [this.#incoming, this.#tracks, this.#chunks];
    if (incoming === null || tracks === null || chunks === null) return;
    const { video, audio } = tracks;
    if (frame.trackNumber !== video.number && frame.trackNumber !== audio?.number) {
      throw new PutMediaError('TRACK_NUMBER_MISMATCH', `a frame of track ${frame.trackNumber}`);
    }
    const tickUs = this.#tickNs / 1000;
    const shownUs = frame.ticks * tickUs;
    this.#checkSize(incoming, frame);
    if (frame.trackNumber === video.number) this.#checkPicture(incoming, frame, shownUs);
    const durationUs =
      frame.durationTicks === null ? null : Math.min(frame.durationTicks * tickUs, fragmentUsMax);
    for (const chunk of chunks.push(frame, shownUs, durationUs)) {
      await this.#append(incoming, chunk, arrivalMs);
    }
  }

  #checkSize(incoming: Incoming, frame: MkvFrame): void {
    incoming.bytes += frame.bytes.length;
    incoming.frames += 1;
    if (incoming.bytes > fragmentBytesMax || incoming.frames > framesMax) {
      throw new PutMediaError(
        'MAX_FRAGMENT_SIZE_REACHED',
        `a fragment of more than ${fragmentBytesMax} bytes or ${framesMax} frames`,
      );
    }
  }

  #checkPicture(incoming: Incoming, frame: MkvFrame, shownUs: number): void {
    const first = incoming.firstUs === null;
    incoming.firstUs ??= shownUs;
    if (Math.abs(shownUs - incoming.firstUs) > fragmentUsMax) {
      throw new PutMediaError('MAX_FRAGMENT_DURATION_REACHED', 'a fragment of more than 10 s');
    }
    if (!first) return;
    if (!frame.keyframe) {
      throw new MkvError(
        'unsupported',
        'a cluster does not begin with a keyframe; ffmpeg needs -cluster_time_limit and -cluster_size_limit',
      );
    }
    if (this.#lastMediaUs !== null && shownUs + leadUs < this.#lastMediaUs - gapWithinRunUsMax) {
      throw new PutMediaError(
        'FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS',
        'a fragment begins before the one before it ends',
      );
    }
    if (this.#configuration === null) return;
    incoming.changed = changedConfiguration(this.#configuration, frame.bytes, {
      ...{ start: 0, sizeBytes: frame.bytes.length, keyframe: true },
      ...{ durationTicks: 0, compositionTicks: 0 },
    });
  }

  async #append(incoming: Incoming, chunk: MadeChunk, arrivalMs: number): Promise<void> {
    if (incoming.number === null) {
      const run = await this.#runFor(chunk, arrivalMs);
      incoming.number = await this.#openFragment(run, incoming, chunk);
      this.#ack('BUFFERING', incoming, incoming.number);
    } else {
      this.#run?.timeline.observe(this.#reading(chunk, arrivalMs));
    }
    this.#lastMediaUs = chunk.endUs;
    const { bytes, durationUs, keyframe } = chunk;
    await this.#run?.recording.appendChunk({ bytes, durationUs, keyframe });
  }

  /** The run that goes on, or another one; its timeline has seen the chunk. */
  async #runFor(chunk: MadeChunk, arrivalMs: number): Promise<OpenRun> {
    const going = this.#run;
    if (going !== null) {
      const gapUs = chunk.decodeUs - (this.#lastMediaUs ?? chunk.decodeUs);
      const reason = this.#whyOver(going, gapUs);
      if (reason === null) {
        going.timeline.observe(this.#reading(chunk, arrivalMs));
        if (gapUs > 0) going.timeline.pause(Math.round(gapUs));
        return going;
      }
      this.#run = null;
      await going.recording.end(reason);
    }
    const { camera, video, clock } = this.#options;
    const timeline = new Timeline();
    timeline.observe(this.#reading(chunk, arrivalMs));
    const recording = await video.startRun(camera, timeline.estimate(instantOf(chunk)));
    timeline.bound(recording.free);
    const run = { recording, timeline, clockDifferenceMs: clock.nowMs() - clock.monotonicMs() };
    this.#run = run;
    this.#isInitSet = false;
    return run;
  }

  /** Why what comes next is of another run; null: it is of this one. */
  #whyOver({ recording, clockDifferenceMs }: OpenRun, gapUs: number): string | null {
    const { clock } = this.#options;
    const stepMs = clock.nowMs() - clock.monotonicMs() - clockDifferenceMs;
    if (Math.abs(stepMs) > clockStepMsMax) {
      return `the clock was set by ${Math.round(stepMs / 1000)} s`;
    }
    if (gapUs > gapWithinRunUsMax) return `nothing was recorded for ${(gapUs / 1e6).toFixed(1)} s`;
    const roomUs = (recording.free.untilUs ?? Infinity) - this.#lastEndUs;
    return roomUs < fragmentUsMax + gapWithinRunUsMax
      ? 'footage that is dated later begins here'
      : null;
  }

  async #openFragment(
    { recording, timeline }: OpenRun,
    incoming: Incoming,
    chunk: MadeChunk,
  ): Promise<number> {
    const { changed } = incoming;
    if (changed !== null && this.#init !== null) {
      this.#init = withConfiguration(this.#init, changed);
      this.#configuration = changed;
    }
    if ((changed !== null || !this.#isInitSet) && this.#init !== null) {
      await recording.setInit(this.#init, readInit(this.#init).tracks.map(describeTrack));
      this.#isInitSet = true;
    }
    const startUs = timeline.begin(instantOf(chunk));
    const wallUs = this.#wallOf(incoming.timecodeUs);
    return recording.openFragment({
      startUs,
      producerMs: wallUs === null ? null : Math.round(wallUs / 1000),
      serverMs: incoming.arrivalMs,
    });
  }

  async #endFragment(arrivalMs: number): Promise<void> {
    const [incoming, chunks] = [this.#incoming, this.#chunks];
    if (incoming === null || chunks === null) return;
    if (incoming.frames === 0) {
      this.#incoming = null;
      return;
    }
    if (incoming.firstUs === null) {
      throw new PutMediaError('FRAMES_MISSING_FOR_TRACK', 'a fragment without a picture');
    }
    for (const chunk of chunks.flush()) await this.#append(incoming, chunk, arrivalMs);
    const [run, { number }] = [this.#run, incoming];
    if (run === null || number === null) return;
    this.#ack('RECEIVED', incoming, number);
    const times = run.timeline.finish(this.#lastMediaUs ?? 0);
    await run.recording.closeFragment({ ...times, damaged: false, tags: this.#tags });
    this.#lastEndUs = times.startUs + times.durationUs;
    this.#lastNumber = number;
    this.#lastTimecodeUs = incoming.timecodeUs;
    this.#fragments += 1;
    this.#incoming = null;
    this.#ack('PERSISTED', incoming, number);
  }

  #ack(type: FragmentAck['type'], { timecodeMs }: Incoming, fragmentNumber: number): void {
    this.#options.onAck({ type, timecodeMs, fragmentNumber });
  }

  /** The producer's wall clock at a time of the stream; null: unknown. */
  #wallOf(streamUs: number): number | null {
    const { timecodes } = this.#options;
    if (timecodes.type === 'absolute') return streamUs;
    return timecodes.startMs === null ? null : timecodes.startMs * 1000 + streamUs;
  }

  /** What a chunk says about the clocks; a producer that is not believed says nothing. */
  #reading({ endUs }: MadeChunk, arrivalMs: number): Parameters<Timeline['observe']>[0] {
    const arrivalUs = arrivalMs * 1000;
    const wallUs = this.#wallOf(endUs - leadUs);
    const lateUs = wallUs === null ? null : arrivalUs - wallUs;
    if (wallUs === null || lateUs === null || lateUs < -aheadUsMax || lateUs > backlogUsMax) {
      return { arrivalUs, mediaEndUs: endUs, producer: null };
    }
    return { arrivalUs: wallUs, mediaEndUs: endUs, producer: { mediaUs: endUs, wallUs } };
  }
}

/** Exactly one track of video and, if any, one of audio. @throws PutMediaError, MkvError */
function chooseTracks(tracks: readonly MkvTrack[]): RecordedTracks {
  const [video, ...moreVideo] = tracks.filter(({ kind }) => kind === 'video');
  const [audio = null, ...moreAudio] = tracks.filter(({ kind }) => kind === 'audio');
  const others = tracks.filter(({ kind }) => kind === 'other');
  if (moreVideo.length + moreAudio.length + others.length > 0) {
    throw new PutMediaError(
      'MORE_THAN_ALLOWED_TRACKS_FOUND',
      `${tracks.length} tracks; one of video and one of audio are taken`,
    );
  }
  if (video === undefined) throw new MkvError('unsupported', 'no track of video');
  return { video, audio };
}

function instantOf({ decodeUs, shownUs }: MadeChunk): MediaInstant {
  return { decodeUs, presentationUs: shownUs };
}

function asPutMediaError(error: unknown): unknown {
  if (error instanceof MkvError || error instanceof Mp4Error) {
    const code = error.code === 'too-large' ? 'MAX_FRAGMENT_SIZE_REACHED' : 'INVALID_MKV_DATA';
    return new PutMediaError(code, error.message, { cause: error });
  }
  if (error instanceof StorageError) {
    const isGone = error.code === 'not-found' || error.code === 'closed';
    const code = isGone ? 'STREAM_NOT_ACTIVE' : 'ARCHIVAL_ERROR';
    return new PutMediaError(code, error.message, { cause: error });
  }
  return error;
}
