/**
 * Puts the frames of a Matroska stream into chunks of at most 200 ms, or of one picture where that
 * lasts longer, with the sound that came with them. The times in them begin 10 s after those of the
 * stream, so that what is decoded before it is shown begins after 0.
 */
import { DecodeOrder, type OrderedFrame } from './decode-order.ts';
import type { MkvFrame } from './blocks.ts';
import type { MkvTrack } from './tracks.ts';
import { type Mp4Run, type Mp4Sample, type Mp4Track, writeChunk } from './mp4-writer.ts';

export interface MadeChunk {
  readonly bytes: Buffer;
  readonly keyframe: boolean;
  /** Of its pictures, from the first one's decode time to the end of the last. */
  readonly durationUs: number;
  /** When its first picture is decoded and shown; media time, as in the chunk. */
  readonly decodeUs: number;
  readonly shownUs: number;
  /** When its last picture ends, by its decode time. */
  readonly endUs: number;
}

export interface RecordedTracks {
  readonly video: MkvTrack;
  readonly audio: MkvTrack | null;
}

/** Media time in chunks minus that of the stream. */
export const leadUs = 10_000_000;

const videoTimescale = 90_000;
const opusRate = 48_000;
const chunkTicksMax = videoTimescale / 5;
const aacFrameSamples = 1_024;
/** A 25th of a second: a fragment of one picture has nothing to go by. */
const defaultTicks = videoTimescale / 25;
const lastDurationTicksMax = videoTimescale * 2;
/** Times are rounded to milliseconds: sound that is off by no more goes on without a gap. */
const audioSnapSeconds = 0.002;

/** The tracks as they are in the init and in chunks. */
export function mp4Tracks({ video, audio }: RecordedTracks): readonly Mp4Track[] {
  const tracks: Mp4Track[] = [{ trackId: 1, timescale: videoTimescale, from: video }];
  if (audio !== null) tracks.push({ trackId: 2, timescale: audioTimescale(audio), from: audio });
  return tracks;
}

function audioTimescale({ codecId, sampleRate }: MkvTrack): number {
  return codecId === 'A_OPUS' ? opusRate : sampleRate;
}

export class ChunkMaker {
  readonly #tracks: RecordedTracks;
  readonly #order = new DecodeOrder(defaultTicks, lastDurationTicksMax);
  readonly #sound: Sound | null;
  #sequence = 0;
  #pictures: OrderedFrame[] = [];

  constructor(tracks: RecordedTracks) {
    this.#tracks = tracks;
    this.#sound = tracks.audio === null ? null : new Sound(tracks.audio);
  }

