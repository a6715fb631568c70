/** The codec configurations of the fragments that one movie is made of: they have to fit together. */
import type { Fragment, Init, VideoStore } from '../../storage/model.ts';
import { readCodecConfiguration } from '../../ingest/camera/parameter-sets.ts';
import {
  type InitTrack,
  readInit,
  type SampleDefaults,
  sampleDefaults,
} from '../../storage/video/boxes.ts';

/** Fragments of several codecs do not go into one file. */
export class MixedCodecs extends Error {
  override readonly name = 'MixedCodecs';
  readonly before: string;
  readonly after: string;
  /** Where the second codec begins. */
  readonly atUs: number;

  constructor(before: string, after: string, atUs: number) {
    super(`${before} and ${after} do not go into one file`);
    this.before = before;
    this.after = after;
    this.atUs = atUs;
  }
}

export interface MovieTrack {
  readonly trackId: number;
  readonly timescale: number;
  readonly codec: string;
  readonly width: number;
  readonly height: number;
  readonly entry: Buffer;
}

export interface MovieInit {
  /** As it is stored. */
  readonly bytes: Buffer;
  readonly video: MovieTrack;
  readonly audio: MovieTrack | null;
  readonly defaults: ReadonlyMap<number, SampleDefaults>;
  /** To stand before the first picture of each fragment; empty where one configuration does. */
  readonly parameterSets: Buffer;
}

/**
 * @returns by the id of the init
 * @throws MixedCodecs, StorageError, Mp4Error
 */
export async function movieInits(
  store: VideoStore,
  fragments: readonly Fragment[],
): Promise<ReadonlyMap<number, MovieInit>> {
  const inits = new Map<number, MovieInit>();
  for (const { initId, startUs } of fragments) {
    if (inits.has(initId)) continue;
    const init = movieInit(await store.init(initId));
    if (init === null) continue;
    for (const other of inits.values()) check(other, init, startUs);
    inits.set(initId, init);
  }
  const [first] = inits.values();
  const isOne = [...inits.values()].every(({ video }) => first?.video.entry.equals(video.entry));
  if (!isOne) return inits;
  const none = Buffer.alloc(0);
  return new Map([...inits].map(([id, init]) => [id, { ...init, parameterSets: none }]));
}

/** null: it has no video. @throws Mp4Error */
export function movieInit({ bytes }: Init): MovieInit | null {
  const segment = readInit(bytes);
  const video = segment.tracks.find(({ kind }) => kind === 'video');
  if (video === undefined) return null;
  const audio = segment.tracks.find(({ kind }) => kind === 'audio');
  return {
    bytes,
    video: movieTrack(bytes, video),
    audio: audio === undefined ? null : movieTrack(bytes, audio),
    defaults: sampleDefaults(segment),
    parameterSets: parameterSets(bytes, video),
  };
}

function movieTrack(bytes: Buffer, track: InitTrack): MovieTrack {
  const { trackId, timescale, codec, width = 0, height = 0, sampleEntry } = track;
  const entry = bytes.subarray(sampleEntry.start, sampleEntry.end);
  return { trackId, timescale, codec, width, height, entry };
}

/** As they stand within a sample: each with its length before it. */
function parameterSets(bytes: Buffer, video: InitTrack): Buffer {
  const configuration = readCodecConfiguration(bytes, video);
  if (configuration === null) return Buffer.alloc(0);
  const { lengthBytes, sets } = configuration;
  return Buffer.concat(
    sets.flatMap((set) => {
      const length = Buffer.alloc(lengthBytes);
      length.writeUIntBE(set.length, 0, lengthBytes);
      return [length, set];
    }),
  );
}

function check(before: MovieInit, after: MovieInit, atUs: number): void {
  for (const kind of ['video', 'audio'] as const) {
    const [one, other] = [before[kind], after[kind]];
    if (one === null || other === null || familyOf(one) === familyOf(other)) continue;
    throw new MixedCodecs(one.codec, other.codec, atUs);
  }
}

function familyOf({ codec }: MovieTrack): string {
  return codec.split('.')[0] ?? codec;
}
