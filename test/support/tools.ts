import { accessSync, constants, existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { Child } from './child.ts';

/** Where a program is on this machine, or null. @param folders as in PATH, which is looked at */
export function findProgram(name: string, folders = process.env['PATH'] ?? ''): string | null {
  for (const folder of folders.split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here; perhaps in the next one.
    }
  }
  return null;
}

/** Skips the test, saying why, unless all programs are here. Returns whether it may go on. */
export function needs(context: TestContext, ...programs: readonly string[]): boolean {
  const missing = programs.filter((name) => findProgram(name) === null);
  if (missing.length > 0) context.skip(`needs ${missing.join(', ')}, not on this machine`);
  return missing.length === 0;
}

/** The ffmpeg that the set-up chose, or the one in PATH. */
export const ffmpegPath = process.env['HEADGATE_FFMPEG_PATH'] ?? findProgram('ffmpeg') ?? 'ffmpeg';

/** A file of the optional test data beside the checkout, or null. */
export function sharedFile(...parts: readonly string[]): string | null {
  const path = resolve(import.meta.dirname, '../../../shared', ...parts);
  return existsSync(path) ? path : null;
}

/** As `sharedFile`, skipping the test, saying why, where the data is not there. */
export function needsShared(context: TestContext, ...parts: readonly string[]): string | null {
  const path = sharedFile(...parts);
  if (path === null) context.skip(`needs the test data ${parts.join('/')}, not on this machine`);
  return path;
}

/** mediasoup's worker, where the set-up puts it or mediasoup's own installation does; or null. */
export function mediaWorkerPath(): string | null {
  const root = resolve(import.meta.dirname, '../..');
  const places = [
    process.env['MEDIASOUP_WORKER_BIN'] ?? '',
    join(root, 'build/mediasoup-worker/mediasoup-worker'),
    join(root, 'node_modules/mediasoup/worker/out/Release/mediasoup-worker'),
  ];
  return places.find((place) => place !== '' && existsSync(place)) ?? null;
}

/**
 * Skips the test, saying why, without mediasoup's worker: that the tests began to build beside
 * themselves is waited for. mediasoup is told where it is.
 */
export async function needsMediaWorker(context: Pick<TestContext, 'skip'>): Promise<boolean> {
  if (mediaWorkerPath() === null) {
    const build = resolve(import.meta.dirname, '../../gateway/setup/build-worker.cjs');
    await new Child(process.execPath, [build, '0']).exited;
  }
  const path = mediaWorkerPath();
  if (path === null) {
    context.skip("needs mediasoup's worker, which could not be built");
    return false;
  }
  process.env['MEDIASOUP_WORKER_BIN'] = path;
  return true;
}
