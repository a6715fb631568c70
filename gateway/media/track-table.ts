/**
 * One track of a progressive MP4 while it is put together: its sample tables (ISO/IEC 14496-12,
 * 8.6 and 8.7), filled sample by sample in the order of decoding.
 *
 * A progressive MP4 knows durations only: a sample lasts until the next one of its track, whatever
 * its fragment said. So a hole in the middle is a sample that lasts longer.
 */
import { box, fullBox, type Pieces, u16, u32, u64, WordTable } from './box-writer.ts';

export interface TableSample {
  /** On the track's clock; never before that of the sample before it. */
  readonly decodeTicks: number;
  readonly durationTicks: number;
  readonly compositionTicks: number;
  readonly sizeBytes: number;
  readonly keyframe: boolean;
}

export interface TrackShape {
  readonly trackId: number;
  readonly kind: 'video' | 'audio';
  readonly timescale: number;
  readonly width: number;
  readonly height: number;
}

/** What of a track is shown, and from when. */
export interface Edit {
  /** Movie time before anything of it is shown. */
  readonly emptyUs: number;
  /** Place in the track, in its ticks from its first sample. */
  readonly mediaTicks: number;
  readonly durationUs: number;
}

/** Ticks per second of the movie. */
export const movieTimescale = 1_000_000;

export class TrackTable {
  readonly shape: TrackShape;
  readonly #entries: Buffer[] = [];
  readonly #durations = new WordTable();
  readonly #compositions = new WordTable();
  readonly #sizes = new WordTable();
  readonly #keyframes = new WordTable();
  readonly #chunks = new WordTable();
  /** From the first byte of the media, as two words. */
  readonly #offsets = new WordTable();
  #samples = 0;
  #firstTicks = 0;
  #lastTicks = 0;
  #lastDurationTicks = 0;
  #sameDuration = { count: 0, ticks: 0 };
  #sameComposition = { count: 0, ticks: 0 };
  #hasCompositions = false;
  #lastChunk = { samples: 0, entry: 0 };

  constructor(shape: TrackShape) {
    this.shape = shape;
  }

  get samples(): number {
    return this.#samples;
  }

  /** Decode time of its first sample. */
  get firstTicks(): number {
    return this.#firstTicks;
  }

  /** Decode time of its last sample. */
  get lastTicks(): number {
    return this.#lastTicks;
  }

  /** Where its last sample ends, if nothing follows. */
  get endTicks(): number {
    return this.#lastTicks + this.#lastDurationTicks;
  }

  /** The number of a sample entry; equal ones are one. */
  entry(bytes: Buffer): number {
    const known = this.#entries.findIndex((entry) => entry.equals(bytes));
    return known === -1 ? this.#entries.push(Buffer.from(bytes)) : known + 1;
  }

  /**
   * Adds samples that lie one after the other.
   * @param offset of the first, from the beginning of the media
   * @param entry from `entry`
   */
  addChunk(offset: number, entry: number, samples: readonly TableSample[]): void {
    if (samples.length === 0) return;
    for (const sample of samples) this.#addSample(sample);
    this.#offsets.push(Math.floor(offset / 2 ** 32), offset % 2 ** 32);
    const { samples: count, entry: before } = this.#lastChunk;
    if (count !== samples.length || before !== entry) {
      this.#chunks.push(this.#offsets.words / 2, samples.length, entry);
      this.#lastChunk = { samples: samples.length, entry };
    }
  }

  /** The `trak`, its chunks addressed from the beginning of the media. To be called once, at last. */
  box(edit: Edit): Pieces {
    this.#putDuration(this.#lastDurationTicks);
    this.#flushDurations();
    this.#flushCompositions();
    const { trackId, kind, timescale, width, height } = this.shape;
    const isVideo = kind === 'video';
    const volume = isVideo ? 0 : 0x100;
    const size = u32(width * 0x1_0000, height * 0x1_0000);
    const shownUs = edit.emptyUs + edit.durationUs;
    const shown = [u64(0, 0), u32(trackId, 0), u64(shownUs), u32(0, 0), u16(0, 0, volume, 0)];
    const mediaTicks = this.endTicks - this.#firstTicks;
    const mediaHeader = [u64(0, 0), u32(timescale), u64(mediaTicks), u16(0x55c4, 0)];
    return box(
      'trak',
      fullBox('tkhd', 1, 3, shown, matrix, size),
      editBox(edit),
      box(
        'mdia',
        fullBox('mdhd', 1, 0, mediaHeader),
        handler(kind),
        box(
          'minf',
          isVideo ? fullBox('vmhd', 0, 1, u32(0, 0)) : fullBox('smhd', 0, 0, u32(0)),
          box('dinf', fullBox('dref', 0, 0, u32(1), fullBox('url ', 0, 1))),
          this.#tables(),
        ),
      ),
    );
  }

