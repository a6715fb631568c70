/**
 * Reads fragmented MP4 off a byte stream as what it means: first an init (`ftyp`, `moov`), then
 * chunks (`moof` + `mdat`, with the `prft` that came before them).
 *
 * Boxes that carry nothing for a recording (free, sidx, styp, mfra …) are passed over. HEVC is
 * handed on as `hvc1`, whichever way it was tagged: Apple's players refuse `hev1`.
 */
import {
  type InitSegment,
  Mp4Error,
  type MovieFragment,
  readInit,
  readMovieFragments,
  type SampleDefaults,
  sampleDefaults,
  type TrackFragment,
} from '../../storage/video/boxes.ts';
import { BoxReader, type StreamBox } from './box-reader.ts';
import { FirstTimes } from './first-times.ts';
import { tagHevc } from './parameter-sets.ts';

/** The wall-clock time of one instant of the media (`prft`, ISO/IEC 14496-12, 8.16.5). */
export interface ProducerTime {
  readonly trackId: number;
  /** Presentation time in the track's ticks. */
  readonly mediaTicks: number;
  readonly wallUs: number;
}

export interface MediaChunk {
  /** moof and mdat: as they lie here, until the next part is asked for. */
  readonly bytes: Buffer;
  readonly movie: MovieFragment;
  /** The part of the video track; null in a chunk that has audio alone. */
  readonly video: TrackFragment | null;
  /** Begins with a keyframe of the video track. */
  readonly keyframe: boolean;
  readonly producerTime: ProducerTime | null;
}

export type StreamPart =
  | { readonly type: 'init'; readonly bytes: Buffer; readonly init: InitSegment }
  | { readonly type: 'chunk'; readonly chunk: MediaChunk };

/** Seconds from 1900 (NTP, RFC 5905) to 1970. */
const ntpToUnixSeconds = 2_208_988_800;

const initialCapacity = 64 * 1024;
/** What is kept allocated between chunks. */
const idleCapacity = 1024 * 1024;

export class ChunkReader {
  readonly #firstPictureSeconds: () => readonly number[];
  readonly #boxes = new BoxReader();
  #fileType: Buffer | null = null;
  #defaults: ReadonlyMap<number, SampleDefaults> | null = null;
  #videoTrackId: number | null = null;
  #firstTimes: FirstTimes | null = null;
  #producerTime: ProducerTime | null = null;
  /** Where chunks are put together, one in place of the other: garbage of this size is dear. */
  #chunk: Buffer = Buffer.allocUnsafe(initialCapacity);
  /** Of the moof that waits for its mdat; 0: none does. */
  #moofBytes = 0;

  /** @param firstPictureSeconds as in `SessionOptions` */
  constructor(firstPictureSeconds: () => readonly number[] = () => []) {
    this.#firstPictureSeconds = firstPictureSeconds;
  }

  /** Bytes held that are not yet a whole box. */
  get pendingBytes(): number {
    return this.#boxes.pendingBytes;
  }

  /**
   * Iterate to the end before the next piece.
   * @throws Mp4Error; the stream can't be read on after it
   */
  *push(piece: Buffer): Generator<StreamPart, void> {
    for (const box of this.#boxes.push(piece)) {
      const part = this.#take(box);
      if (part !== null) yield part;
    }
  }

  #take({ type, bytes }: StreamBox): StreamPart | null {
    if (this.#moofBytes > 0 && type !== 'mdat') {
      throw new Mp4Error('malformed', 'moof without mdat');
    }
    switch (type) {
      case 'ftyp':
        this.#fileType = Buffer.from(bytes);
        return null;
      case 'moov':
        return this.#takeMovie(bytes);
      case 'prft':
        this.#producerTime = readProducerTime(bytes);
        return null;
      case 'moof':
        this.#moofBytes = this.#put(bytes, 0);
        return null;
      case 'mdat':
        return this.#takeMedia(bytes);
      default:
        return null;
    }
  }

  #takeMovie(movie: Buffer): StreamPart {
    if (this.#fileType === null) throw new Mp4Error('malformed', 'moov before ftyp');
    if (this.#defaults !== null) throw new Mp4Error('malformed', 'a second moov');
    const bytes = tagHevc(Buffer.concat([this.#fileType, movie]));
    const init = readInit(bytes);
    this.#defaults = sampleDefaults(init);
    const video = init.tracks.find((track) => track.kind === 'video');
    this.#videoTrackId = video?.trackId ?? null;
    this.#firstTimes =
      video === undefined ? null : new FirstTimes(video, this.#firstPictureSeconds);
    return { type: 'init', bytes, init };
  }

  #takeMedia(mdat: Buffer): StreamPart {
    if (this.#moofBytes === 0) throw new Mp4Error('malformed', 'mdat without moof');
    if (this.#defaults === null) throw new Mp4Error('malformed', 'media before moov');
    const end = this.#put(mdat, this.#moofBytes);
    const bytes = this.#chunk.subarray(0, end);
    const [found] = readMovieFragments(bytes, this.#defaults);
    if (found === undefined) throw new Mp4Error('malformed', 'an empty fragment');
    const movie = this.#firstTimes?.mend(bytes, found) ?? found;
    const known = this.#defaults;
    if (movie.tracks.some((track) => !known.has(track.trackId))) {
      throw new Mp4Error('malformed', 'a fragment of a track that the moov does not have');
    }
    const video =
      movie.tracks.find(
        (track) => track.trackId === this.#videoTrackId && track.samples.length > 0,
      ) ?? null;
    const chunk: MediaChunk = {
      bytes,
      movie,
      video,
      keyframe: video?.samples[0]?.keyframe === true,
      producerTime: this.#movedProducerTime(),
    };
    this.#moofBytes = 0;
    this.#producerTime = null;
    return { type: 'chunk', chunk };
  }

  /** Copies into the chunk at an offset; answers where that ends. */
  #put(bytes: Buffer, at: number): number {
    const end = at + bytes.length;
    const { length } = this.#chunk;
    if (end > length || (at === 0 && length > idleCapacity)) {
      const larger = Buffer.allocUnsafe(
        Math.max(end, at === 0 ? initialCapacity : Math.min(2 * length, idleCapacity)),
      );
      this.#chunk.copy(larger, 0, 0, at);
      this.#chunk = larger;
    }
    bytes.copy(this.#chunk, at);
    return end;
  }

  #movedProducerTime(): ProducerTime | null {
    const shiftTicks = this.#firstTimes?.shiftTicks ?? 0;
    const told = this.#producerTime;
    if (told === null || told.trackId !== this.#videoTrackId || shiftTicks === 0) return told;
    return { ...told, mediaTicks: told.mediaTicks + shiftTicks };
  }
}

function readProducerTime(bytes: Buffer): ProducerTime {
  const version = bytes[8];
  if (bytes.length < (version === 0 ? 28 : 32)) throw new Mp4Error('truncated', 'a short prft');
  const seconds = bytes.readUInt32BE(16);
  const fraction = bytes.readUInt32BE(20) / 2 ** 32;
  return {
    trackId: bytes.readUInt32BE(12),
    mediaTicks: version === 0 ? bytes.readUInt32BE(24) : Number(bytes.readBigUInt64BE(24)),
    wallUs: Math.round((seconds - ntpToUnixSeconds + fraction) * 1e6),
  };
}
