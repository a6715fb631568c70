import assert from 'node:assert/strict';
import type { Dirent } from 'node:fs';
import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it, type TestContext } from 'node:test';
import { crc32 } from 'node:zlib';
import { checkStore } from '../../../storage/check.ts';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import type { Fragment, MediaFile } from '../../../storage/model.ts';
import { repairStore } from '../../../storage/repair.ts';
import { Database } from '../../../storage/sqlite.ts';
import { databaseFileName, type Store } from '../../../storage/store.ts';
import {
  decodeFragmentHeader,
  encodeFragmentHeader,
  fragmentHeaderBytes,
} from '../../../storage/video/fragment-header.ts';
import { mediaIdFile } from '../../../storage/video/media-disk.ts';
import { Scratch } from '../../../storage/video/scratch.ts';
import { filesWithAny } from '../../support/plaintext.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  fragmentedFormat,
  frameHashes,
  framePieces,
  groupsOf,
  makeFootage,
  mediaFolderOf,
  newYearUs,
  openFragment,
  openVideo,
  type OpenedStore,
  type ParsedFootage,
  parseFootage,
  recordGroups,
  underKey,
} from './footage.ts';

const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 10_000 };
const encrypted = cameraOptions('gate', { encryption: 'aes-256-gcm' });

describe('encrypted footage', () => {
  let raw: Buffer;
  let footage: ParsedFootage;
  before(async () => {
    raw = await makeFootage({ audio: ['-c:a', 'aac'], format: fragmentedFormat });
    footage = parseFootage(raw);
  });

  /** A closed store with a media file of six encrypted fragments. */
  async function closedStore(t: TestContext, options = encrypted): Promise<string> {
    const folder = join(await temporaryFolder(t), 'data');
    const { store } = await openVideo(t, folder, { masterKeys: underKey() });
    await store.video.ensureCamera(options);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    await recordGroups(recording, footage, groupsOf(footage.chunks), newYearUs);
    await recording.end('ended');
    await store.close();
    return folder;
  }

  async function opened(t: TestContext, folder: string): Promise<OpenedStore> {
    return openVideo(t, folder, { masterKeys: underKey() });
  }

  it('is nowhere in the open, also while its fragment is open, and comes back as it was', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await opened(t, join(folder, 'data'));
    await store.video.ensureCamera(encrypted);
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [first = [], ...rest] = groupsOf(footage.chunks);
    await openFragment(recording, footage, first, newYearUs);
    const pieces = framePieces(footage.chunks);
    assert.deepEqual(await filesWithAny(join(folder, 'data'), pieces), []);
    const durationUs = durationUsOf(footage, first);
    await recording.closeFragment({ durationUs, damaged: false });
    await recordGroups(recording, footage, rest, newYearUs + durationUs);
    assert.deepEqual(await filesWithAny(join(folder, 'data'), pieces), []);
    await recording.end('ended');
    assert.deepEqual(await filesWithAny(join(folder, 'data'), pieces), []);

    await writeFile(join(folder, 'source.mp4'), raw);
    const expected = await frameHashes(join(folder, 'source.mp4'));
    const hashes: string[] = [];
    for (const fragment of await store.video.fragments(everything)) {
      const { bytes } = await store.video.init(fragment.initId);
      const boxes = await store.video.readFragment(fragment);
      assert.equal(boxes.length, fragment.plainBytes);
      await writeFile(join(folder, 'one.mp4'), Buffer.concat([bytes, boxes]));
      hashes.push(...(await frameHashes(join(folder, 'one.mp4'))));
    }
    assert.deepEqual(hashes, expected);
    assert.deepEqual(await codesOf(join(folder, 'data')), []);
  });

  it('leaves as media files that stand alone, each fragment where the index has it', async (t) => {
    const folder = await closedStore(t);
    const { store } = await opened(t, folder);
    const { file, bytes } = await readFileOf(store);
    assert.equal(bytes.length, file.bytes);
    const out = join(folder, '..', 'out.mp4');
    await writeFile(out, bytes);
    await writeFile(join(folder, '..', 'source.mp4'), raw);
    assert.deepEqual(await frameHashes(out), await frameHashes(join(folder, '..', 'source.mp4')));
    for (const fragment of await store.video.fragments(everything)) {
      const boxes = await store.video.readFragment(fragment);
      const at = fragment.offset + fragmentHeaderBytes;
      assert.ok(bytes.subarray(at, at + boxes.length).equals(boxes));
    }

    // Whoever puts such a copy in the place of a file has a store that is whole.
    await writeFile(join(mediaFolderOf(folder), file.path), bytes);
    assert.deepEqual(await codesOf(folder), []);
    const again = await readFileOf(store);
    assert.ok(again.bytes.equals(bytes));
    const database = await Database.open(join(folder, databaseFileName));
    await database.exec('DELETE FROM media_file; DELETE FROM fragment');
    await database.close();
    await store.close();
    await repaired(folder);
    const { store: mended } = await opened(t, folder);
    assert.ok((await readFileOf(mended)).bytes.equals(bytes));
  });

  it('that was there before in the open stays readable, and what is encrypted when that ends', async (t) => {
    const folder = await temporaryFolder(t);
    const { store } = await opened(t, folder);
    const [first = [], second = [], third = []] = groupsOf(footage.chunks);
    let atUs = newYearUs;
    for (const [group, encryption] of [
      [first, 'none'],
      [second, 'aes-256-gcm'],
      [third, 'none'],
    ] as const) {
      await store.video.ensureCamera(cameraOptions('gate', { encryption }));
      const recording = await beginRun(store, 'gate', footage, atUs);
      atUs = await recordGroups(
        recording,
        footage,
        [group],
        recording.free.fromUs > atUs ? recording.free.fromUs : atUs,
      );
      await recording.end('ended');
    }
    const open = await Promise.all(
      [first, second, third].map((group) => filesWithAny(folder, framePieces(group))),
    );
    assert.deepEqual(
      open.map((files) => files.length),
      [1, 0, 1],
    );
    const fragments = await store.video.fragments(everything);
    const plain = await Promise.all(fragments.map((found) => store.video.readFragment(found)));
    const scratch = new Scratch();
    for (const [index, found] of fragments.entries()) {
      assert.deepEqual(await store.video.readFragment(found, scratch), plain[index]);
    }
    for (const [index, group] of [first, second, third].entries()) {
      assert.ok(framePieces(group).every((piece) => plain[index]?.includes(piece) === true));
    }
    assert.deepEqual(await codesOf(folder), []);
  });

  it('is not recorded without its key, and reading it then is no damage', async (t) => {
    const folder = await closedStore(t);
    const { store, metrics } = await openVideo(t, folder);
    await assert.rejects(store.video.startRun('gate', newYearUs), storageError('key-unavailable'));
    const [fragment] = await store.video.fragments(everything);
    await assert.rejects(store.video.readFragment(fragment!), storageError('key-unavailable'));
    const [file] = await store.video.closedMediaFiles(1, 0, 10);
    const read = async (): Promise<void> => {
      for await (const piece of store.video.readMediaFile(file!.id)) assert.ok(piece.length > 0);
    };
    await assert.rejects(read(), storageError('key-unavailable'));
    assert.equal(metrics.values.get('headgate_video_corrupt_total{camera="gate"}'), undefined);
    assert.deepEqual(store.losses.report(), []);
    await store.close();
    await assert.rejects(
      openVideo(t, folder, { masterKeys: underKey(2) }),
      storageError('wrong-key'),
    );
  });

  it('that is damaged is found and marked without a key, and costs its own fragment', async (t) => {
    const folder = await closedStore(t);
    const path = await onlyMediaFile(folder);
    const { store } = await opened(t, folder);
    const fragments = await store.video.fragments(everything);
    await store.close();
    const bytes = await readFile(path);
    const at = fragments[2]!.offset + 1000;
    bytes[at] = (bytes[at] ?? 0) ^ 4;
    await writeFile(path, bytes);
    assert.deepEqual(await codesOf(folder), ['fragment-corrupt']);
    await repaired(folder);
    assert.deepEqual(await codesOf(folder), []);
    const { store: mended } = await opened(t, folder);
    assert.deepEqual(await readable(mended, fragments), [true, true, false, true, true, true]);
  });

  it('gets its rows back without a key', async (t) => {
    const folder = await closedStore(t);
    const { store } = await opened(t, folder);
    const before = await store.video.fragments(everything);
    await store.close();
    const database = await Database.open(join(folder, databaseFileName));
    await database.exec('DELETE FROM media_file; DELETE FROM fragment; DELETE FROM run');
    await database.close();
    await repaired(folder);
    assert.deepEqual(await codesOf(folder), []);
    const { store: mended } = await opened(t, folder);
    assert.deepEqual(await mended.video.fragments(everything), before);
    assert.deepEqual(
      await readable(mended, before),
      before.map(() => true),
    );
  });

  it('whose data key is lost is told, marked as lost, and not taken in again', async (t) => {
    const folder = await closedStore(t);
    const database = await Database.open(join(folder, databaseFileName));
    await database.exec('DELETE FROM data_key; DELETE FROM data_key_copy');
    await database.close();
    assert.deepEqual(await codesOf(folder), ['key-trouble']);
    const copy = `${folder}-without-rows`;
    await cp(folder, copy, { recursive: true });
    const said = await repaired(folder);
    assert.equal(said.filter((text) => text.includes('its data key 1 is lost')).length, 6);
    assert.deepEqual(await codesOf(folder), []);

    const other = await Database.open(join(copy, databaseFileName));
    await other.exec('DELETE FROM media_file; DELETE FROM fragment; DELETE FROM run');
    await other.close();
    assert.ok((await repaired(copy)).some((text) => text.includes("can't be: it was moved to")));
    assert.deepEqual(await codesOf(copy), []);
  });

  it('opens nowhere but in its place', async (t) => {
    const folder = await closedStore(t);
    const path = await onlyMediaFile(folder);
    const { store } = await opened(t, folder);
    const [first, second] = await store.video.fragments(everything);
    const bytes = await readFile(path);
    const from = first!.offset + fragmentHeaderBytes;
    const chunkBytes = bytes.readUInt32BE(from);
    // The first chunk as the first of another fragment, with all checksums right.
    const to = second!.offset + fragmentHeaderBytes;
    const body = Buffer.concat([
      bytes.subarray(from, from + chunkBytes),
      bytes.subarray(to + bytes.readUInt32BE(to), second!.offset + second!.storedBytes),
    ]);
    const header = decodeFragmentHeader(bytes.subarray(second!.offset))!;
    const moved = encodeFragmentHeader({ ...header, bodyBytes: body.length, crc: crc32(body) });
    const stored = Buffer.concat([moved, body]);
    await writeFile(path, Buffer.concat([bytes.subarray(0, second!.offset), stored]));
    const sizes = [chunkBytes - 100, ...second!.chunks.slice(1).map(({ bytes: size }) => size)];
    const changed: Fragment = {
      ...second!,
      storedBytes: stored.length,
      plainBytes: sizes.reduce((sum, size) => sum + size, 0),
    };
    await assert.rejects(store.video.readFragment(changed), storageError('corrupt', 'was changed'));
    await store.video.readFragment(first!);
  });

  it('is out of reach for good once its camera is deleted', async (t) => {
    const folder = await closedStore(t);
    const { store } = await opened(t, folder);
    const keys = (): Promise<readonly unknown[]> =>
      store.queries.all('SELECT id FROM data_key UNION ALL SELECT id FROM data_key_copy');
    assert.equal((await keys()).length, 2);
    await store.video.deleteCamera('gate');
    assert.deepEqual(await keys(), []);
  });
});

