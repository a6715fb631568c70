/**
 * Promise 1 against the disk itself: the power is cut, and operations fail. `npm run soak` does the
 * same with many more moments, and with every operation.
 */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { memoryFolder } from '../support/temporary-folder.ts';
import { needs } from '../support/tools.ts';
import {
  countOperations,
  cutPower,
  diskFailures,
  failOperation,
  writeFootage,
} from './support/runs.ts';
import { buildShim } from './support/shim.ts';

const failuresMax = 24;

test('a power cut at any moment loses nothing acknowledged', async (t) => {
  if (!needs(t, 'gcc')) return;
  const folder = await memoryFolder(t);
  const footage = await writeFootage(folder);
  const library = await buildShim(folder);
  const run = { footage, seed: 1, appends: 1000, cuts: 20 };
  const figures = await cutPower(t, library, { ...run, folder: join(folder, 'honest') });
  t.diagnostic(`${figures.cuts} cuts, ${figures.acknowledged} acknowledgements, nothing lost`);
  await assert.rejects(
    cutPower(t, library, { ...run, folder: join(folder, 'lying'), ignoreSyncs: true }),
    /after a cut/,
    'where a disk forgets what was synced, the loss is seen',
  );
});

test('whichever operation of the disk fails, nothing acknowledged is lost', async (t) => {
  if (!needs(t, 'gcc')) return;
  const folder = await memoryFolder(t);
  const footage = await writeFootage(folder);
  const library = await buildShim(folder);
  const run = { folder: join(folder, 'run'), footage, seed: 1, appends: 40 };
  const operations = await countOperations(t, library, run);
  const step = Math.ceil(operations / failuresMax);
  const failures = new Set<string>();
  for (let operation = 1; operation <= operations; operation += step) {
    await rm(run.folder, { recursive: true, force: true });
    const failure = diskFailures[operation % diskFailures.length]!;
    failures.add(await failOperation(t, library, run, { operation, ...failure }));
  }
  assert.ok(failures.has('FAILED write-failed'), 'failures are told');
  t.diagnostic(`${failuresMax} of ${operations} operations: ${[...failures].join(', ')}`);
});
