import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Log } from '../../storage/model.ts';
import { startChild } from '../support/child.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from './support/open.ts';

const run = promisify(execFile);

/** Runs the work in a folder on a disk of its own, of a few megabytes, if this user may mount one. */
async function onSmallDisk(
  context: TestContext,
  megabytes: number,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-small-disk-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  } catch {
    await rmdir(folder);
    context.skip('mounting a small disk takes root');
    return;
  }
  try {
    await work(folder);
  } finally {
    await run('umount', [folder]);
    await rmdir(folder);
  }
}

const diskFull = (error: unknown): boolean =>
  error instanceof StorageError && error.code === 'disk-full' && error.retryable;

async function appendUntilFull(log: Log): Promise<number> {
  for (let appended = 0; ; appended += 1) {
    try {
      await log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(50_000, appended) }]);
    } catch (error) {
      assert.ok(diskFull(error), String(error));
      return appended;
    }
  }
}

test('on a full disk appends are refused, checkpoints and deletion go on, and it recovers', (t) =>
  onSmallDisk(t, 24, async (folder) => {
    const opened = await openTestStore(t, {
      folder,
      reserveBytes: 3 * 1024 * 1024,
      video: { minFreeBytes: 0 },
    });
    try {
      await fillAndRecover(opened);
    } finally {
      await opened.store.close();
    }
  }));

async function fillAndRecover({ store, clock, logger, folder }: TestStore): Promise<void> {
  const { log } = store;
  const { shards } = await log.createStream(streamOptions());
  await log.applications.ensure({ name: 'uplink', required: true });
  const source = { kind: 'shard', id: shards[0]!.id } as const;
  const lease = await log.applications.acquire('uplink', source, 'me', 1e9, 0);
  await store.retention.run();

  // Cutting the write-ahead log makes some room yet; in the end there is nothing left to give.
  let held = 0;
  for (let more = -1; more !== 0;) {
    more = await appendUntilFull(log);
    held += more;
    await store.retention.run();
  }
  assert.ok(held > 100, `${held} appends fit`);
  const refused = log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(10) }]);
  await assert.rejects(refused, diskFull, 'what is left is for checkpoints and deletion');
  await log.applications.checkpoint(lease, held);
  const read = { shardId: source.id, fromSequence: held - 1, maxRecords: 5, maxBytes: 1e6 };
  assert.equal((await log.read(read)).records.length, 1, 'all that was acknowledged is there');

  clock.advance(25 * hourMs);
  await store.retention.run();
  await store.retention.run();
  assert.equal(log.shard(source.id).trimSequence, held);
  const [place] = await log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(10) }]);
  assert.equal(place?.sequence, held);
  assert.ok(logger.lines.some(({ message }) => message.includes('room on the disk again')));
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

const appendOne = join(import.meta.dirname, 'support/append-until-it-fails.ts');

test('once an fsync has failed nothing is acknowledged until a restart', async (t) => {
  const folder = await temporaryFolder(t);
  try {
    await run('strace', ['-o', '/dev/null', 'true']);
  } catch {
    t.skip('strace makes the fsync fail, and is not here or not allowed');
    return;
  }
  const { store } = await openTestStore(t, { folder });
  await store.log.createStream(streamOptions());
  await store.close();
  const inject = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=fsync,fdatasync'];
  const failing = ['-e', 'inject=fsync,fdatasync:error=EIO:when=40+'];
  const child = startChild(t, 'strace', [
    ...inject,
    ...failing,
    process.execPath,
    '--import',
    'tsx',
    appendOne,
    folder,
  ]);
  const [, acknowledged] = await child.line(/^FAILED after (\d+): write-failed$/);
  assert.ok(Number(acknowledged) > 0);
  await child.line(/^THEN append: write-failed, transact: write-failed$/);
  await child.stop('SIGKILL');
  const { store: reopened } = await openTestStore(t, { folder });
  const [shard] = reopened.log.stream('readings').shards;
  assert.ok(shard!.nextSequence >= Number(acknowledged));
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
});
