/**
 * Which batches are encrypted on disk: those of the streams whose `encryption` says so, from the
 * moment it does. What a stream held before is the business of `resealing.ts`, the bytes of a sealed
 * batch of `sealed-batch.ts`, keys of `../keys.ts`.
 *
 * Invariants
 * - A batch of an encrypted stream is never written open: while its data key is not at hand the
 *   stream takes nothing.
 * - What was sealed stays sealed for as long as it is kept, also when its stream's encryption ends.
 */
import { StorageError } from '../errors.ts';
import type { Keyring, Sealed } from '../keys.ts';
import { isEncrypted } from './batch.ts';
import { openBatch, openBody, scopeOf, sealBatch } from './sealed-batch.ts';
import type { Shard, Stream } from './streams.ts';

export class Sealing {
  #keyring: Keyring | null = null;

  /** Nothing is sealed or opened before. */
  use(keyring: Keyring): void {
    this.#keyring = keyring;
  }

  /** Whether there is a master key at all. */
  get possible(): boolean {
    return this.#keyring !== null;
  }

  /** Whether batches of the stream are sealed from now on. */
  seals(stream: Stream): boolean {
    return stream.options.encryption === 'aes-256-gcm';
  }

  /** The data key that the stream's batches are sealed with now; 0: it is not at hand. */
  keyIdOf(streamId: number): number {
    return this.#keyring?.keyIdOf(scopeOf(streamId)) ?? 0;
  }

  /** @throws StorageError `key-unavailable` when batches of the stream have to be sealed and can't */
  checkReady(stream: Stream): void {
    if (!this.seals(stream) || this.#keyring?.canSeal(scopeOf(stream.id)) === true) return;
    throw new StorageError(
      'key-unavailable',
      `stream ${stream.options.name} is encrypted, and its data key is not at hand: nothing is appended to it`,
    );
  }

  /** Gets the data key of a stream, or makes it. @throws StorageError as `Keyring.ready` */
  async ready(streamId: number): Promise<void> {
    await this.#keys().ready(scopeOf(streamId));
  }

  /** @throws StorageError `key-unavailable`, `overloaded` */
  seal(shard: Shard, blob: Buffer): Buffer {
    return sealBatch(this.#keys(), placeOf(shard), blob);
  }

  /**
   * The open form of a batch; the batch itself, unlooked at, when it is not sealed.
   * @throws StorageError `corrupt`, `version-too-new`, `wrong-key`, `key-unavailable`
   */
  async open(shard: Shard, blob: Buffer): Promise<Buffer> {
    return isEncrypted(blob) ? openBatch(this.#keys(), placeOf(shard), blob) : blob;
  }

  /**
   * The opened body of a sealed batch that was verified.
   * @throws StorageError `corrupt`, `wrong-key`, `key-unavailable`
   */
  async openBody(shard: Shard, blob: Buffer, keyId: number): Promise<Buffer> {
    return openBody(this.#keys(), placeOf(shard), blob, keyId);
  }

  /**
   * What belongs to a stream beside its batches.
   * @param binding says what it is: it opens as nothing else
   * @throws StorageError `key-unavailable`, `overloaded`
   */
  sealBytes(streamId: number, bytes: Buffer, binding: Buffer): Sealed {
    return this.#keys().seal(scopeOf(streamId), bytes, binding);
  }

  /** @throws StorageError `corrupt`, `wrong-key`, `key-unavailable` */
  async openBytes(keyId: number, sealed: Buffer, binding: Buffer): Promise<Buffer> {
    return this.#keys().open(keyId, sealed, binding);
  }

  #keys(): Keyring {
    if (this.#keyring !== null) return this.#keyring;
    throw new StorageError('key-unavailable', 'there is no master key for what is encrypted');
  }
}

/** Whether an error says that something can't be opened with the keys at hand, be it whole or not. */
export function isKeyTrouble(error: unknown): error is StorageError {
  return (
    error instanceof StorageError &&
    (error.code === 'wrong-key' || error.code === 'key-unavailable')
  );
}

function placeOf({ id, stream }: Shard): { readonly streamId: number; readonly shardId: number } {
  return { streamId: stream.id, shardId: id };
}
