/** The index at the size of a month of one camera: 1.3 million fragments. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Database } from '../../../storage/sqlite.ts';
import {
  fragmentsByTimeSql,
  latestFragmentsSql,
  spansByTimeSql,
} from '../../../storage/video/fragment-queries.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { cameraOptions, newYearUs, openVideo } from './footage.ts';
import { bytesPerCameraHour, fillMonth, fragmentUs, monthFragments } from './month.ts';

describe('the index of a month', () => {
  it('finds by time through the index, never by looking through the table', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    await store.video.ensureCamera(cameraOptions('yard'));
    const { id } = await store.video.ensureCamera(cameraOptions('gate'));
    await fillMonth(store.writer, id);

    for (const sql of [fragmentsByTimeSql, spansByTimeSql]) {
      const byTime = await plan(folder, sql, [id, newYearUs, newYearUs + 1, 10]);
      assert.ok(
        byTime.some((step) => step.includes('INDEX media_file_time')),
        byTime.join('\n'),
      );
      assert.ok(!byTime.some((step) => /^SCAN (m|f|c)\b/.test(step)), byTime.join('\n'));
    }
    // What is scanned here is the few newest files, which the index found.
    const latest = await plan(folder, latestFragmentsSql, [id, 10]);
    assert.ok(
      latest.some((step) => step.includes('INDEX media_file_order')),
      latest.join('\n'),
    );
    assert.ok(!latest.some((step) => /^SCAN (media_file|fragment|f|c)\b/.test(step)));

    for (const at of [0, 1, 12_345, 777_777, monthFragments - 1]) {
      const fromUs = newYearUs + at * fragmentUs;
      const found = await store.video.fragments({
        ...{ camera: 'gate', fromUs, toUs: fromUs + 1, limit: 10 },
      });
      assert.deepEqual(
        found.map(({ startUs }) => startUs),
        [fromUs],
      );
    }
    const gone = { camera: 'gate', fromUs: newYearUs - 5, toUs: newYearUs - 1, limit: 10 };
    assert.deepEqual(await store.video.fragments(gone), []);
    const newest = await store.video.latestFragments('gate', 3);
    assert.equal(newest.at(-1)?.startUs, newYearUs + (monthFragments - 1) * fragmentUs);
    assert.deepEqual(
      await store.video.fragments({ camera: 'yard', fromUs: 0, toUs: 9e15, limit: 1 }),
      [],
    );
  });

  it('spends at most 300 KB on a camera-hour of four cameras', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await openVideo(t, folder);
    const perCameraHour = await bytesPerCameraHour(store, folder);
    t.diagnostic(`${Math.round(perCameraHour / 1000)} KB per camera-hour`);
    assert.ok(perCameraHour <= 300_000, `${perCameraHour} bytes`);
  });
});

async function plan(
  folder: string,
  sql: string,
  values: readonly number[],
): Promise<readonly string[]> {
  const database = await Database.open(join(folder, 'headgate.db'), { readOnly: true });
  const rows = await database.all<{ detail: string }>(`EXPLAIN QUERY PLAN ${sql}`, ...values);
  await database.close();
  return rows.map(({ detail }) => detail);
}
