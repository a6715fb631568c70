/**
 * Silence for fragments of a camera whose sound stopped. A browser plays only what it has of every
 * track that the init announces, so without it the picture would stop with the sound.
 *
 * What a fragment lacks at its end is appended to it as one more `moof` + `mdat` with the sound
 * alone (ISO/IEC 14496-12, 8.8); what is stored stays as the camera sent it. Sound that goes on ends
 * with the picture or after it, as ffmpeg interleaves them, and a hole of one frame is none to
 * Chromium; a larger one it stalls at, and with one of less than 100 ms hls.js never ends the stream.
 * So half a frame is left alone, which has room on both sides.
 * Sound from long before the picture is taken out: an encoder gives up its last frames only when a
 * session ends, and a player that meets such a leap drops the picture until the next keyframe.
 * AAC-LC of one or two channels is what can be made up; other sound is served as it is.
 */
import type { TrackDescription } from '../../../storage/model.ts';
import {
  type Box,
  boxesIn,
  type MovieFragment,
  readInit,
  readMovieFragments,
  sampleDefaults,
  type TrackFragment,
} from '../../../storage/video/boxes.ts';

const samplesPerFrame = 1024;
const leftAloneFrames = 0.5;
/** Sound that ends so long before its fragment's picture begins belongs to none of it. */
const staleS = 0.5;
/** Longer than any fragment may be; a lie about times costs no more than this. */
const filledSMax = 150;

/** A raw data block with nothing in it, by the number of channels (ISO/IEC 14496-3, 4.4.2.1). */
const silentFrames: Readonly<Record<number, Buffer>> = {
  1: Buffer.from('00c800802380', 'hex'),
  2: Buffer.from('210049900219002380', 'hex'),
};

/**
 * The fragment, with silence from where its sound ends to where its picture does.
 * @param bytes of the fragment, as served
 * @param init that goes before it
 * @throws Mp4Error
 */
export function withSilence(
  bytes: Buffer,
  init: { readonly bytes: Buffer; readonly tracks: readonly TrackDescription[] },
): Buffer {
  const sound = init.tracks.find(({ kind }) => kind === 'audio');
  const picture = init.tracks.find(({ kind }) => kind === 'video');
  const frame = silentFrames[sound?.channels ?? 0];
  if (sound?.codec !== 'mp4a.40.2' || picture === undefined || frame === undefined) return bytes;
  const defaults = sampleDefaults(readInit(init.bytes));
  const found = readMovieFragments(bytes, defaults);
  const pictureS = startOf(found, picture);
  const fresh = withoutStale(bytes, sound, pictureS - staleS);
  const pieces = fresh === bytes ? found : readMovieFragments(fresh, defaults);
  const spanOf = ({ trackId, timescale }: TrackDescription): Span =>
    span(
      pieces.flatMap(({ tracks }) => tracks.filter((track) => track.trackId === trackId)),
      timescale,
    );
  const shown = spanOf(picture);
  const startS = Math.max(shown.startS, spanOf(sound).endS);
  const missingS = Math.min(shown.endS - startS, filledSMax);
  const frameS = samplesPerFrame / sound.timescale;
  if (missingS <= leftAloneFrames * frameS) return fresh;
  const frames = Math.ceil(missingS / frameS);
  const decodeTime = BigInt(Math.round(startS * sound.timescale));
  return Buffer.concat([fresh, silence(sound.trackId, decodeTime, frames, frame)]);
}

function startOf(
  pieces: readonly MovieFragment[],
  { trackId, timescale }: TrackDescription,
): number {
  const times = pieces.flatMap(({ tracks }) =>
    tracks.flatMap((track) =>
      track.trackId === trackId && track.samples.length > 0 ? [track.decodeTime] : [],
    ),
  );
  return Math.min(...times) / timescale;
}

/** Hides the parts of the sound that begin before an instant: what is `free` nobody reads. */
function withoutStale(bytes: Buffer, sound: TrackDescription, beforeS: number): Buffer {
  let fresh = bytes;
  for (const moof of boxesIn(bytes)) {
    if (moof.type !== 'moof') continue;
    for (const traf of boxesIn(bytes, moof.bodyStart, moof.end)) {
      if (traf.type !== 'traf' || !isBefore(bytes, traf, sound, beforeS)) continue;
      if (fresh === bytes) fresh = Buffer.from(bytes);
      fresh.write('free', traf.start + 4, 'latin1');
    }
  }
  return fresh;
}

function isBefore(bytes: Buffer, traf: Box, sound: TrackDescription, beforeS: number): boolean {
  const boxes = [...boxesIn(bytes, traf.bodyStart, traf.end)];
  const header = boxes.find(({ type }) => type === 'tfhd');
  const time = boxes.find(({ type }) => type === 'tfdt');
  if (header === undefined || time === undefined) return false;
  if (bytes.readUInt32BE(header.bodyStart + 4) !== sound.trackId) return false;
  const at = time.bodyStart + 4;
  const isLong = bytes[time.bodyStart] === 1;
  const ticks = isLong ? Number(bytes.readBigUInt64BE(at)) : bytes.readUInt32BE(at);
  return ticks / sound.timescale < beforeS;
}

interface Span {
  readonly startS: number;
  readonly endS: number;
}

function span(tracks: readonly TrackFragment[], timescale: number): Span {
  const times = tracks
    .filter(({ samples }) => samples.length > 0)
    .map(({ decodeTime, durationTicks }) => [decodeTime, decodeTime + durationTicks] as const);
  return {
    startS: Math.min(...times.map(([start]) => start)) / timescale,
    endS: Math.max(...times.map(([, end]) => end)) / timescale,
  };
}

function silence(trackId: number, decodeTime: bigint, frames: number, frame: Buffer): Buffer {
  const defaultBaseIsMoof = 0x02_0000;
  const [defaultDuration, defaultSize] = [0x08, 0x10];
  const dataOffset = 0x01;
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(decodeTime);
  const headerFlags = defaultBaseIsMoof | defaultDuration | defaultSize;
  const moof = (dataAt: number): Buffer =>
    box(
      'moof',
      box('mfhd', words(0, 0)),
      box(
        'traf',
        box('tfhd', words(headerFlags, trackId, samplesPerFrame, frame.length)),
        box('tfdt', words(0x0100_0000), time),
        box('trun', words(dataOffset, frames, dataAt)),
      ),
    );
  const mdatHeaderBytes = 8;
  const data = Array.from({ length: frames }, () => frame);
  return Buffer.concat([moof(moof(0).length + mdatHeaderBytes), box('mdat', ...data)]);
}

function box(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([words(body.length + 8), Buffer.from(type, 'latin1'), body]);
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32BE(value, 4 * index));
  return bytes;
}
