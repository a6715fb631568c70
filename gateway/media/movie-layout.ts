/**
 * Puts the samples of fragments in a row: where they lie in the movie, and when they are shown.
 *
 * The movie's clock begins with the first fragment, and goes with the camera's timeline within a
 * piece. Between two fragments the timeline may have been slewed by some hundred microseconds: as
 * long as that adds up to less than 2 ms, samples follow each other as if it had not, so that their
 * durations stay what they were.
 */
import type { Fragment } from '../../storage/model.ts';
import { continues } from '../api/hls/playlist.ts';
import { isoFromUs } from '../api/rest/times.ts';
import { box, bytesOf, fullBox, type Pieces, u32, u64 } from './box-writer.ts';
import type { MovieInit, MovieTrack } from './movie-inits.ts';
import { type FragmentSamples, timesOf, type TimedSamples } from './movie-samples.ts';
import { type Edit, matrix, movieTimescale, type TableSample, TrackTable } from './track-table.ts';

/** A stretch of the camera's timeline in the movie. */
export interface MoviePiece {
  readonly startUs: number;
  readonly endUs: number;
  /** Where in the movie it begins. */
  readonly atUs: number;
}

/** What of a fragment is in the movie. */
export interface MoviePart {
  readonly fragment: Fragment;
  /** From the first byte of the media. */
  readonly at: number;
  readonly bytes: number;
  /** What comes before its own bytes. */
  readonly lead: Buffer;
  /** Ranges of its own bytes. */
  readonly slices: readonly (readonly [from: number, to: number])[];
}

interface Clip {
  readonly fromUs?: number;
  readonly toUs?: number;
}

interface OpenPiece {
  readonly startUs: number;
  /** On the movie's clock. */
  readonly clockUs: number;
  endUs: number;
}

/** A fragment in its place. */
interface Placed {
  readonly samples: FragmentSamples;
  /** Its start on the movie's clock. */
  readonly clockUs: number;
  readonly part: PartBytes;
}

const snapS = 0.002;
/** Sound from so long before its fragment's picture belongs to none of it (silence.ts). */
const staleUs = 500_000;
/** What a chapter list has room for. */
const chaptersMax = 255;

export class MovieLayout {
  readonly parts: MoviePart[] = [];
  readonly #fromUs: number;
  readonly #toUs: number;
  readonly #video: TrackTable;
  readonly #audio: TrackTable | null;
  readonly #pieces: OpenPiece[] = [];
  #mediaBytes = 0;
  #before: Fragment | null = null;
  /** From decoding to showing, of the first fragment, in ticks of the video. */
  #delayTicks = 0;
  /** What is shown, on the movie's clock. */
  #beginUs = 0;
  #endUs = 0;

  /** @param inits of all the fragments; the first one gives the tracks their clocks */
  constructor(inits: Iterable<MovieInit>, { fromUs = -Infinity, toUs = Infinity }: Clip) {
    const all = [...inits];
    const [video] = all.map((init) => init.video);
    const [audio] = all.flatMap((init) => (init.audio === null ? [] : [init.audio]));
    if (video === undefined) throw new Error('a movie without pictures');
    this.#video = tableOf('video', 1, video);
    this.#audio = audio === undefined ? null : tableOf('audio', 2, audio);
    this.#fromUs = fromUs;
    this.#toUs = toUs;
  }

  get mediaBytes(): number {
    return this.#mediaBytes;
  }

