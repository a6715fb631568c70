/**
 * Reads fragments and whole media files, checking what comes off the disk.
 *
 * A file that is being read is left alone by retention until the reader is done; one that is
 * unlinked all the same (its camera was deleted) stays readable to the reader that has it open.
 */
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { StorageError } from '../errors.ts';
import type { Fragment } from '../model.ts';
import type { VideoContext } from './context.ts';
import {
  decodeFragmentHeader,
  encodeFragmentHeader,
  fragmentHeaderBytes,
} from './fragment-header.ts';
import { mediaFilePath, openMediaFile } from './media-files.ts';
import type { Scratch } from './scratch.ts';
import { isEncryptedBody, openBody } from './stored-chunks.ts';

/**
 * The plain boxes of a fragment.
 * @param scratch where they are then, until it is used again; left out: in memory of their own
 * @throws StorageError `not-found`, `corrupt`, `wrong-key`, `key-unavailable`, `media-missing`
 */
export async function readFragment(
  context: VideoContext,
  fragment: Fragment,
  scratch?: Scratch,
): Promise<Buffer> {
  try {
    return await withFile(context, fragment.mediaFileId, async (handle) => {
      const stored = await readStored(handle, fragment, scratch);
      const problem = damageOf(stored, fragment);
      if (problem === null) return await openStored(context, stored, fragment, scratch);
      throw new StorageError('corrupt', `fragment ${fragment.number}: ${problem}`);
    });
  } catch (error) {
    if (error instanceof StorageError && error.code === 'corrupt') {
      const { number, camera, storedBytes } = fragment;
      reportDamage(context, { number, camera, bytes: storedBytes }, error.message);
    }
    throw error;
  }
}

/**
 * A media file from its first byte to the end of the last of `fragments`, in the open, in the order
 * of the file and with every offset as the index has it: where encryption made a fragment longer, a
 * `free` box makes up for it. A fragment that is corrupt on disk comes as a `free` box of the same
 * size, and so does what lies between two of them: players pass it over, and one bad sector costs two
 * seconds, not the file.
 * @throws StorageError `not-found`, `wrong-key`, `key-unavailable`, `media-missing`
 */
export async function* readMediaFile(
  context: VideoContext,
  mediaFileId: number,
  fragments: readonly Fragment[],
): AsyncGenerator<Buffer, void> {
  const { handle, release } = await openFile(context, mediaFileId);
  try {
    const initBytes = fragments[0]?.offset ?? 0;
    yield await readRange(handle, 0, initBytes);
    let at = initBytes;
    for (const fragment of fragments) {
      const { offset, storedBytes } = fragment;
      if (offset >= at + freeHeaderBytes) yield freeBox(offset - at);
      yield* storedInTheOpen(context, handle, fragment);
      at = offset + storedBytes;
    }
  } finally {
    await release();
  }
}

/** A fragment with its header, as many bytes as it has on disk. */
async function* storedInTheOpen(
  context: VideoContext,
  handle: FileHandle,
  fragment: Fragment,
): AsyncGenerator<Buffer, void> {
  const { number, camera, storedBytes } = fragment;
  const stored = await readStored(handle, fragment);
  let problem = damageOf(stored, fragment);
  if (problem === null) {
    try {
      yield* inTheOpen(stored, await openStored(context, stored, fragment));
      return;
    } catch (error) {
      if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
      problem = error.message;
    }
  }
  reportDamage(context, { number, camera, bytes: storedBytes }, problem);
  yield freeBox(storedBytes);
}

/** What is stored, with the boxes of its body in the open, and a header that says so. */
function* inTheOpen(stored: Buffer, plain: Buffer): Generator<Buffer, void> {
  const header = decodeFragmentHeader(stored);
  const missingBytes = stored.length - fragmentHeaderBytes - plain.length;
  if (header === null || missingBytes === 0 || !isEncryptedBody(bodyOf(stored))) {
    yield stored;
    return;
  }
  const rest = freeBox(missingBytes);
  yield encodeFragmentHeader({ ...header, crc: crc32(rest, crc32(plain)) });
  yield plain;
  yield rest;
}

