import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Fragment, Log } from '../../storage/model.ts';
import type { Store } from '../../storage/store.ts';
import { readAll } from '../ingest/mqtt/support.ts';
import { startChild } from '../support/child.ts';
import { compiled } from '../support/program.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ForeignFile, freeBytesOf, onSmallDisk } from '../support/small-disk.ts';
import { hourMs, openTestStore, streamOptions, type TestStore } from './support/open.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  parseFootage,
  recordGroups,
} from './video/footage.ts';

const run = promisify(execFile);
const MiB = 1024 * 1024;

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
  onSmallDisk(t, 24, async ({ mount }, scope) => {
    const options = { folder: mount, reserveBytes: 3 * MiB, video: { minFreeBytes: 0 } };
    await fillAndRecover(await openTestStore(scope, options));
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
  assert.equal(store.refusal, 'the disk is full: nothing is appended');
  await log.applications.checkpoint(lease, held);
  const read = { shardId: source.id, fromSequence: held - 1, maxRecords: 5, maxBytes: 1e6 };
  assert.equal((await log.read(read)).records.length, 1, 'all that was acknowledged is there');
  const { size } = await stat(join(folder, 'headgate.db'));

  clock.advance(25 * hourMs);
  await store.retention.run();
  await store.retention.run();
  assert.equal(log.shard(source.id).trimSequence, held);
  const [place] = await log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(10) }]);
  assert.equal(place?.sequence, held);
  assert.equal(store.refusal, null);
  const shrunk = (await stat(join(folder, 'headgate.db'))).size;
  assert.ok(shrunk < size / 10, `the database shrinks: ${shrunk} of ${size} bytes`);
  assert.ok(logger.lines.some(({ message }) => message.includes('room on the disk again')));
  for await (const finding of checkStore({ folder })) assert.fail(JSON.stringify(finding));
}

test('the last resort: with no byte free and the reserve gone, footage is unlinked before anything is written', (t) =>
  onSmallDisk(t, 24, async ({ mount }, scope) => {
    const opened = await openTestStore(scope, {
      ...{ folder: mount, reserveBytes: MiB, video: { minFreeBytes: MiB, mediaFileMs: 2000 } },
    });
    const { store, logger } = opened;
    await store.log.createStream(streamOptions());
    await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(1000) }]);
    const before = await recordFootage(store);
    await store.retention.run();
    const foreign = new ForeignFile(scope, mount);
    await eatReserve(mount, foreign);

    await assert.rejects(store.log.applications.ensure({ name: 'a', required: false }), diskFull);
    await store.retention.run();
    await store.retention.run();
    assert.ok(
      logger.lines.some(({ message }) => message.includes('the oldest footage was unlinked')),
      'it says what it did',
    );
    await store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(1000) }]);
    await store.log.applications.ensure({ name: 'a', required: false });
    const query = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };
    const left = await store.video.fragments(query);
    assert.ok(left.length > 0 && left.length < before.length, `${left.length} of ${before.length}`);
    assert.deepEqual(left, before.slice(-left.length), 'the oldest went');
    for (const fragment of left) await store.video.readFragment(fragment);
    await sound(mount);
  }));

test('with no byte free, no reserve and no footage it waits, and says so; room is all it takes', (t) =>
  onSmallDisk(t, 24, async ({ mount }, scope) => {
    const options = { folder: mount, reserveBytes: MiB, video: { minFreeBytes: 0 } };
    const opened = await openTestStore(scope, options);
    const append = (byte: number): Promise<unknown> =>
      opened.store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(9000, byte) }]);
    await opened.store.log.createStream(streamOptions());
    await append(1);
    await opened.store.retention.run();
    const foreign = new ForeignFile(scope, mount);
    await eatReserve(mount, foreign);

    await assert.rejects(append(2), diskFull);
    await opened.store.retention.run();
    await assert.rejects(append(3), diskFull);
    assert.equal(opened.store.refusal, 'the disk is full: nothing is appended');
    assert.equal((await readAll(opened.store.log, 'readings')).length, 1, 'reading goes on');
    const said = opened.logger.lines.filter(({ message }) =>
      message.startsWith('The disk is full'),
    );
    assert.equal(said.length, 1, 'once');

    await foreign.remove();
    await opened.store.retention.run();
    await append(4);
    await sound(mount);
  }));

test('a restart on a full disk gives up the reserve; without one it says what is the matter', (t) =>
  onSmallDisk(t, 24, async ({ mount }, scope) => {
    const options = { folder: mount, reserveBytes: MiB, video: { minFreeBytes: 0 } };
    const opened = await openTestStore(scope, options);
    await opened.store.log.createStream(streamOptions());
    const data = Buffer.alloc(9000, 1);
    await opened.store.log.append('readings', [{ partitionKey: 'k', data }]);
    await opened.store.retention.run();
    await opened.store.close();
    const foreign = new ForeignFile(scope, mount);
    await foreign.grow();
    const { log } = await opened.reopen();
    assert.equal((await readAll(log, 'readings')).length, 1, 'what is there is served');
    await assert.rejects(log.append('readings', [{ partitionKey: 'k', data }]), diskFull);
    await opened.store.close();

    await foreign.grow();
    await assert.rejects(opened.reopen(), (error: Error) => {
      assert.match(error.message, /is full, so the store can't be opened: make room on it/);
      return diskFull(error);
    });
    await assert.rejects(
      sound(mount),
      /is full, so the store can't be opened/,
      'check says so too',
    );
    await foreign.remove();
    const { log: again } = await opened.reopen();
    await opened.store.retention.run();
    await again.append('readings', [{ partitionKey: 'k', data }]);
    await sound(mount);
  }));

test('a stream at its budget says that it refuses, until something has gone', async (t) => {
  const { store, clock } = await openTestStore(t);
  await store.log.createStream(streamOptions({ maxBytes: 20_000 }));
  const refusing = (): boolean => store.log.stream('readings').refusing;
  const append = (): Promise<unknown> =>
    store.log.append('readings', [{ partitionKey: 'k', data: Buffer.alloc(6000) }]);
  await store.log.applications.ensure({ name: 'uplink', required: true });
  const [shard] = store.log.stream('readings').shards;
  const source = { kind: 'shard', id: shard!.id } as const;
  const lease = await store.log.applications.acquire('uplink', source, 'me', 1e9, 0);
  for (let count = 0; count < 3; count += 1) await append();
  assert.equal(refusing(), false);
  await assert.rejects(append(), { code: 'stream-full' });
  assert.equal(refusing(), true);
  await store.log.applications.checkpoint(lease, 3);
  clock.advance(25 * hourMs);
  await store.retention.run();
  assert.equal(refusing(), false);
  await append();
});

/** The disk is full, and what was kept back for that went to somebody else. */
async function eatReserve(mount: string, foreign: ForeignFile): Promise<void> {
  await unlink(join(mount, 'reserve'));
  await foreign.grow();
  assert.equal(await freeBytesOf(mount), 0);
}

/** About 6 MB in six files. */
async function recordFootage(store: Store): Promise<readonly Fragment[]> {
  const footage = parseFootage(
    await makeFootage({
      ...{ seconds: 12, size: '960x540', format: fragmentedFormat },
      video: ['-c:v', 'libx264', '-preset', 'ultrafast', '-qp', '12'],
    }),
  );
  await store.video.ensureCamera(cameraOptions('gate'));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  await recordGroups(run, footage, groupsOf(footage.chunks), newYearUs);
  await run.end('ended');
  return store.video.latestFragments('gate', 1000);
}

async function sound(folder: string): Promise<void> {
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
    compiled(appendOne),
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
