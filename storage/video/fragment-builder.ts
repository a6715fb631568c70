/**
 * Gathers what a fragment's row and header say while its chunks come in: sizes, durations, CRC,
 * activity, first decode time; and makes the chunks' decode times relative to the media file.
 *
 * Recovery drives it over bytes that are on disk already, so a recovered row equals the one that
 * the crash prevented.
 */
import { crc32 } from 'node:zlib';
import { joinedCrc32 } from '../crc.ts';
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
import { type ChunkFacts, factsOf } from './chunk-facts.ts';
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

/** A chunk as it lies on disk. */
export interface StoredChunk {
  /** In order. */
  readonly pieces: readonly Buffer[];
  /** Of all pieces together, as is the CRC-32. */
  readonly bytes: number;
  readonly crc: number;
}

/** A chunk that lies on disk as these bytes. */
export function storedAs(bytes: Buffer): StoredChunk {
  return { pieces: [bytes], bytes: bytes.length, crc: crc32(bytes) };
}

export class FragmentBuilder {
  readonly identity: FragmentIdentity;
  readonly #chunks: ChunkSize[] = [];
  #crc = 0;
  #plainBytes = 0;
  #bodyBytes = 0;
  #decodeTime: number | null = null;
  #frames = 0;
  #frameBytes = 0;

  constructor(identity: FragmentIdentity) {
    this.identity = identity;
  }

  get chunkCount(): number {
    return this.#chunks.length;
  }

  /** Of its first video frame, in ticks; null before there is one. */
  get decodeTime(): number | null {
    return this.#decodeTime;
  }

  /** What its chunks take up on disk. */
  get bodyBytes(): number {
    return this.#bodyBytes;
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

  /** Takes in a chunk. */
  add(facts: ChunkFacts, stored: StoredChunk): void {
    this.#crc = joinedCrc32(this.#crc, stored.crc, stored.bytes);
    this.#bodyBytes += stored.bytes;
    this.#plainBytes += facts.plainBytes;
    this.#chunks.push({ bytes: facts.plainBytes, durationUs: facts.durationUs });
    this.#decodeTime ??= facts.decodeTime;
    this.#frames += facts.frames;
    this.#frameBytes += facts.frameBytes;
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
      storedBytes: fragmentHeaderBytes + this.#bodyBytes,
      plainBytes: this.#plainBytes,
      chunks: [...this.#chunks],
      damaged: end.damaged,
      activity: this.#frames === 0 ? 0 : Math.round(this.#frameBytes / this.#frames),
      tags: null,
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
      bodyBytes: sealed ? this.#bodyBytes : 0,
    });
  }
}

export interface ReadChunk {
  /** With decode times relative to the media file. */
  readonly bytes: Buffer;
  readonly facts: ChunkFacts;
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
    return { chunk: { bytes, facts: factsOf(init, moved, bytes.length) }, origin: from };
  } catch (error) {
    if (!(error instanceof Mp4Error)) throw error;
    throw new StorageError('invalid-argument', `not a chunk: ${error.message}`, { cause: error });
  }
}

/** Reads a chunk that is on the media file's clock already. @throws Mp4Error */
export function readChunk(init: InitSegment, bytes: Buffer): ReadChunk {
  const movies = readMovieFragments(bytes, sampleDefaults(init));
  return { bytes, facts: factsOf(init, movies, bytes.length) };
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
