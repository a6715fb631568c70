/**
 * The one error class of the storage layer, with a closed list of codes.
 *
 * Whether a failed call may be repeated as it stands is decided here and nowhere else.
 */
const codes = {
  /** A name, range or option that can never be right. */
  'invalid-argument': { retryable: false },
  /** No such stream, shard, camera, run, fragment or application. */
  'not-found': { retryable: false },
  /** It is there already, with other properties. */
  'already-exists': { retryable: false },
  /** The position asked for has been deleted by retention. */
  trimmed: { retryable: false },
  /** The shard was closed by a reshard: write to its children. */
  'shard-closed': { retryable: true },
  /** The lease went to another worker: neither checkpoint nor emit. */
  'lease-lost': { retryable: false },
  /** Another worker holds the lease. */
  'lease-held': { retryable: true },
  /** The stream's byte budget is used up and its policy is to refuse. */
  'stream-full': { retryable: true },
  /** The disk is full; deleting and retention still work. */
  'disk-full': { retryable: true },
  /** More is queued for the writer than its limit in bytes. */
  overloaded: { retryable: true },
  /** A batch or fragment whose checksum or shape is wrong. It is isolated; the rest is served. */
  corrupt: { retryable: false },
  /** What is encrypted does not open with the master key at hand. */
  'wrong-key': { retryable: false },
  /** The service that has the master key can't be reached, or does not let us use it. */
  'key-unavailable': { retryable: true },
  /** The folder of media files is not there, or another is in its place: its disk is away. */
  'media-missing': { retryable: true },
  /** A write or fsync failed. Nothing is acknowledged from here on until a restart. */
  'write-failed': { retryable: false },
  /** The store is closed or closing. */
  closed: { retryable: false },
  /** The files on disk were made by a newer version. */
  'version-too-new': { retryable: false },
} as const;

export type StorageErrorCode = keyof typeof codes;

export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly code: StorageErrorCode;

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  /** Whether the same call may succeed later. */
  get retryable(): boolean {
    return codes[this.code].retryable;
  }
}
