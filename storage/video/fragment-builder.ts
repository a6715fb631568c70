/**
 * Gathers what a fragment's row and header say while its chunks come in: sizes, durations, CRC,
 * activity, first decode time; and makes the chunks' decode times relative to the media file.
 *
 * Recovery drives it over bytes that are on disk already, so a recovered row equals the one that
 * the crash prevented.
 */
import { crc32 } from 'node:zlib';
import { StorageError } from '../errors.ts';
import type { Fragment } from '../model.ts';
import {
  type InitSegment,
  Mp4Error,
  moveDecodeTimes,
  type MovieFragment,
  readMovieFragments,
  sampleDefaults,
} from './boxes.ts';
import type { ChunkSize } from './chunk-table.ts';
import { encodeFragmentHeader, fragmentHeaderBytes } from './fragment-header.ts';

/** Ticks to take off the decode times of each track: where the media file begins. */
export type FileOrigin = ReadonlyMap<number, bigint>;

export interface FragmentIdentity {
  readonly number: number;
  readonly camera: string;
  readonly runId: number;
  readonly initId: number;
  readonly mediaFileId: number;
  /** Of the header, in the media file. */
  readonly offset: number;
  readonly startUs: number;
  readonly producerMs: number | null;
  readonly serverMs: number;
}

export class FragmentBuilder {
  readonly identity: FragmentIdentity;
  readonly #init: InitSegment;
  readonly #chunks: ChunkSize[] = [];
  #crc = 0;
  #plainBytes = 0;
  #decodeTime: number | null = null;
  #frames = 0;
  #frameBytes = 0;

  constructor(identity: FragmentIdentity, init: InitSegment) {
    this.identity = identity;
    this.#init = init;
  }

  get chunkCount(): number {
    return this.#chunks.length;
  }

  /** What its chunks last together. */
  get mediaUs(): number {
    return this.#chunks.reduce((sum, { durationUs }) => sum + durationUs, 0);
  }

  /** The header as it is before the fragment closes. */
  openHeader(): Buffer {
    return this.#header(false, this.identity.startUs, 0, false);
  }

  sealedHeader(end: { startUs: number; durationUs: number; damaged: boolean }): Buffer {
    return this.#header(true, end.startUs, end.durationUs, end.damaged);
  }

  /** Takes in a chunk with decode times relative to the media file. */
  add(chunk: ReadChunk): void {
    this.#crc = crc32(chunk.bytes, this.#crc);
    this.#plainBytes += chunk.bytes.length;
    this.#chunks.push({ bytes: chunk.bytes.length, durationUs: chunk.durationUs });
    const video = videoOf(this.#init, chunk.movies);
    for (const { decodeTime, samples } of video) {
      this.#decodeTime ??= decodeTime;
      for (const sample of samples) {
        if (sample.keyframe) continue;
        this.#frames += 1;
        this.#frameBytes += sample.sizeBytes;
      }
    }
  }

  build(end: { startUs: number; durationUs: number; damaged: boolean }): Fragment {
    const { number, camera, runId, initId, mediaFileId, offset, producerMs, serverMs } =
      this.identity;
    return {
      number,
      camera,
      runId,
      initId,
      mediaFileId,
      startUs: end.startUs,
      durationUs: end.durationUs,
      producerMs,
      serverMs,
      decodeTime: this.#decodeTime ?? 0,
      offset,
      storedBytes: fragmentHeaderBytes + this.#plainBytes,
      plainBytes: this.#plainBytes,
      chunks: [...this.#chunks],
      damaged: end.damaged,
      activity: this.#frames === 0 ? 0 : Math.round(this.#frameBytes / this.#frames),
    };
  }

  #header(sealed: boolean, startUs: number, durationUs: number, damaged: boolean): Buffer {
    const { number, runId, initId, producerMs, serverMs } = this.identity;
    return encodeFragmentHeader({
      sealed,
      damaged,
      crc: sealed ? this.#crc : 0,
      number,
      runId,
      initId,
      startUs,
      durationUs,
      producerMs,
      serverMs,
      plainBytes: sealed ? this.#plainBytes : 0,
    });
  }
}

export interface ReadChunk {
  /** With decode times relative to the media file. */
  readonly bytes: Buffer;
  readonly durationUs: number;
  readonly movies: readonly MovieFragment[];
}

/**
 * Reads a chunk and puts it on the media file's clock, in its own bytes.
 * @param origin null for the first chunk of a file: the file then begins with it.
 * @throws StorageError `invalid-argument` for bytes that are not whole movie fragments
 */
export function placeChunk(
  init: InitSegment,
  bytes: Buffer,
  origin: FileOrigin | null,
): { chunk: ReadChunk; origin: FileOrigin } {
  try {
    const movies = readMovieFragments(bytes, sampleDefaults(init));
    const from = origin ?? originOf(init, movies);
    moveDecodeTimes(bytes, new Map([...from].map(([trackId, ticks]) => [trackId, -ticks])));
    const moved = movies.map((movie) => ({
      ...movie,
      tracks: movie.tracks.map((track) => {
        const originTicks = Number(from.get(track.trackId) ?? 0n);
        return { ...track, decodeTime: Math.max(0, track.decodeTime - originTicks) };
      }),
    }));
    return { chunk: chunkOf(init, bytes, moved), origin: from };
  } catch (error) {
    if (!(error instanceof Mp4Error)) throw error;
    throw new StorageError('invalid-argument', `not a chunk: ${error.message}`, { cause: error });
  }
}

/** Reads a chunk that is on the media file's clock already. @throws Mp4Error */
export function readChunk(init: InitSegment, bytes: Buffer): ReadChunk {
  return chunkOf(init, bytes, readMovieFragments(bytes, sampleDefaults(init)));
}

function chunkOf(init: InitSegment, bytes: Buffer, movies: readonly MovieFragment[]): ReadChunk {
  const track = init.tracks.find(({ kind }) => kind === 'video');
  const ticks = videoOf(init, movies).reduce((sum, { durationTicks }) => sum + durationTicks, 0);
  return { bytes, movies, durationUs: Math.round((ticks / (track?.timescale ?? 1)) * 1e6) };
}

/** The instant at which the earliest track of a file's first chunk begins, in each track's ticks. */
function originOf(init: InitSegment, movies: readonly MovieFragment[]): FileOrigin {
  let seconds = Infinity;
  for (const { trackId, decodeTime, samples } of movies.flatMap(({ tracks }) => tracks)) {
    const track = init.tracks.find((candidate) => candidate.trackId === trackId);
    if (track === undefined || samples.length === 0) continue;
    seconds = Math.min(seconds, decodeTime / track.timescale);
  }
  if (seconds === Infinity) throw new Mp4Error('malformed', 'a chunk without samples');
  return new Map(
    init.tracks.map(({ trackId, timescale }) => [
      trackId,
      BigInt(Math.floor(seconds * timescale + 1e-6)),
    ]),
  );
}

function videoOf(
  init: InitSegment,
  movies: readonly MovieFragment[],
): readonly MovieFragment['tracks'][number][] {
  const trackId = init.tracks.find(({ kind }) => kind === 'video')?.trackId;
  return movies.flatMap(({ tracks }) =>
    tracks.filter((track) => track.trackId === trackId && track.samples.length > 0),
  );
}
