/**
 * What the Firehose API answers when it can't do what was asked: the error types of the service model
 * (2015-08-04), with the texts that clients match on. Where the box is full or busy, a client is told
 * so with ServiceUnavailableException, because that is what all of them slow down for and repeat.
 */
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { HttpError } from '../../http/errors.ts';
import { AwsAuthError } from '../../security/aws-error.ts';
import { RequestError, ServiceError } from '../aws/errors.ts';
import type { ErrorAnswer } from '../aws/json-service.ts';

const statuses = {
  ConcurrentModificationException: 400,
  InternalFailure: 500,
  InvalidArgumentException: 400,
  InvalidKMSResourceException: 400,
  LimitExceededException: 400,
  MissingAuthenticationTokenException: 400,
  RequestEntityTooLargeException: 413,
  ResourceInUseException: 400,
  ResourceNotFoundException: 400,
  SerializationException: 400,
  ServiceUnavailableException: 503,
  UnknownOperationException: 400,
  ValidationException: 400,
} as const;

export type FirehoseErrorType = keyof typeof statuses;

/** An answer that is an error; operations throw it, routes.ts turns it into the answer. */
export class FirehoseError extends ServiceError<FirehoseErrorType> {
  override readonly name = 'FirehoseError';

  constructor(type: FirehoseErrorType, message: string, options?: { readonly cause?: unknown }) {
    super(type, statuses[type], message, options);
  }
}

export function invalid(message: string): FirehoseError {
  return new FirehoseError('InvalidArgumentException', message);
}

export function inUse(message: string): FirehoseError {
  return new FirehoseError('ResourceInUseException', message);
}

/** Not retried by clients: it takes somebody to switch it on. */
export function switchedOff(): FirehoseError {
  return new FirehoseError(
    'UnknownOperationException',
    'The Firehose API is switched off here (firehose.enabled of the configuration is false).',
  );
}

/** What a client that is slowed down is told. */
export const slowDown = 'Slow down.';

const ofStorage: Readonly<Partial<Record<StorageErrorCode, FirehoseErrorType>>> = {
  'invalid-argument': 'InvalidArgumentException',
  'not-found': 'ServiceUnavailableException',
  'already-exists': 'ResourceInUseException',
  'stream-full': 'ServiceUnavailableException',
  'disk-full': 'ServiceUnavailableException',
  overloaded: 'ServiceUnavailableException',
  'key-unavailable': 'ServiceUnavailableException',
  'wrong-key': 'InvalidKMSResourceException',
  closed: 'ServiceUnavailableException',
};

/** Any thrown value as a FirehoseError, the original kept as its cause. */
export function toFirehoseError(thrown: unknown): FirehoseError {
  if (thrown instanceof FirehoseError) return thrown;
  const cause = { cause: thrown };
  if (thrown instanceof RequestError) return new FirehoseError(thrown.type, thrown.message, cause);
  if (thrown instanceof StorageError) {
    const type = ofStorage[thrown.code];
    if (type !== undefined) {
      const message = type === 'ServiceUnavailableException' ? slowDown : thrown.message;
      return new FirehoseError(type, message, cause);
    }
  }
  if (thrown instanceof HttpError && thrown.code === 'busy') {
    return new FirehoseError('ServiceUnavailableException', slowDown, cause);
  }
  return new FirehoseError('InternalFailure', 'It failed here, not with you.', cause);
}

/** Any thrown value as an answer. */
export function toErrorAnswer(thrown: unknown): ErrorAnswer {
  if (thrown instanceof AwsAuthError) {
    const { type, message, status } = thrown;
    return { type, status, body: { __type: type, message }, ours: false, cause: undefined };
  }
  const { type, message, status, ours, cause } = toFirehoseError(thrown);
  // The service writes this one word with a capital in errors of types.
  const key = type === 'SerializationException' ? 'Message' : 'message';
  return { type, status, body: { __type: type, [key]: message }, ours, cause };
}
