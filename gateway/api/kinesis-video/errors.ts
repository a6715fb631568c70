/**
 * What the Kinesis Video API answers when it can't do what was asked: the error types of the service
 * models (2017-09-30), with their statuses. The type goes into the header `x-amzn-ErrorType`, the
 * text into `Message`.
 */
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { HttpError } from '../../http/errors.ts';
import { RequestError, ServiceError, type RequestErrorType } from '../aws/errors.ts';
import { KinesisError, type KinesisErrorType } from '../kinesis/errors.ts';

const statuses = {
  AccountStreamLimitExceededException: 400,
  ClientLimitExceededException: 400,
  ConnectionLimitExceededException: 400,
  InternalFailure: 500,
  InvalidArgumentException: 400,
  InvalidCodecPrivateDataException: 400,
  InvalidMediaFrameException: 400,
  MissingAuthenticationTokenException: 403,
  NoDataRetentionException: 400,
  NotAuthorizedException: 403,
  RequestEntityTooLargeException: 413,
  ResourceInUseException: 400,
  ResourceNotFoundException: 404,
  SerializationException: 400,
  ServiceUnavailable: 503,
  TagsPerResourceExceededLimitException: 400,
  UnsupportedStreamMediaTypeException: 400,
  VersionMismatchException: 400,
} as const;

export type KinesisVideoErrorType = keyof typeof statuses;

/** An answer that is an error; operations throw it, routes.ts turns it into the answer. */
export class KinesisVideoError extends ServiceError<KinesisVideoErrorType> {
  override readonly name = 'KinesisVideoError';

  constructor(type: KinesisVideoErrorType, message: string, options?: { cause?: unknown }) {
    super(type, statuses[type], message, options);
  }
}

export function invalid(message: string): KinesisVideoError {
  return new KinesisVideoError('InvalidArgumentException', message);
}

export function notFound(message: string): KinesisVideoError {
  return new KinesisVideoError('ResourceNotFoundException', message);
}

const ofStorage: Readonly<Partial<Record<StorageErrorCode, KinesisVideoErrorType>>> = {
  'invalid-argument': 'InvalidArgumentException',
  'not-found': 'ResourceNotFoundException',
  'already-exists': 'ResourceInUseException',
  'disk-full': 'ServiceUnavailable',
  overloaded: 'ServiceUnavailable',
  'key-unavailable': 'ServiceUnavailable',
  closed: 'ServiceUnavailable',
};

const ofRequest: Readonly<Record<RequestErrorType, KinesisVideoErrorType>> = {
  ValidationException: 'InvalidArgumentException',
  SerializationException: 'SerializationException',
  RequestEntityTooLargeException: 'RequestEntityTooLargeException',
};

/** The tokens of pages are shared with Data Streams, and say its types. */
const ofKinesis: Readonly<Partial<Record<KinesisErrorType, KinesisVideoErrorType>>> = {
  InvalidArgumentException: 'InvalidArgumentException',
  ExpiredNextTokenException: 'InvalidArgumentException',
};

/** Any thrown value as one of ours, the original kept as its cause. */
export function toKinesisVideoError(thrown: unknown): KinesisVideoError {
  if (thrown instanceof KinesisVideoError) return thrown;
  const cause = { cause: thrown };
  if (thrown instanceof RequestError) {
    return new KinesisVideoError(ofRequest[thrown.type], thrown.message, cause);
  }
  if (thrown instanceof KinesisError) {
    const type = ofKinesis[thrown.type];
    if (type !== undefined) return new KinesisVideoError(type, thrown.message, cause);
  }
  if (thrown instanceof StorageError) {
    const type = ofStorage[thrown.code];
    if (type !== undefined) return new KinesisVideoError(type, thrown.message, cause);
  }
  if (thrown instanceof HttpError && thrown.code === 'busy') {
    return new KinesisVideoError('ServiceUnavailable', thrown.message, cause);
  }
  return new KinesisVideoError('InternalFailure', 'It failed here, not with you.', cause);
}
