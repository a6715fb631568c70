/** A clip that is recorded by a real camera session, and what deliveries of it are compared by. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { recordSession } from '../../../../ingest/camera/session.ts';
import type { CameraDescription, MediaFile } from '../../../../storage/model.ts';
import { withScope } from '../../../support/scope.ts';
import { stayAlive } from '../../../support/stay-alive.ts';
import { ffmpegPath } from '../../../support/tools.ts';
import type { Rig } from './rig.ts';

const run = promisify(execFile);
export const toFolder = { to: { folder: { path: '' } } } as const;

/** Ten seconds of a test picture with a keyframe each second. */
export async function makeClip(folder: string): Promise<string> {
  const clip = join(folder, 'clip.mp4');
  await run(ffmpegPath, [
    ...['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=25:duration=10'],
    ...['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '25', '-pix_fmt', 'yuv420p', clip],
  ]);
  return clip;
}

export async function record(rig: Rig, clip: string): Promise<CameraDescription> {
  const camera = await rig.store.video.ensureCamera({
    name: 'gate',
    retentionMs: null,
    maxBytes: null,
    events: null,
  });
  await withScope((scope) => {
    stayAlive(scope);
    return recordSession({
      camera: 'gate',
      input: { args: ['-i', clip], description: 'a clip' },
      video: rig.store.video,
      ffmpegPath,
      clock: rig.clock,
      logger: rig.logger,
      metrics: rig.metrics,
      signal: new AbortController().signal,
    });
  });
  return camera;
}

export function filesOf(rig: Rig, camera: CameraDescription): Promise<readonly MediaFile[]> {
  return rig.store.video.closedMediaFiles(camera.id, 0, 1000);
}

/** A digest of every decoded frame of the files, one after the other. */
export async function frames(folder: string, contents: readonly Buffer[]): Promise<string[]> {
  const hashes: string[] = [];
  for (const content of contents) {
    const path = join(folder, 'frames.mp4');
    await writeFile(path, content);
    const args = ['-v', 'error', '-i', path, '-map', '0:v', '-f', 'framemd5', '-'];
    const { stdout } = await run(ffmpegPath, args);
    hashes.push(...[...stdout.matchAll(/[0-9a-f]{32}$/gm)].map(([hash]) => hash));
  }
  return hashes;
}

export interface Index {
  readonly object: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly codecs: string[];
  readonly start: string;
  readonly fragments: {
    number: number;
    tags?: Record<string, string>;
    startUs: number;
    durationUs: number;
    offsetBytes: number;
    sizeBytes: number;
  }[];
}
