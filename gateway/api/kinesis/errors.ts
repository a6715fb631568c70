/**
 * What the Kinesis API answers when it can't do what was asked: the service's error types, with the
 * texts that clients and test suites match on. The types, statuses and texts are those of the
 * service model (2013-12-02) and of what the service was seen to answer.
 *
 * A request that is refused because the box is full or busy is told so with the service's throttling
 * error, because that is what every client slows down for and repeats.
 */
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { HttpError } from '../../http/errors.ts';
import { RequestError, ServiceError } from '../aws/errors.ts';

const statuses = {
  AccessDeniedException: 400,
  ExpiredIteratorException: 400,
  ExpiredNextTokenException: 400,
  InternalFailure: 500,
  InvalidArgumentException: 400,
  InvalidSignatureException: 400,
  KMSAccessDeniedException: 400,
  KMSInvalidStateException: 400,
  LimitExceededException: 400,
  MissingAuthenticationTokenException: 400,
  ProvisionedThroughputExceededException: 400,
  RequestEntityTooLargeException: 413,
  ResourceInUseException: 400,
  ResourceNotFoundException: 400,
  SerializationException: 400,
  ServiceUnavailable: 503,
  UnknownOperationException: 400,
  ValidationException: 400,
} as const;

export type KinesisErrorType = keyof typeof statuses;

/** An answer that is an error; operations throw it, routes.ts turns it into the answer. */
export class KinesisError extends ServiceError<KinesisErrorType> {
  override readonly name = 'KinesisError';

  /** @param message empty: the service sends the type alone */
  constructor(type: KinesisErrorType, message = '', options?: { cause?: unknown }) {
    super(type, statuses[type], message, options);
  }
}

export function invalidArgument(message: string): KinesisError {
  return new KinesisError('InvalidArgumentException', message);
}

export function notFound(message: string): KinesisError {
  return new KinesisError('ResourceNotFoundException', message);
}

const ofStorage: Readonly<Record<StorageErrorCode, KinesisErrorType>> = {
  'invalid-argument': 'InvalidArgumentException',
  'not-found': 'ResourceNotFoundException',
  'already-exists': 'ResourceInUseException',
  trimmed: 'InvalidArgumentException',
  'shard-closed': 'ServiceUnavailable',
  'lease-lost': 'ResourceInUseException',
  'lease-held': 'ResourceInUseException',
  'stream-full': 'ProvisionedThroughputExceededException',
  'disk-full': 'ProvisionedThroughputExceededException',
  overloaded: 'ProvisionedThroughputExceededException',
  corrupt: 'InternalFailure',
  'wrong-key': 'KMSInvalidStateException',
  'key-unavailable': 'ServiceUnavailable',
  'media-missing': 'ServiceUnavailable',
  'write-failed': 'InternalFailure',
  closed: 'ServiceUnavailable',
  'version-too-new': 'InternalFailure',
};

/** Any thrown value as a KinesisError, the original kept as its cause. */
export function toKinesisError(thrown: unknown): KinesisError {
  if (thrown instanceof KinesisError) return thrown;
  if (thrown instanceof RequestError) {
    return new KinesisError(thrown.type, thrown.message, { cause: thrown });
  }
  if (thrown instanceof StorageError) {
    const type = ofStorage[thrown.code];
    return new KinesisError(type, type === 'InternalFailure' ? '' : thrown.message, {
      cause: thrown,
    });
  }
  if (thrown instanceof HttpError && thrown.code === 'busy') {
    const message = 'Too much is being sent at this moment: try again.';
    return new KinesisError('ServiceUnavailable', message, { cause: thrown });
  }
  return new KinesisError('InternalFailure', '', { cause: thrown });
}
