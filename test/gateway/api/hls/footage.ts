/** Real footage from ffmpeg's test source, recorded into the store as a camera's would be. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Fragment, Run, VideoStore } from '../../../../storage/model.ts';
import {
  boxesIn,
  describeTrack,
  readInit,
  readMovieFragments,
  sampleDefaults,
} from '../../../../storage/video/boxes.ts';
import { ffmpegPath } from '../../../support/tools.ts';

const run = promisify(execFile);

export interface Footage {
  readonly init: Buffer;
  readonly chunks: readonly {
    readonly bytes: Buffer;
    readonly keyframe: boolean;
    readonly durationUs: number;
  }[];
}

/** Encodes a moving picture with a tone: H.264 with a keyframe every second, and AAC. */
export async function makeFootage(
  seconds: number,
  size = '160x120',
  frequency = 440,
  coding: readonly string[] = [],
): Promise<Footage> {
  const { stdout } = await run(
    ffmpegPath,
    [
      ...['-v', 'error', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=25:duration=${seconds}`],
      ...['-f', 'lavfi', '-i', `sine=frequency=${frequency}:sample_rate=44100:duration=${seconds}`],
      ...['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '25', '-bf', '0', '-pix_fmt', 'yuv420p'],
      ...coding,
      ...['-c:a', 'aac', '-f', 'mp4', '-frag_duration', '200000'],
      ...['-movflags', '+frag_keyframe+empty_moov+default_base_moof+skip_trailer', 'pipe:1'],
    ],
    { encoding: 'buffer', maxBuffer: 64 * 1024 * 1024 },
  );
  return splitFootage(stdout);
}

/** Footage as ffmpeg makes it, in its chunks. */
export function splitFootage(bytes: Buffer): Footage {
  const boxes = [...boxesIn(bytes)];
  const moov = boxes.find(({ type }) => type === 'moov');
  if (moov === undefined) throw new Error('ffmpeg made no moov');
  const init = bytes.subarray(0, moov.end);
  const parsed = readInit(init);
  const video = parsed.tracks.find(({ kind }) => kind === 'video');
  const chunks = readMovieFragments(bytes, sampleDefaults(parsed)).map((movie) => {
    const track = movie.tracks.find(({ trackId }) => trackId === video?.trackId);
    return {
      bytes: bytes.subarray(movie.start, movie.end),
      keyframe: track?.samples[0]?.keyframe ?? false,
      durationUs: Math.round(((track?.durationTicks ?? 0) * 1e6) / (video?.timescale ?? 1)),
    };
  });
  return { init, chunks };
}

/**
 * Records footage as one run that begins at `startUs`, in fragments of about 2 s.
 * @param delayMs how much later it arrives
 */
export async function record(
  video: VideoStore,
  camera: string,
  parts: readonly Footage[],
  startUs: number,
  after: { readonly fragment?: () => Promise<void>; readonly chunk?: () => Promise<void> } = {},
  delayMs = 0,
): Promise<{ readonly run: Run; readonly fragments: readonly Fragment[] }> {
  const recording = await video.startRun(camera, startUs);
  const fragments: Fragment[] = [];
  let atUs = startUs;
  for (const { init, chunks } of parts) {
    await recording.setInit(init, readInit(init).tracks.map(describeTrack));
    let durationUs = 0;
    const close = async (): Promise<void> => {
      if (durationUs === 0) return;
      fragments.push(await recording.closeFragment({ durationUs, damaged: false }));
      atUs += durationUs;
      durationUs = 0;
      await after.fragment?.();
    };
    for (const chunk of chunks) {
      if (chunk.keyframe && durationUs >= 2_000_000) await close();
      if (durationUs === 0) {
        const serverMs = Math.round(atUs / 1_000) + delayMs;
        await recording.openFragment({ startUs: atUs, producerMs: null, serverMs });
      }
      await recording.appendChunk({ ...chunk, bytes: Buffer.from(chunk.bytes) });
      durationUs += chunk.durationUs;
      await after.chunk?.();
    }
    await close();
  }
  return { run: await recording.end('ended'), fragments };
}