  /** Adds the next fragment. */
  add(fragment: Fragment, samples: FragmentSamples): void {
    const isFirst = this.parts.length === 0;
    const begin = samples.pictureAt(isFirst ? this.#fromUs - fragment.startUs : 0);
    const chunks = samples.chunks.slice(
      isFirst ? begin.chunk : 0,
      samples.chunksBefore(this.#toUs - fragment.startUs),
    );
    if (!chunks.some(({ video }) => video !== null)) return;

    const clockUs = this.#place(fragment);
    if (isFirst) {
      const { timescale } = samples.init.video;
      const delayTicks = samples.firstShownTicks - samples.firstDecodeTicks;
      this.#delayTicks = scaled(delayTicks, timescale, this.#video);
      this.#beginUs = clockUs + ((begin.shownTicks - samples.firstShownTicks) / timescale) * 1e6;
    }
    const part = new PartBytes(this.#mediaBytes, samples.init.parameterSets);
    const placed = { samples, clockUs, part };
    const videoShift = this.#videoShift(placed);
    const audioShift = this.#audioShift(placed);
    for (const { video, audio } of chunks) {
      if (video !== null) this.#addVideo(placed, video, videoShift);
      if (audio !== null) this.#addAudio(placed, audio, audioShift);
    }
    this.#mediaBytes += part.bytes;
    this.parts.push({ fragment, ...part.finish() });
    const endUs = Math.min(fragment.startUs + fragment.durationUs, this.#toUs);
    const piece = this.#pieces.at(-1);
    if (piece !== undefined) piece.endUs = endUs;
    if (endUs === this.#toUs)
      this.#endUs = Math.min(this.#endUs, clockUs + endUs - fragment.startUs);
  }

  /** The file up to its media. To be called once, when all is added. */
  finish(): { header: Buffer; pieces: readonly MoviePiece[]; durationUs: number } {
    const durationUs = Math.max(1, Math.round(this.#endUs - this.#beginUs));
    const pieces = this.#pieces.map(({ startUs, clockUs, endUs }) => ({
      startUs: Math.round(startUs + Math.max(0, this.#beginUs - clockUs)),
      endUs: Math.round(endUs),
      atUs: Math.round(Math.max(0, clockUs - this.#beginUs)),
    }));
    const boxes = [
      ...box('ftyp', ascii('isom'), u32(512), ascii('isomiso2mp41')),
      ...this.#movieBox(pieces, durationUs),
    ];
    const mediaHeader = [u32(1), ascii('mdat'), u64(this.#mediaBytes + 16)];
    const mediaAt = bytesOf(boxes) + bytesOf(mediaHeader);
    this.#video.placeMedia(mediaAt);
    this.#audio?.placeMedia(mediaAt);
    return { header: Buffer.concat([...boxes, ...mediaHeader]), pieces, durationUs };
  }

  /** Where the fragment's start is on the movie's clock. */
  #place(fragment: Fragment): number {
    const before = this.#before;
    this.#before = fragment;
    const last = this.#pieces.at(-1);
    if (last !== undefined && before !== null && isSamePiece(before, fragment)) {
      return last.clockUs + fragment.startUs - last.startUs;
    }
    const clockUs = last === undefined ? 0 : last.clockUs + last.endUs - last.startUs;
    this.#pieces.push({ startUs: fragment.startUs, clockUs, endUs: fragment.startUs });
    return clockUs;
  }

  /** What is to be added to decode times, in the movie's ticks, to put the fragment in its place. */
  #videoShift({ samples, clockUs }: Placed): number {
    const { timescale } = samples.init.video;
    const shownTicks = ticksOf(clockUs, this.#video) + this.#delayTicks;
    const shift = shownTicks - scaled(samples.firstShownTicks, timescale, this.#video);
    const first = scaled(samples.firstDecodeTicks, timescale, this.#video);
    return snapped(this.#video, shift, first);
  }

  /** Sound keeps to the pictures that it was recorded with, not to when they are decoded. */
  #audioShift({ samples, clockUs }: Placed): number {
    const { video, audio } = samples.init;
    const first = samples.chunks.find((chunk) => chunk.audio !== null)?.audio;
    if (this.#audio === null || audio === null || first == null) return 0;
    const shownUs = (samples.firstShownTicks / video.timescale) * 1e6;
    const shift = ticksOf(clockUs - shownUs, this.#audio);
    return snapped(this.#audio, shift, scaled(first.decodeTicks, audio.timescale, this.#audio));
  }

  #addVideo({ samples, part }: Placed, timed: TimedSamples, shift: number): void {
    const { video } = samples.init;
    const table = this.#video;
    const run = new ChunkWriter(table, table.entry(video.entry), part);
    for (const [ticks, sample] of timesOf(timed)) {
      const decodeTicks = Math.max(scaled(ticks, video.timescale, table) + shift, run.notBefore);
      const durationTicks = scaled(sample.durationTicks, video.timescale, table);
      const compositionTicks = scaled(sample.compositionTicks, video.timescale, table);
      const leadBytes = part.lead();
      const sizeBytes = leadBytes + sample.sizeBytes;
      const { keyframe } = sample;
      run.add(sample.start, leadBytes, {
        ...{ decodeTicks, durationTicks, compositionTicks, sizeBytes, keyframe },
      });
      const shownTicks = decodeTicks + compositionTicks + durationTicks - this.#delayTicks;
      this.#endUs = Math.max(this.#endUs, usOf(shownTicks, table));
    }
    run.end();
  }

  #addAudio({ samples, part, clockUs }: Placed, timed: TimedSamples, shift: number): void {
    const { audio } = samples.init;
    const table = this.#audio;
    if (audio === null || table === null) return;
    const run = new ChunkWriter(table, table.entry(audio.entry), part);
    for (const [ticks, sample] of timesOf(timed)) {
      const decodeTicks = scaled(ticks, audio.timescale, table) + shift;
      const durationTicks = scaled(sample.durationTicks, audio.timescale, table);
      const { sizeBytes } = sample;
      const startUs = usOf(decodeTicks, table);
      // One frame more than is heard: the decoder begins with it.
      const isHeard = startUs + 2 * usOf(durationTicks, table) > this.#beginUs;
      const isStale = startUs < clockUs - staleUs || decodeTicks < run.endTicks - durationTicks / 2;
      if (!isHeard || isStale) continue;
      run.add(sample.start, 0, {
        ...{ durationTicks, sizeBytes, compositionTicks: 0, keyframe: true },
        decodeTicks: Math.max(decodeTicks, run.notBefore),
      });
    }
    run.end();
  }

  #movieBox(pieces: readonly MoviePiece[], durationUs: number): Pieces {
    const begin = ticksOf(this.#beginUs, this.#video) + this.#delayTicks;
    const video = { emptyUs: 0, mediaTicks: begin - this.#video.firstTicks, durationUs };
    const audio = this.#audio === null ? null : this.#audioEdit(this.#audio, durationUs);
    const header = [
      u64(0, 0),
      u32(movieTimescale),
      u64(durationUs),
      u32(0x1_0000, 0x100_0000, 0, 0),
    ];
    return box(
      'moov',
      fullBox('mvhd', 1, 0, header, matrix, Buffer.alloc(24), u32(3)),
      this.#video.box(video),
      audio === null || this.#audio === null ? [] : this.#audio.box(audio),
      box('udta', chapters(pieces)),
    );
  }

  /** null: there is no sound. */
  #audioEdit(table: TrackTable, durationUs: number): Edit | null {
    const begin = ticksOf(this.#beginUs, table) - table.firstTicks;
    const heardUs = usOf(table.endTicks - table.firstTicks - Math.max(0, begin), table);
    if (table.samples === 0 || heardUs <= 0) return null;
    const emptyUs = Math.round(usOf(Math.max(0, -begin), table));
    if (emptyUs >= durationUs) return null;
    const shownUs = Math.min(Math.round(heardUs), durationUs - emptyUs);
    return { emptyUs, mediaTicks: Math.max(0, begin), durationUs: shownUs };
  }
}

/** Which bytes of a fragment go into the movie, one after the other. */
class PartBytes {
  readonly #at: number;
  readonly #lead: Buffer;
  readonly #slices: [from: number, to: number][] = [];
  #led = false;
  #bytes = 0;

  constructor(at: number, lead: Buffer) {
    this.#at = at;
    this.#lead = lead;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The first time, the bytes that come before the next that is taken; then 0. */
  lead(): number {
    const bytes = this.#led ? 0 : this.#lead.length;
    this.#led = true;
    return bytes;
  }

  /** @returns where they are in the media, the lead included */
  take(from: number, to: number, leadBytes: number): number {
    const at = this.#at + this.#bytes;
    this.#bytes += leadBytes + to - from;
    const last = this.#slices.at(-1);
    if (last?.[1] === from) last[1] = to;
    else this.#slices.push([from, to]);
    return at;
  }

  finish(): Omit<MoviePart, 'fragment'> {
    return { at: this.#at, bytes: this.#bytes, lead: this.#lead, slices: this.#slices };
  }
}

/** Gathers samples that lie one after the other. */
class ChunkWriter {
  readonly #table: TrackTable;
  readonly #entry: number;
  readonly #part: PartBytes;
  #samples: TableSample[] = [];
  #from = 0;
  #to = 0;
  #leadBytes = 0;
  #lastTicks: number;
  #endTicks: number;

  constructor(table: TrackTable, entry: number, part: PartBytes) {
    this.#table = table;
    this.#entry = entry;
    this.#part = part;
    this.#lastTicks = table.samples === 0 ? -Infinity : table.lastTicks;
    this.#endTicks = table.samples === 0 ? -Infinity : table.endTicks;
  }

  /** The earliest that another sample may be decoded. */
  get notBefore(): number {
    return this.#lastTicks + 1;
  }

  /** Where the sample before ends by what its fragment says. */
  get endTicks(): number {
    return this.#endTicks;
  }

  add(start: number, leadBytes: number, sample: TableSample): void {
    if (start !== this.#to) this.end();
    if (this.#samples.length === 0) {
      this.#from = start;
      this.#leadBytes = leadBytes;
    }
    this.#samples.push(sample);
    this.#to = start + sample.sizeBytes - leadBytes;
    this.#lastTicks = sample.decodeTicks;
    this.#endTicks = sample.decodeTicks + sample.durationTicks;
  }

  end(): void {
    if (this.#samples.length === 0) return;
    const at = this.#part.take(this.#from, this.#to, this.#leadBytes);
    this.#table.addChunk(at, this.#entry, this.#samples);
    this.#samples = [];
  }
}

function tableOf(kind: 'video' | 'audio', trackId: number, track: MovieTrack): TrackTable {
  const { timescale, width, height } = track;
  return new TrackTable({ trackId, kind, timescale, width, height });
}

/** A hole, or another run, begins another piece; another init alone does not. */
function isSamePiece(before: Fragment, after: Fragment): boolean {
  return continues(before, { ...after, initId: before.initId });
}

/** Ticks of another clock in those of the movie's track. */
function scaled(ticks: number, timescale: number, { shape }: TrackTable): number {
  return timescale === shape.timescale ? ticks : Math.round((ticks * shape.timescale) / timescale);
}

function ticksOf(timeUs: number, { shape }: TrackTable): number {
  return Math.round((timeUs / 1e6) * shape.timescale);
}

function usOf(ticks: number, { shape }: TrackTable): number {
  return (ticks / shape.timescale) * 1e6;
}

/** The shift, or one close by with which the first sample follows the last one. */
function snapped(table: TrackTable, shift: number, firstTicks: number): number {
  if (table.samples === 0) return shift;
  const fitting = table.endTicks - firstTicks;
  return Math.abs(fitting - shift) <= snapS * table.shape.timescale ? fitting : shift;
}

/** Nero's chapter list, which ffmpeg and VLC show: when each piece was recorded. */
function chapters(pieces: readonly MoviePiece[]): Pieces {
  const listed = pieces.slice(0, chaptersMax).flatMap(({ atUs, startUs }) => {
    const title = ascii(isoFromUs(startUs));
    return [u64(10 * atUs), Buffer.from([title.length]), title];
  });
  const count = Math.min(pieces.length, chaptersMax);
  return fullBox('chpl', 1, 0, u32(0), Buffer.from([count]), listed);
}

function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
