import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { StorageError } from '../../storage/errors.ts';
import { StoreLock } from '../../storage/lock.ts';
import { startChild } from '../support/child.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { openTestStore } from './support/open.ts';

const loadScript = join(import.meta.dirname, 'support/append-under-load.ts');

test('a store that is open is refused to the next one, and says who has it', async (t) => {
  const first = await openTestStore(t, { holder: 'headgate, process 4711' });
  const openAgain = (): Promise<unknown> => openTestStore(t, { folder: first.folder });
  await assert.rejects(
    openAgain(),
    (error) =>
      error instanceof StorageError &&
      error.code === 'already-exists' &&
      error.message.includes('headgate, process 4711') &&
      error.message.includes(first.folder),
  );
  await first.store.log.createStream({
    name: 'goes-on',
    shardCount: 1,
    mode: 'on-demand',
    retentionMs: 3_600_000,
    maxBytes: null,
    whenFull: 'refuse',
  });
  await first.store.close();
  await openAgain();
});

test('another process is kept out; once it is dead, by whatever death, it is no obstacle', async (t) => {
  const folder = await temporaryFolder(t);
  const child = startChild(t, process.execPath, [compiled(loadScript), folder]);
  await child.line(/^ACK/);
  await assert.rejects(
    openTestStore(t, { folder }),
    (error) => error instanceof StorageError && error.code === 'already-exists',
  );
  await child.stop('SIGKILL');
  const { store } = await openTestStore(t, { folder });
  assert.ok(store.log.stream('kept').storedBytes > 0);
});

test('a damaged lock is told, with what to do about it', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'lock.db'), 'this is no database, however long one looks at it');
  await assert.rejects(StoreLock.take(folder, 'me', 0), (error: Error) => {
    assert.match(error.message, /lock\.db is damaged; .* no other gateway uses .* then delete it/);
    return 'code' in error && error.code === 'corrupt';
  });
});