  /**
   * Takes the next frame of the video or audio track and yields what it completes.
   * @param shownUs on the stream's own clock; of the first frame of a laced block
   * @param durationUs null: not said
   */
  *push(frame: MkvFrame, shownUs: number, durationUs: number | null): Generator<MadeChunk, void> {
    const bytes = Buffer.from(frame.bytes);
    const mediaUs = shownUs + leadUs;
    if (frame.trackNumber !== this.#tracks.video.number) {
      const delayUs = (this.#tracks.audio?.delayNs ?? 0) / 1000;
      this.#sound?.push(bytes, mediaUs - delayUs, frame.index, durationUs);
      return;
    }
    const saidUs = durationUs ?? nsToUs(this.#tracks.video.frameNs);
    const shown = {
      shownTicks: ticksOf(mediaUs + frame.index * (saidUs ?? 0)),
      durationTicks: saidUs === null ? null : ticksOf(saidUs),
      keyframe: frame.keyframe,
      bytes,
    };
    for (const picture of this.#order.push(shown)) yield* this.#add(picture);
  }

  /** The fragment ends: yields what is left of it. */
  *flush(): Generator<MadeChunk, void> {
    for (const picture of this.#order.flush()) yield* this.#add(picture);
    this.#sound?.flush();
    if (this.#pictures.length > 0) yield this.#make();
  }

  *#add(picture: OrderedFrame): Generator<MadeChunk, void> {
    const [first] = this.#pictures;
    const endTicks = picture.decodeTicks + picture.durationTicks;
    if (first !== undefined && endTicks - first.decodeTicks > chunkTicksMax) yield this.#make();
    this.#pictures.push(picture);
  }

  #make(): MadeChunk {
    const pictures = this.#pictures;
    this.#pictures = [];
    const [first, last] = [pictures[0], pictures.at(-1)];
    if (first === undefined || last === undefined)
      throw new Error('a chunk has a picture at least');
    const samples = pictures.map(({ frame, decodeTicks, durationTicks }): Mp4Sample => ({
      ...{ bytes: frame.bytes, keyframe: frame.keyframe, durationTicks },
      compositionTicks: frame.shownTicks - decodeTicks,
    }));
    const runs: Mp4Run[] = [{ trackId: 1, decodeTicks: first.decodeTicks, samples }];
    const sound = this.#sound?.take() ?? null;
    if (sound !== null) runs.push(sound);
    this.#sequence += 1;
    const endTicks = last.decodeTicks + last.durationTicks;
    return {
      bytes: writeChunk(this.#sequence, runs),
      keyframe: first.frame.keyframe,
      durationUs: Math.round(usOf(endTicks - first.decodeTicks)),
      decodeUs: usOf(first.decodeTicks),
      shownUs: usOf(first.frame.shownTicks),
      endUs: usOf(endTicks),
    };
  }
}

interface SoundFrame {
  readonly bytes: Buffer;
  readonly ticks: number;
  /** null: until the next one. */
  readonly lastsTicks: number | null;
}

/** The frames of an audio track, one after the other: each lasts until the next begins. */
class Sound {
  readonly #timescale: number;
  readonly #codecId: string;
  readonly #saidTicks: number | null;
  #beginTicks: number | null = null;
  #nextTicks = 0;
  #samples: Mp4Sample[] = [];
  /** The last frame, until it is known when the next one begins. */
  #waiting: SoundFrame | null = null;
  #usualTicks: number;

  constructor(track: MkvTrack) {
    this.#timescale = audioTimescale(track);
    this.#codecId = track.codecId;
    const frameUs = nsToUs(track.frameNs);
    this.#saidTicks = frameUs === null ? null : this.#ticks(frameUs);
    this.#usualTicks = Math.round(this.#timescale / 50);
  }

  push(bytes: Buffer, mediaUs: number, index: number, durationUs: number | null): void {
    const said = durationUs === null ? this.#saidTicks : this.#ticks(durationUs);
    const lastsTicks = this.#codecId === 'A_AAC' ? aacFrameSamples : (opusSamples(bytes) ?? said);
    const toldTicks = this.#ticks(mediaUs) + index * (lastsTicks ?? this.#usualTicks);
    const expectedTicks = this.#waiting === null ? this.#nextTicks : endOf(this.#waiting);
    const isNext = Math.abs(toldTicks - expectedTicks) <= audioSnapSeconds * this.#timescale;
    const ticks = Math.max(isNext ? expectedTicks : toldTicks, this.#nextTicks);
    this.#settle(ticks);
    this.#waiting = { bytes, ticks: Math.max(ticks, this.#nextTicks), lastsTicks };
  }

  flush(): void {
    if (this.#waiting === null) return;
    const { ticks, lastsTicks } = this.#waiting;
    this.#settle(ticks + (lastsTicks ?? this.#usualTicks));
  }

  /** What is settled; null: nothing. */
  take(): Mp4Run | null {
    const [decodeTicks, samples] = [this.#beginTicks, this.#samples];
    this.#samples = [];
    this.#beginTicks = null;
    return decodeTicks === null ? null : { trackId: 2, decodeTicks, samples };
  }

  /** The frame that waits ends where the next one begins. */
  #settle(untilTicks: number): void {
    const frame = this.#waiting;
    this.#waiting = null;
    if (frame === null) return;
    const durationTicks = Math.max(1, untilTicks - frame.ticks);
    this.#beginTicks ??= frame.ticks;
    this.#samples.push({ bytes: frame.bytes, durationTicks, compositionTicks: 0, keyframe: true });
    this.#nextTicks = frame.ticks + durationTicks;
    this.#usualTicks = durationTicks;
  }

  #ticks(us: number): number {
    return Math.round((us * this.#timescale) / 1e6);
  }
}

/** A frame that says nothing of its length ends nowhere. */
function endOf({ ticks, lastsTicks }: SoundFrame): number {
  return lastsTicks === null ? -Infinity : ticks + lastsTicks;
}

/** Samples of an Opus packet, at 48 kHz (RFC 6716, 3.1); null for one that has none. */
function opusSamples(packet: Buffer): number | null {
  const [first, second = 0] = packet;
  if (first === undefined) return null;
  const configuration = first >> 3;
  const frameSamples =
    configuration < 12
      ? ([480, 960, 1920, 2880][configuration % 4] ?? 0)
      : configuration < 16
        ? ([480, 960][configuration % 2] ?? 0)
        : ([120, 240, 480, 960][configuration % 4] ?? 0);
  const code = first & 3;
  return frameSamples * (code === 0 ? 1 : code === 3 ? Math.max(1, second & 0x3f) : 2);
}

function ticksOf(us: number): number {
  return Math.round((us * videoTimescale) / 1e6);
}

function usOf(ticks: number): number {
  return (ticks / videoTimescale) * 1e6;
}

function nsToUs(ns: number | null): number | null {
  return ns === null ? null : ns / 1000;
}
