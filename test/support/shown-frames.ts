/** What a player shows of an input, and when. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ffmpegPath } from './tools.ts';

export interface ShownFrame {
  /** Until the last one. */
  readonly leftMs: number;
  readonly hash: string;
}

/** The pictures of an input, decoded. @param input ffmpeg's options for it, and `-i` */
export async function shownFrames(input: readonly string[]): Promise<readonly ShownFrame[]> {
  const { stdout } = await promisify(execFile)(
    ffmpegPath,
    [
      ...['-v', 'error', '-nostdin', ...input, '-map', '0:v:0'],
      ...['-fps_mode', 'passthrough', '-enc_time_base', '1:90000', '-f', 'framemd5', '-'],
    ],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const frames = lines.map((line) => line.split(',').map((field) => field.trim()));
  const lastTicks = Number(frames.at(-1)?.[2]);
  return frames.map((fields) => ({
    leftMs: (lastTicks - Number(fields[2])) / 90,
    hash: fields.at(-1) ?? '',
  }));
}