async function readFileOf(store: Store): Promise<{ file: MediaFile; bytes: Buffer }> {
  const [file, ...more] = await store.video.closedMediaFiles(1, 0, 10);
  assert.ok(file !== undefined && more.length === 0);
  const pieces: Buffer[] = [];
  for await (const piece of store.video.readMediaFile(file.id)) pieces.push(piece);
  return { file, bytes: Buffer.concat(pieces) };
}

async function readable(store: Store, fragments: readonly Fragment[]): Promise<readonly boolean[]> {
  return Promise.all(
    fragments.map((fragment) =>
      store.video.readFragment(fragment).then(
        () => true,
        () => false,
      ),
    ),
  );
}

async function onlyMediaFile(folder: string): Promise<string> {
  const entries = await readdir(mediaFolderOf(folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name !== mediaIdFile);
  assert.equal(files.length, 1);
  const [file] = files as [Dirent];
  return join(file.parentPath, file.name);
}

async function codesOf(folder: string): Promise<readonly string[]> {
  const codes: string[] = [];
  for await (const { code } of checkStore({ folder })) codes.push(code);
  return codes;
}

async function repaired(folder: string): Promise<readonly string[]> {
  const said: string[] = [];
  const options = { folder, mediaFolder: mediaFolderOf(folder), nowMs: newYearUs / 1000 };
  for await (const sentence of repairStore(options)) said.push(sentence);
  return said;
}

function storageError(code: StorageErrorCode, part = '') {
  return (error: unknown): boolean => {
    assert.ok(error instanceof StorageError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(part), error.message);
    return true;
  };
}
