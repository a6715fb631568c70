/**
 * What PutMedia tells a producer whose fragment can't be kept: the identifiers and codes of the
 * service (Kinesis Video Streams Developer Guide, PutMedia, error acknowledgements).
 */

const ids = {
  /** The connection broke while the body came. */
  STREAM_READ_ERROR: 4000,
  /** A fragment is larger than 50 MB, or has more frames than a camera sends. */
  MAX_FRAGMENT_SIZE_REACHED: 4001,
  /** A fragment is longer than 10 s. */
  MAX_FRAGMENT_DURATION_REACHED: 4002,
  /** The connection is as old as one may be. */
  MAX_CONNECTION_DURATION_REACHED: 4003,
  /** A fragment does not begin after the one before it. */
  FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS: 4004,
  /** More tracks than one of video and one of audio. */
  MORE_THAN_ALLOWED_TRACKS_FOUND: 4005,
  /** Not Matroska, or nothing that can be recorded. */
  INVALID_MKV_DATA: 4006,
  /** A time of the producer that no clock shows. */
  INVALID_PRODUCER_TIMESTAMP: 4007,
  /** The stream was deleted, or its camera is gone or set otherwise. */
  STREAM_NOT_ACTIVE: 4008,
  /** More tags, or longer ones, than a fragment may have. */
  FRAGMENT_METADATA_LIMIT_REACHED: 4009,
  /** A frame of a track that was not announced. */
  TRACK_NUMBER_MISMATCH: 4010,
  /** A fragment without a picture. */
  FRAMES_MISSING_FOR_TRACK: 4011,
  KMS_KEY_ACCESS_DENIED: 4500,
  KMS_KEY_DISABLED: 4501,
  KMS_KEY_VALIDATION_ERROR: 4502,
  KMS_KEY_UNAVAILABLE: 4503,
  KMS_KEY_INVALID_USAGE: 4504,
  KMS_KEY_INVALID_STATE: 4505,
  KMS_KEY_NOT_FOUND: 4506,
  INTERNAL_ERROR: 5000,
  /** The fragment could not be written. */
  ARCHIVAL_ERROR: 5001,
} as const;

export type PutMediaErrorCode = keyof typeof ids;

export class PutMediaError extends Error {
  override readonly name = 'PutMediaError';
  readonly code: PutMediaErrorCode;

  constructor(code: PutMediaErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }

  get id(): number {
    return ids[this.code];
  }
}
