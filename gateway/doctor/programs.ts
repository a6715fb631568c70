/** The programs that the gateway runs: ffmpeg, and the one for WebRTC. */
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { probeFfmpegVersion } from '../../ingest/camera/session.ts';
import { failure, fine, warning, type Diagnosis } from './diagnosis.ts';

/**
 * @param program a path, or a name to be looked for in the folders of `path` (the variable)
 * @param needed there are cameras
 */
export async function diagnoseFfmpeg(
  program: string,
  path: string,
  needed: boolean,
): Promise<Diagnosis> {
  const where = program.includes('/') ? program : await findProgram(program, path);
  try {
    const version = await probeFfmpegVersion(where ?? program);
    return fine('ffmpeg', `${version}, ${where ?? program}`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const advice = 'install version 5 or newer ("npm start" does), or set ffmpegPath';
    return needed ? failure('ffmpeg', reason, advice) : warning('ffmpeg', reason, advice);
  }
}

export async function findProgram(name: string, path: string): Promise<string | null> {
  for (const folder of path.split(delimiter)) {
    const file = join(folder, name);
    if (await isProgram(file)) return file;
  }
  return null;
}

/** @param packageFolder where "npm start" builds it; @param named MEDIASOUP_WORKER_BIN */
export async function diagnoseWorker(
  packageFolder: string,
  named: string | undefined,
): Promise<Diagnosis> {
  const file =
    named === undefined || named === ''
      ? join(packageFolder, 'build', 'mediasoup-worker', 'mediasoup-worker')
      : named;
  return (await isProgram(file))
    ? fine('mediasoup', file)
    : fine('mediasoup', 'its worker is not built; nothing uses it yet');
}

/** A file that we may execute; a folder is none. */
export async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