  /** Says in the box that was made where in the file the media begins. */
  placeMedia(mediaAt: number): void {
    const offsets = this.#offsets.bytes;
    for (let at = 0; at < offsets.length; at += 8) {
      const offset = offsets.readUInt32BE(at) * 2 ** 32 + offsets.readUInt32BE(at + 4) + mediaAt;
      offsets.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
      offsets.writeUInt32BE(offset % 2 ** 32, at + 4);
    }
  }

  #addSample(sample: TableSample): void {
    if (this.#samples === 0) this.#firstTicks = sample.decodeTicks;
    else this.#putDuration(sample.decodeTicks - this.#lastTicks);
    this.#samples += 1;
    this.#lastTicks = sample.decodeTicks;
    this.#lastDurationTicks = sample.durationTicks;
    this.#sizes.push(sample.sizeBytes);
    if (sample.keyframe) this.#keyframes.push(this.#samples);
    this.#putComposition(sample.compositionTicks);
  }

  #putDuration(ticks: number): void {
    if (ticks !== this.#sameDuration.ticks) this.#flushDurations();
    this.#sameDuration = { count: this.#sameDuration.count + 1, ticks };
  }

  #flushDurations(): void {
    const { count, ticks } = this.#sameDuration;
    if (count > 0) this.#durations.push(count, ticks);
    this.#sameDuration = { count: 0, ticks: 0 };
  }

  #putComposition(ticks: number): void {
    if (ticks !== 0) this.#hasCompositions = true;
    if (ticks !== this.#sameComposition.ticks) this.#flushCompositions();
    this.#sameComposition = { count: this.#sameComposition.count + 1, ticks };
  }

  #flushCompositions(): void {
    const { count, ticks } = this.#sameComposition;
    if (count > 0) this.#compositions.push(count, ticks);
    this.#sameComposition = { count: 0, ticks: 0 };
  }

  #tables(): Pieces {
    const counted = (type: string, version: number, table: WordTable, wordsEach: number): Pieces =>
      fullBox(type, version, 0, u32(table.words / wordsEach), table.bytes);
    const isVideo = this.shape.kind === 'video';
    return box(
      'stbl',
      fullBox('stsd', 0, 0, u32(this.#entries.length), ...this.#entries),
      counted('stts', 0, this.#durations, 2),
      // Version 1: they may be negative.
      this.#hasCompositions ? counted('ctts', 1, this.#compositions, 2) : [],
      isVideo ? counted('stss', 0, this.#keyframes, 1) : [],
      counted('stsc', 0, this.#chunks, 3),
      fullBox('stsz', 0, 0, u32(0, this.#samples), this.#sizes.bytes),
      counted('co64', 0, this.#offsets, 2),
    );
  }
}

/** Nothing is turned or scaled. */
export const matrix = u32(0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000);
const normalRate = u16(1, 0);

function editBox({ emptyUs, mediaTicks, durationUs }: Edit): Pieces {
  const nothing = Buffer.alloc(8, 0xff);
  const empty = emptyUs > 0 ? [u64(emptyUs), nothing, normalRate] : [];
  const entries = emptyUs > 0 ? 2 : 1;
  return box(
    'edts',
    fullBox('elst', 1, 0, u32(entries), empty, u64(durationUs, mediaTicks), normalRate),
  );
}

function handler(kind: 'video' | 'audio'): Pieces {
  const type = Buffer.from(kind === 'video' ? 'vide' : 'soun', 'latin1');
  return fullBox('hdlr', 0, 0, u32(0), type, Buffer.alloc(13));
}
