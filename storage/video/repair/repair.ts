/**
 * Mends the index of footage against the media files, as `../check.ts` finds them damaged.
 *
 * - A fragment whose bytes are damaged keeps its place and is marked lost (`damaged = 2`): players
 *   go past it. Its bytes are copied to the damage folder. What a file that is too short lacks, and
 *   files that are missing, go from the index.
 * - Rows that contradict each other are made again from the headers in the file.
 * - A file without rows is indexed from its headers, if its camera is known and its time is free;
 *   else it is moved to the damage folder. So are bytes behind the end of a closed file. A camera
 *   whose row was lost is made again from the name of its folder.
 * - Where a run has a gap now, it becomes two.
 * - None of it needs a master key: what is encrypted stays so. A fragment whose data key is lost is as
 *   good as one that is damaged.
 *
 * Files that are still open in the index are left to `../recovery.ts`, but for what is committed.
 */
import { readdir, stat } from 'node:fs/promises';
import { StorageError } from '../../errors.ts';
import { loadKeys } from '../../key-table.ts';
import { inTransaction } from '../../log/repair.ts';
import { damagedInitsOf } from '../check.ts';
import { gapWithinRunUsMax } from '../rows.ts';
import { takeInOrphans } from './files-without-rows.ts';
import { repairFile, type FileRow } from './indexed-files.ts';
import { cameraFolder, type VideoMending, type VideoMendingOptions } from './mending.ts';

const page = 200;

/**
 * Yields what was done, a sentence each.
 * @throws StorageError `invalid-argument` when there is no media folder for the footage of the index
 */
export async function* repairVideo(options: VideoMendingOptions): AsyncGenerator<string, void> {
  const { database, mediaFolder } = options;
  const keyIds = new Set((await loadKeys(database)).keys.map(({ id }) => id));
  const mending = { ...options, keyIds };
  const folder = await stat(mediaFolder).catch(() => null);
  const hasFiles = (await database.get('SELECT 1 FROM media_file LIMIT 1')) !== undefined;
  if (folder?.isDirectory() !== true && (folder !== null || hasFiles)) {
    throw new StorageError(
      'invalid-argument',
      `${mediaFolder} is not a folder: is its disk mounted? The index of footage was left as it is`,
    );
  }
  yield* restoreCameras(mending);
  const { changes } = await database.run(
    'DELETE FROM fragment WHERE number / 4096 NOT IN (SELECT id FROM media_file)',
  );
  if (changes > 0) yield `${changes} fragments of files that the index lacks were deleted`;
  // Their files are indexed again, by what they begin with.
  for (const id of await damagedInitsOf(database)) {
    await database.run('DELETE FROM init WHERE id = ?', id);
    yield `init ${id} was damaged and was deleted`;
  }
  for (let from = 0; ;) {
    const files = await filesFrom(mending, from);
    const last = files.at(-1);
    if (last === undefined) break;
    for (const file of files) yield* repairFile(mending, file);
    from = last.id + 1;
  }
  yield* takeInOrphans(mending);
  yield* splitRuns(mending);
}

/**
 * Makes cameras again whose rows were lost, from the names of their folders. Where no row was lost,
 * a folder that no camera has is that of one that was deleted, or none of ours.
 */
async function* restoreCameras(mending: VideoMending): AsyncGenerator<string, void> {
  const { database, mediaFolder, camerasLost } = mending;
  const hadCameras = await database.get(
    "SELECT 1 FROM sqlite_sequence WHERE name = 'camera' AND seq > 0",
  );
  if (hadCameras !== undefined && !camerasLost) return;
  const entries = await readdir(mediaFolder, { withFileTypes: true }).catch(() => []);
  const restored: string[] = [];
  // At once: a second repair, after a kill between them, would take the rest for deleted.
  await inTransaction(database, async () => {
    for (const entry of entries) {
      const [, name, id] = cameraFolder.exec(`${entry.name}/`) ?? [];
      if (name === undefined || !entry.isDirectory()) continue;
      const { changes } = await database.run(
        // What it records until it is configured again is not to lie in the open.
        "INSERT OR IGNORE INTO camera (id, name, encryption) VALUES (?, ?, 'aes-256-gcm')",
        ...[Number(id), name],
      );
      if (changes > 0) restored.push(name);
    }
  });
  for (const name of restored) yield `camera ${name} was made again from the name of its folder`;
}

function filesFrom({ database }: VideoMending, from: number): Promise<FileRow[]> {
  return database.all<FileRow>(
    `SELECT m.id, m.camera_id, c.name AS camera, m.run_id, r.id IS NOT NULL AS run_known, m.path,
            m.start_us, m.end_us, m.bytes, i.bytes AS init_bytes
     FROM media_file m LEFT JOIN camera c ON c.id = m.camera_id
       LEFT JOIN run r ON r.id = m.run_id LEFT JOIN init i ON i.id = m.init_id
     WHERE m.id >= ? ORDER BY m.id LIMIT ?`,
    ...[from, page],
  );
}

/** A gap within a run that is too long: what comes after it becomes a run of its own. */
async function* splitRuns({ database }: VideoMending): AsyncGenerator<string, void> {
  for (;;) {
    const gap = await database.get<{
      id: number;
      run_id: number;
      camera_id: number;
      start_us: number;
      before_us: number;
    }>(
      `SELECT id, run_id, camera_id, start_us, before_us FROM (
         SELECT id, run_id, camera_id, start_us,
                lag(end_us) OVER (PARTITION BY run_id ORDER BY id) AS before_us FROM media_file)
       WHERE before_us IS NOT NULL AND start_us > before_us + ? ORDER BY id LIMIT 1`,
      gapWithinRunUsMax,
    );
    if (gap === undefined) return;
    await inTransaction(database, async () => {
      const { lastId } = await database.run(
        `INSERT INTO run (camera_id, start_us, end_us, end_reason)
         SELECT camera_id, ?, end_us, end_reason FROM run WHERE id = ?`,
        ...[gap.start_us, gap.run_id],
      );
      await database.run(
        'UPDATE media_file SET run_id = ? WHERE run_id = ? AND id >= ?',
        ...[lastId, gap.run_id, gap.id],
      );
      await database.run(
        "UPDATE run SET end_us = ?, end_reason = 'repaired' WHERE id = ?",
        ...[gap.before_us, gap.run_id],
      );
    });
    yield `run ${gap.run_id} has a gap before media file ${gap.id}: it became two runs`;
  }
}
