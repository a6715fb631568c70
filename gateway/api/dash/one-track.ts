/**
 * One track out of an init or a fragment that has several (ISO/IEC 14496-12): players of DASH want
 * each by itself. Nothing is decoded, and the bytes of the other tracks are not sent.
 */
import { writeChunk } from '../../../ingest/mkv/mp4-writer.ts';
import {
  type Box,
  boxesIn,
  findBox,
  Mp4Error,
  readInit,
  readMovieFragments,
  sampleDefaults,
} from '../../../storage/video/boxes.ts';
import { box, type Pieces } from '../../media/box-writer.ts';

/** An init with one of its tracks. @throws Mp4Error */
export function initOfTrack(bytes: Buffer, trackId: number): Buffer {
  const pieces = [...boxesIn(bytes)].flatMap((child) =>
    child.type === 'moov' ? movieOfTrack(bytes, child, trackId) : [bytesOfBox(bytes, child)],
  );
  return Buffer.concat(pieces);
}

/**
 * A fragment with one of its tracks; empty where it has nothing of it.
 * @param init of the fragment, with all its tracks
 * @throws Mp4Error
 */
export function fragmentOfTrack(bytes: Buffer, init: Buffer, trackId: number): Buffer {
  const movies = readMovieFragments(bytes, sampleDefaults(readInit(init)));
  const chunks = movies.flatMap(({ tracks }) =>
    tracks.filter((track) => track.trackId === trackId && track.samples.length > 0),
  );
  return Buffer.concat(
    chunks.map(({ decodeTime, samples }, index) =>
      writeChunk(index + 1, [
        {
          ...{ trackId, decodeTicks: decodeTime },
          samples: samples.map((sample) => ({
            ...sample,
            bytes: bytes.subarray(sample.start, sample.start + sample.sizeBytes),
          })),
        },
      ]),
    ),
  );
}

function movieOfTrack(bytes: Buffer, movie: Box, trackId: number): Pieces {
  const children = [...boxesIn(bytes, movie.bodyStart, movie.end)].flatMap((child): Pieces => {
    if (child.type === 'trak' && trackIdOf(bytes, child) !== trackId) return [];
    if (child.type !== 'mvex') return [bytesOfBox(bytes, child)];
    const kept = [...boxesIn(bytes, child.bodyStart, child.end)].filter(
      ({ type, bodyStart }) => type !== 'trex' || bytes.readUInt32BE(bodyStart + 4) === trackId,
    );
    return box('mvex', ...kept.map((one) => bytesOfBox(bytes, one)));
  });
  return box('moov', children);
}

/** 8.3.2 */
function trackIdOf(bytes: Buffer, trak: Box): number {
  const header = findBox(bytes, trak, 'tkhd');
  if (header === null) throw new Mp4Error('malformed', 'a track without its header');
  return bytes.readUInt32BE(header.bodyStart + (bytes[header.bodyStart] === 1 ? 20 : 12));
}

function bytesOfBox(bytes: Buffer, { start, end }: Box): Buffer {
  return bytes.subarray(start, end);
}
