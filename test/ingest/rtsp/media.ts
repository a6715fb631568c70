/** Clips, cameras and readers made with ffmpeg, and what can be said about their frames. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startChild, type Child } from '../../support/child.ts';
import { ffmpegPath } from '../../support/tools.ts';
import type { Scope } from '../../support/scope.ts';

const run = promisify(execFile);

export interface ClipOptions {
  readonly name: string;
  readonly seconds: number;
  /** A picture of ffmpeg's own, so that two clips differ. */
  readonly pattern?: 'testsrc' | 'testsrc2' | 'smptebars';
  readonly video?: readonly string[];
  readonly audio?: readonly string[];
}

/** Makes an MP4: 25 frames a second, a keyframe each second, no B-frames unless asked for. */
export async function makeClip(folder: string, options: ClipOptions): Promise<string> {
  const { name, seconds, pattern = 'testsrc', video, audio } = options;
  const path = join(folder, `${name}.mp4`);
  const sound = audio === undefined ? [] : ['-f', 'lavfi', '-i', `sine=r=48000:d=${seconds}`];
  await run(ffmpegPath, [
    ...['-v', 'error', '-f', 'lavfi', '-i', `${pattern}=s=320x240:r=25:d=${seconds}`, ...sound],
    ...(video ?? ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency']),
    ...['-pix_fmt', 'yuv420p', '-g', '25', ...(audio ?? []), path],
  ]);
  return path;
}

/** Pushes a clip in real time, as a camera does. */
export function pushClip(
  context: Scope,
  clip: string,
  url: string,
  options: {
    readonly loop?: boolean;
    readonly transport?: 'tcp' | 'udp';
    /** As a camera does whose audio stops: ffmpeg would wait 10 s for more of it. */
    readonly unevenTracks?: boolean;
  } = {},
): Child {
  const { loop = false, transport = 'tcp', unevenTracks = false } = options;
  return startChild(context, ffmpegPath, [
    ...['-hide_banner', '-nostdin', '-loglevel', 'warning', '-re'],
    ...(loop ? ['-stream_loop', '-1'] : []),
    ...['-i', clip, '-c', 'copy', ...(unevenTracks ? ['-max_interleave_delta', '100000'] : [])],
    ...['-f', 'rtsp', '-rtsp_transport', transport, url],
  ]);
}

/** The frames of an input, decoded, one hash each. */
export async function framesOf(input: readonly string[]): Promise<readonly string[]> {
  const { stdout } = await run(
    ffmpegPath,
    [
      ...['-v', 'error', '-nostdin', ...input, '-map', '0:v:0'],
      ...['-fps_mode', 'passthrough', '-f', 'framemd5', '-'],
    ],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  return stdout
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(',').at(-1)?.trim() ?? '');
}

/** Plays an address to its end into a file of frame hashes; `frames` resolves with them. */
export function playFrames(
  context: Scope,
  folder: string,
  url: string,
  options: readonly string[] = ['-rtsp_transport', 'tcp'],
  outputOptions: readonly string[] = [],
): { readonly child: Child; readonly frames: Promise<readonly string[]> } {
  const path = join(folder, `${Math.random().toString(36).slice(2)}.framemd5`);
  const child = startChild(context, ffmpegPath, [
    ...['-hide_banner', '-nostdin', '-loglevel', 'info', ...options, '-i', url],
    ...['-map', '0:v:0', '-fps_mode', 'passthrough', ...outputOptions, '-f', 'framemd5', path],
  ]);
  const frames = child.exited.then(async () => {
    const text = await readFile(path, 'utf8');
    return text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.split(',').at(-1)?.trim() ?? '');
  });
  frames.catch(() => undefined);
  return { child, frames };
}

/** The address of a camera on the test server. */
export function addressOf(
  port: number,
  camera: string,
  user: { readonly username: string; readonly password: string },
): string {
  const name = encodeURIComponent(user.username);
  return `rtsp://${name}:${encodeURIComponent(user.password)}@127.0.0.1:${port}/${camera}`;
}
