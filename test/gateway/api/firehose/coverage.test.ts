/** The table of what there is of the API says what there is. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import * as sdk from '@aws-sdk/client-firehose';
import { operations } from '../../../../gateway/api/firehose/operations/operations.ts';

const path = resolve(import.meta.dirname, '../../../../gateway/api/firehose/COVERAGE.md');

test('the table has every operation that the SDK has, once and in order, and all are built', async () => {
  const text = await readFile(path, 'utf8');
  const rows = [...text.matchAll(/^\| (\w+) \| (yes|no) \|/gm)];
  const known = Object.keys(sdk)
    .filter((name) => /^[A-Z]\w+Command$/.test(name))
    .map((name) => name.replace(/Command$/, ''))
    .sort();
  assert.deepEqual(
    rows.map(([, operation]) => operation),
    known,
  );
  const built = rows.filter(([, , isBuilt]) => isBuilt === 'yes').map(([, operation]) => operation);
  assert.deepEqual(built, [...operations.keys()].sort());
});
