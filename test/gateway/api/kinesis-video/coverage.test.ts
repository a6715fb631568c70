/** The table of what there is of the API says what there is. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import * as control from '@aws-sdk/client-kinesis-video';
import * as archived from '@aws-sdk/client-kinesis-video-archived-media';
import * as live from '@aws-sdk/client-kinesis-video-media';
import { operations } from '../../../../gateway/api/kinesis-video/operations/operations.ts';

const path = resolve(import.meta.dirname, '../../../../gateway/api/kinesis-video/COVERAGE.md');

async function rows(): Promise<{ operation: string; built: string }[]> {
  const text = await readFile(path, 'utf8');
  return [...text.matchAll(/^\| (\w+) \| (yes|no) \|/gm)].map(([, operation = '', built = '']) => ({
    operation,
    built,
  }));
}

test('the table has every operation that the SDK has, once and in order', async () => {
  const known = [control, archived, live]
    .flatMap((sdk) => Object.keys(sdk))
    .filter((name) => /^[A-Z]\w+Command$/.test(name))
    .map((name) => name.replace(/Command$/, ''))
    .sort();
  assert.deepEqual(
    (await rows()).map(({ operation }) => operation),
    known,
  );
});

test('the table calls those built that are, and no others', async () => {
  const built = (await rows()).filter((row) => row.built === 'yes');
  assert.deepEqual(
    built.map(({ operation }) => operation),
    [...operations.values()].map(({ name }) => name).sort(),
  );
});