function openStored(
  { keyring }: VideoContext,
  stored: Buffer,
  { number, plainBytes }: Fragment,
  scratch?: Scratch,
): Promise<Buffer> {
  return openBody(keyring, number, bodyOf(stored), plainBytes, scratch);
}

/** What follows the header of a fragment. */
export function bodyOf(stored: Buffer): Buffer {
  return stored.subarray(fragmentHeaderBytes);
}

/** What is wrong with the stored bytes of a fragment; null when nothing is. */
export function damageOf(stored: Buffer, fragment: Fragment): string | null {
  if (stored.length < fragment.storedBytes) return 'its media file is too short';
  const header = decodeFragmentHeader(stored.subarray(0, fragmentHeaderBytes));
  if (header === null) return 'its header is damaged';
  if (!header.sealed || header.number !== fragment.number) return 'another header is in its place';
  const body = bodyOf(stored);
  if (header.bodyBytes !== body.length) return 'its size differs from the index';
  return crc32(body) === header.crc ? null : 'its checksum is wrong';
}

/** The bytes of a fragment with its header; fewer where the file ends before. */
export function readStored(
  handle: FileHandle,
  { offset, storedBytes }: Fragment,
  scratch?: Scratch,
): Promise<Buffer> {
  return readRange(handle, offset, storedBytes, scratch);
}

async function withFile<T>(
  context: VideoContext,
  mediaFileId: number,
  work: (handle: FileHandle) => Promise<T>,
): Promise<T> {
  const { handle, release } = await openFile(context, mediaFileId);
  try {
    return await work(handle);
  } finally {
    await release();
  }
}

async function openFile(
  context: VideoContext,
  mediaFileId: number,
): Promise<{ handle: FileHandle; release: () => Promise<void> }> {
  const { reading } = context;
  reading.set(mediaFileId, (reading.get(mediaFileId) ?? 0) + 1);
  const leave = (): void => {
    const readers = (reading.get(mediaFileId) ?? 1) - 1;
    if (readers === 0) reading.delete(mediaFileId);
    else reading.set(mediaFileId, readers);
  };
  try {
    const row = await context.reader.get<{ path: string }>(
      'SELECT path FROM media_file WHERE id = ?',
      mediaFileId,
    );
    if (row === undefined) throw new StorageError('not-found', `no media file ${mediaFileId}`);
    const handle = await openExisting(context, mediaFilePath(context.folder, row.path));
    const release = async (): Promise<void> => {
      leave();
      await handle.close();
    };
    return { handle, release };
  } catch (error) {
    leave();
    throw error;
  }
}

async function openExisting({ disk }: VideoContext, path: string): Promise<FileHandle> {
  let handle: FileHandle | null;
  try {
    handle = await openMediaFile(path, 'read');
  } catch (error) {
    await disk.check();
    throw new StorageError('corrupt', `the media file ${path} can't be opened`, { cause: error });
  }
  if (handle !== null) return handle;
  await disk.check();
  throw new StorageError('corrupt', `the media file ${path} is not there`);
}

async function readRange(
  handle: FileHandle,
  from: number,
  length: number,
  scratch?: Scratch,
): Promise<Buffer> {
  const bytes = scratch?.take('stored', length) ?? Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, from + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

const freeHeaderBytes = 8;

function freeBox(sizeBytes: number): Buffer {
  const box = Buffer.alloc(sizeBytes);
  box.writeUInt32BE(sizeBytes, 0);
  box.write('free', 4, 'latin1');
  return box;
}

/** Enters damage that was come upon into the account of losses. */
export function reportDamage(
  context: VideoContext,
  {
    number,
    camera,
    bytes,
  }: { readonly number: number; readonly camera: string; readonly bytes: number },
  problem: string,
): void {
  context.metrics.corrupt.add(1, { camera });
  context.losses.addDamage('fragments-corrupt', camera, String(number), { bytes });
  context.logger.error({ camera, fragment: number, problem }, 'A stored fragment is corrupt.');
}
