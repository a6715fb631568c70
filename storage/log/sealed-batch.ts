/**
 * Batches with an encrypted body, made of open ones and back; these may be compressed. The layout is
 * in `batch.ts`; which batches are sealed is the business of `sealing.ts`.
 */
import type { Keyring } from '../keys.ts';
import { batchBody, sealedHeader, verifyBatch, withOpenedBody, withSealedBody } from './batch.ts';

/** Where a batch belongs: it opens nowhere else. */
export interface BatchPlace {
  readonly streamId: number;
  readonly shardId: number;
}

/** What has a data key of its own. */
export function scopeOf(streamId: number): string {
  return `stream/${streamId}`;
}

/** @throws StorageError `key-unavailable`, `overloaded` */
export function sealBatch(keyring: Keyring, place: BatchPlace, blob: Buffer): Buffer {
  const scope = scopeOf(place.streamId);
  return withSealedBody(blob, (body, header) =>
    keyring.seal(scope, body, bindingOf(place, header)),
  );
}

/**
 * The open form of a batch; the batch itself when it is not encrypted.
 * @throws StorageError `corrupt`, `version-too-new`, `wrong-key`, `key-unavailable`
 */
export async function openBatch(
  keyring: Keyring,
  place: BatchPlace,
  blob: Buffer,
): Promise<Buffer> {
  const { keyId } = verifyBatch(blob);
  if (keyId === null) return blob;
  return withOpenedBody(blob, await openBody(keyring, place, blob, keyId));
}

/**
 * The opened body of an encrypted batch that was verified.
 * @throws StorageError `corrupt`, `wrong-key`, `key-unavailable`
 */
export function openBody(
  keyring: Keyring,
  place: BatchPlace,
  blob: Buffer,
  keyId: number,
): Promise<Buffer> {
  return keyring.open(keyId, batchBody(blob), bindingOf(place, sealedHeader(blob)));
}

function bindingOf({ shardId }: BatchPlace, header: Buffer): Buffer {
  const shard = Buffer.alloc(8);
  shard.writeBigUInt64LE(BigInt(shardId));
  return Buffer.concat([shard, header]);
}
