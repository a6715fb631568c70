/** The table of what there is of the API says what there is. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { test } from 'node:test';
import * as sdk from '@aws-sdk/client-kinesis';
import { operations } from '../../../../gateway/api/kinesis/operations/operations.ts';
import { startKinesis } from './support.ts';

const path = resolve(import.meta.dirname, '../../../../gateway/api/kinesis/COVERAGE.md');

interface Row {
  readonly operation: string;
  readonly built: string;
}

async function rows(): Promise<Row[]> {
  const text = await readFile(path, 'utf8');
  return [...text.matchAll(/^\| (\w+) \| (yes|no) \|/gm)].map(([, operation = '', built = '']) => ({
    operation,
    built,
  }));
}

const sdkOperations = Object.keys(sdk)
  .filter((name) => /^[A-Z]\w+Command$/.test(name))
  .map((name) => name.replace(/Command$/, ''))
  .sort();

test('the table has every operation that the SDK has, once and in order', async () => {
  const listed = (await rows()).map(({ operation }) => operation);
  assert.deepEqual(listed, sdkOperations);
});

test('the table calls those built that are, and no others', async () => {
  const built = (await rows()).filter((row) => row.built === 'yes');
  assert.deepEqual(
    built.map(({ operation }) => operation),
    [...operations.keys()].sort(),
  );
});

test('what is not built is not known, and what is built is', async (t) => {
  const kinesis = await startKinesis(t);
  for (const { operation, built } of await rows()) {
    const { body } = await kinesis.ask(operation, {});
    const isUnknown = body['__type'] === 'UnknownOperationException';
    assert.equal(isUnknown, built === 'no', operation);
  }
});
