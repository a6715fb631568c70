/** The index of a month of footage, without the footage. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fragment } from '../../../storage/model.ts';
import { Database } from '../../../storage/sqlite.ts';
import type { Store } from '../../../storage/store.ts';
import { encodeChunkTable } from '../../../storage/video/chunk-table.ts';
import { fragmentValues, insertFragmentSql } from '../../../storage/video/rows.ts';
import { cameraOptions, newYearUs } from './footage.ts';

const files = 43_200;
const fragmentsPerFile = 30;
export const fragmentUs = 2_000_000;
export const monthFragments = files * fragmentsPerFile;

type Writing = Store['writer'];

/** A month of two-second fragments of one camera, by one statement each. */
export async function fillMonth(writer: Writing, cameraId: number): Promise<void> {
  const chunks = encodeChunkTable(
    Array.from({ length: 10 }, () => ({ bytes: 99_000, durationUs: 200_000 })),
  );
  await writer.transact(async (tx) => {
    await tx.run(
      `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?4 - 1)
       INSERT INTO media_file (id, camera_id, run_id, init_id, start_us, end_us, bytes, path)
       SELECT i + 1, ?1, 1, 1, ?2 + i * ?3, ?2 + (i + 1) * ?3, 30000000, 'gate/' || i FROM n`,
      ...[cameraId, newYearUs, fragmentsPerFile * fragmentUs, files],
    );
    await tx.run(
      `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
       INSERT INTO fragment (number, start_offset_us, duration_us, producer_offset_ms,
         server_offset_ms, decode_time, file_offset, stored_bytes, plain_bytes, damaged, activity,
         chunks)
       SELECT (i / ?2 + 1) * 4096 + i % ?2, (i % ?2) * ?3, ?3, 12, 250, 90000, 1000000, 990112,
         990000, 0, 4000, ?4 FROM n`,
      ...[files * fragmentsPerFile, fragmentsPerFile, fragmentUs, chunks],
    );
  });
}

/** 2 s at 4 Mb/s, frames of ever other sizes, RTP's jitter in the durations. */
function typicalFragment(mediaFileId: number, position: number): Fragment {
  const startUs = newYearUs + mediaFileId * 15_000_000 + position * fragmentUs;
  const jitter = (index: number): number => ((mediaFileId * 7 + position * 13 + index * 5) % 9) - 4;
  const chunks = Array.from({ length: 10 }, (_, index) => ({
    bytes: 100_000 + jitter(index) * 3_000,
    durationUs: 200_000 + jitter(index),
  }));
  const plainBytes = chunks.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    ...{ number: mediaFileId * 4096 + position, camera: '', runId: 1, initId: 1, mediaFileId },
    ...{ startUs, durationUs: fragmentUs + jitter(3), damaged: false, activity: 4_321 },
    producerMs: Math.floor(startUs / 1000) + 120,
    serverMs: Math.floor(startUs / 1000) + 320,
    decodeTime: position * 180_000,
    offset: 1_300 + position * 1_000_000,
    storedBytes: plainBytes + 112,
    ...{ plainBytes, chunks, tags: null },
  };
}

/** Size of the database file once all of the write-ahead log is in it. */
async function databaseBytes(folder: string, writer: Writing): Promise<number> {
  await writer.transact((tx) => tx.get('SELECT 1'));
  const path = join(folder, 'headgate.db');
  const database = await Database.open(path);
  await database.all('PRAGMA wal_checkpoint(TRUNCATE)');
  await database.close();
  return (await stat(path)).size;
}

/** What the index of four cameras that record at once takes of the database file. */
export async function bytesPerCameraHour(store: Store, folder: string): Promise<number> {
  const cameras = 4;
  const ids: number[] = [];
  for (let index = 0; index < cameras; index += 1) {
    ids.push((await store.video.ensureCamera(cameraOptions(`camera-${index}`))).id);
  }
  const bytesBefore = await databaseBytes(folder, store.writer);
  const hours = 3;
  await store.writer.transact(async (tx) => {
    for (let file = 0; file < hours * 60; file += 1) {
      for (const [index, camera] of ids.entries()) {
        const mediaFileId = file * cameras + index + 1;
        const startUs = newYearUs + file * 60_000_000;
        await tx.run(
          `INSERT INTO media_file (id, camera_id, run_id, init_id, start_us, end_us, bytes, path)
           VALUES (?, ?, 1, 1, ?, ?, 30000000, ?)`,
          ...[mediaFileId, camera, startUs, startUs + 60_000_000],
          `camera-${index}.${camera}/2026-01-01/00-00-00.${mediaFileId}.mp4`,
        );
      }
      for (let position = 0; position < fragmentsPerFile; position += 1) {
        for (const index of ids.keys()) {
          const mediaFileId = file * cameras + index + 1;
          const fragment = typicalFragment(mediaFileId, position);
          const fileStartUs = fragment.startUs - position * fragmentUs;
          await tx.run(insertFragmentSql, ...fragmentValues(fragment, fileStartUs));
        }
      }
    }
  });
  const bytes = (await databaseBytes(folder, store.writer)) - bytesBefore;
  return bytes / cameras / hours;
}
