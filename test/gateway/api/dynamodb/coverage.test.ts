/** The table of what there is of the API says what there is. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import * as sdk from '@aws-sdk/client-dynamodb';
import { operations } from '../../../../gateway/api/dynamodb/operations/operations.ts';

const path = resolve(import.meta.dirname, '../../../../gateway/api/dynamodb/COVERAGE.md');

test('the table has every operation of the SDK, once and in order, and calls those built that are', async () => {
  const rows = [...(await readFile(path, 'utf8')).matchAll(/^\| (\w+) \| (yes|no) \|/gm)];
  const listed = rows.map(([, operation = '']) => operation);
  const sdkOperations = Object.keys(sdk)
    .filter((name) => /^[A-Z]\w+Command$/.test(name))
    .map((name) => name.replace(/Command$/, ''))
    .sort();
  assert.deepEqual(listed, sdkOperations);
  const built = rows.filter(([, , is]) => is === 'yes').map(([, operation = '']) => operation);
  assert.deepEqual(built, [...operations.keys()].sort());
});
