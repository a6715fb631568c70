import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { folderSink, tryFolder } from '../../../../gateway/forward/sinks/folder/folder-sink.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { uploadOf } from '../support/uploads.ts';

const never = new AbortController().signal;

/** A small file system of its own, or null where we may not mount one. */
async function smallDisk(context: TestContext): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'headgate-test-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', folder], { stdio: 'ignore' });
  } catch {
    await rmdir(folder);
    return null;
  }
  context.after(async () => {
    execFileSync('umount', [folder]);
    await rmdir(folder);
  });
  return folder;
}

test('a full disk is told, leaves nothing behind, and is no obstacle once there is room', async (context) => {
  const disk = await smallDisk(context);
  if (disk === null) {
    context.skip('mounting a small file system needs root');
    return;
  }
  const sink = folderSink({ path: disk });
  await assert.rejects(sink.put(uploadOf('a/big', Buffer.alloc(2 * 1024 ** 2, 1)), never), {
    code: 'full',
    retryable: true,
    // The reason first: it is what a narrow column shows.
    message: 'ENOSPC: no space left on device; could not keep a/big',
  });
  assert.deepEqual(await readdir(join(disk, 'a')), []);
  await sink.put(uploadOf('a/big', Buffer.alloc(500_000, 1)), never);
  assert.deepEqual(await readdir(join(disk, 'a')), ['big']);
});

test('a read-only place is told', async (context) => {
  const disk = await smallDisk(context);
  if (disk === null) {
    const folder = await temporaryFolder(context);
    await chmod(folder, 0o500);
    const error = { code: 'denied', retryable: false };
    await assert.rejects(
      folderSink({ path: folder }).put(uploadOf('k', Buffer.of(1)), never),
      error,
    );
    return;
  }
  execFileSync('mount', ['-o', 'remount,ro', disk]);
  await assert.rejects(folderSink({ path: disk }).put(uploadOf('k', Buffer.of(1)), never), {
    code: 'denied',
    retryable: false,
    advice: 'The disk of to.folder.path is mounted read-only: check it, and mount it writable.',
  });
  await assert.rejects(tryFolder(join(disk, 'below')), {
    code: 'denied',
    message: `EROFS: read-only file system; nothing can be written in ${disk}`,
  });
});

test('a file where a folder should be is told', async (context) => {
  const folder = await temporaryFolder(context);
  await writeFile(join(folder, 'a'), '');
  await assert.rejects(folderSink({ path: folder }).put(uploadOf('a/k', Buffer.of(1)), never), {
    code: 'rejected',
  });
  for (const path of [join(folder, 'a'), join(folder, 'a', 'b')]) {
    await assert.rejects(tryFolder(path), { code: 'rejected', advice: /A file lies where/ });
  }
});

test('a file system in which no folder can be made is told, and not asked for ever', async (context) => {
  if (process.platform !== 'linux') {
    context.skip('needs /proc, which Linux has');
    return;
  }
  const error = {
    code: 'rejected',
    message: 'ENOENT: no folder can be made in /proc',
    advice: 'Choose another to.folder.path.',
  };
  const sink = folderSink({ path: '/proc/foo' });
  await assert.rejects(sink.put(uploadOf('a/b/k', Buffer.of(1)), never), error);
  await assert.rejects(tryFolder('/proc/foo'), error);
});

test('folders are made as deep as a key goes, and trying one leaves nothing', async (context) => {
  const folder = await temporaryFolder(context);
  assert.equal(await tryFolder(folder), true);
  assert.equal(await tryFolder(join(folder, 'x', 'y')), false);
  assert.deepEqual(await readdir(folder), []);
  await folderSink({ path: join(folder, 'x') }).put(uploadOf('a/b/c/k', Buffer.of(1)), never);
  assert.deepEqual(await readFile(join(folder, 'x/a/b/c/k')), Buffer.of(1));
});

test('no key leads out of the folder', async (context) => {
  const folder = join(await temporaryFolder(context), 'root');
  const sink = folderSink({ path: folder });
  for (const key of ['../k', 'a/../../k', 'a/./k', 'a/', '', 'k\0']) {
    await assert.rejects(sink.put(uploadOf(key, Buffer.of(1)), never), { code: 'rejected' }, key);
  }
  assert.deepEqual(await readdir(join(folder, '..')), []);
});

test('what a crash left half written is replaced', async (context) => {
  const folder = await temporaryFolder(context);
  await writeFile(join(folder, '.k.part'), 'half of somethi');
  await folderSink({ path: folder }).put(uploadOf('k', Buffer.from('whole')), never);
  assert.deepEqual(await readdir(folder), ['k']);
});
