/**
 * The body of a fragment as it lies in a media file, which is what follows its header: chunks, each
 * in the open (moof + mdat) or encrypted (`encrypted-chunk.ts`). Where a copy in the open was put in
 * the place of an encrypted one, a `free` box makes up for the difference.
 */
import { StorageError } from '../errors.ts';
import type { Keyring } from '../keys.ts';
import { type InitSegment, Mp4Error, readBoxHeader } from './boxes.ts';
import type { ChunkFacts } from './chunk-facts.ts';
import {
  decryptChunk,
  isEncryptedChunk,
  readEncryptedChunk,
  wholeEncryptedChunk,
} from './encrypted-chunk.ts';
import { readChunk } from './fragment-builder.ts';
import type { Scratch } from './scratch.ts';

export interface StoredChunk {
  /** As they lie on disk. */
  readonly bytes: Buffer;
  readonly facts: ChunkFacts;
  /** The data key; null: it is in the open. */
  readonly keyId: number | null;
}

/** After so many bytes others get their turn. */
const decryptedAtOnceBytes = 4 * 1024 * 1024;

/** From the beginning of a body to its last whole chunk. No key is needed for it. */
export function* storedChunks(init: InitSegment, body: Buffer): Generator<StoredChunk, void> {
  for (let at = 0; at < body.length;) {
    const chunk = isEncryptedChunk(body, at) ? encryptedAt(body, at) : openAt(init, body, at);
    if (chunk === null) return;
    yield chunk;
    at += chunk.bytes.length;
  }
}

/** The data keys that a body is encrypted with. */
export function dataKeysOf(body: Buffer): ReadonlySet<number> {
  const keyIds = new Set<number>();
  for (let at = 0; at < body.length;) {
    const box = wholeEncryptedChunk(body, at);
    if (box === null) break;
    keyIds.add(readEncryptedChunk(box).keyId);
    at += box.length;
  }
  return keyIds;
}

/** Whether nothing of it can be read without a key. */
export function isEncryptedBody(body: Buffer): boolean {
  return isEncryptedChunk(body, 0);
}

/**
 * The boxes of a fragment in the open.
 * @param fragment its number
 * @param plainBytes how many there are, as the index has it
 * @param scratch where they are then, if they were encrypted; left out: in memory of their own
 * @throws StorageError `corrupt`, `wrong-key`, `key-unavailable`
 */
export async function openBody(
  keyring: Keyring | null,
  fragment: number,
  body: Buffer,
  plainBytes: number,
  scratch?: Scratch,
): Promise<Buffer> {
  if (!isEncryptedBody(body)) return body.subarray(0, plainBytes);
  const plain = scratch?.take('plain', plainBytes) ?? Buffer.allocUnsafe(plainBytes);
  let done = 0;
  let sinceTurnBytes = 0;
  let position = 0;
  for (let at = 0; at < body.length;) {
    const box = wholeEncryptedChunk(body, at);
    if (box === null) throw new StorageError('corrupt', 'a chunk of it is damaged');
    const chunk = await decryptChunk(keyring, { fragment, position }, box);
    if (chunk.length > plainBytes - done) break;
    done += chunk.copy(plain, done);
    at += box.length;
    position += 1;
    sinceTurnBytes += box.length;
    if (sinceTurnBytes < decryptedAtOnceBytes) continue;
    sinceTurnBytes = 0;
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (done === plainBytes) return plain;
  throw new StorageError('corrupt', 'its chunks are not those of the index');
}

function encryptedAt(body: Buffer, at: number): StoredChunk | null {
  const bytes = wholeEncryptedChunk(body, at);
  return bytes === null ? null : { bytes, ...readEncryptedChunk(bytes) };
}

/** One moof with its mdat. */
function openAt(init: InitSegment, body: Buffer, at: number): StoredChunk | null {
  try {
    const moof = readBoxHeader(body, at);
    if (moof?.type !== 'moof' || moof.sizeBytes > body.length - at) return null;
    const mdat = readBoxHeader(body, at + moof.sizeBytes);
    const end = at + moof.sizeBytes + (mdat?.sizeBytes ?? 0);
    if (mdat?.type !== 'mdat' || end > body.length) return null;
    const bytes = body.subarray(at, end);
    return { bytes, facts: readChunk(init, bytes).facts, keyId: null };
  } catch (error) {
    if (error instanceof Mp4Error) return null;
    throw error;
  }
}
