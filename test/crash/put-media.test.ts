import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryFolder } from '../support/temporary-folder.ts';
import { killWhilePutting, makeStream } from './support/put-media.ts';

test('a fragment acknowledged PERSISTED survives kill -9', async (t) => {
  const folder = await memoryFolder(t);
  const stream = await makeStream();
  const acknowledged = await killWhilePutting(t, { folder, stream, seed: 1, kills: 10 });
  assert.ok(acknowledged >= 20, `${acknowledged} acknowledged`);
});
