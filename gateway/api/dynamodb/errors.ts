/**
 * What the lease tables answer when they can't do what was asked: DynamoDB's error types, by the
 * names and with the prefixes that it sends, and the texts that clients match on. The types are
 * those of the service model (2012-08-10).
 *
 * Where the box is full or busy a client is told so with the error that all of them slow down for
 * and repeat.
 */
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import { HttpError } from '../../http/errors.ts';
import { AwsAuthError } from '../../security/aws-error.ts';
import { RequestError, ServiceError } from '../aws/errors.ts';
import type { Item } from './values.ts';

const service = 'com.amazonaws.dynamodb.v20120810#';
const coral = 'com.amazon.coral.service#';

const types = {
  AccessDeniedException: { prefix: coral, status: 400 },
  ConditionalCheckFailedException: { prefix: service, status: 400 },
  InternalServerError: { prefix: service, status: 500 },
  LimitExceededException: { prefix: service, status: 400 },
  MissingAuthenticationTokenException: { prefix: coral, status: 400 },
  ProvisionedThroughputExceededException: { prefix: service, status: 400 },
  RequestEntityTooLargeException: { prefix: coral, status: 413 },
  ResourceInUseException: { prefix: service, status: 400 },
  ResourceNotFoundException: { prefix: service, status: 400 },
  SerializationException: { prefix: coral, status: 400 },
  ServiceUnavailable: { prefix: coral, status: 503 },
  UnknownOperationException: { prefix: coral, status: 400 },
  ValidationException: { prefix: 'com.amazon.coral.validate#', status: 400 },
} as const;

export type DynamoDbErrorType = keyof typeof types;

/** An answer that is an error; operations throw it, routes.ts turns it into the answer. */
export class DynamoDbError extends ServiceError<DynamoDbErrorType> {
  override readonly name = 'DynamoDbError';
  /** The item on which a condition failed, where that was asked for. */
  readonly item: Item | null;

  constructor(
    type: DynamoDbErrorType,
    message: string,
    options: { cause?: unknown; item?: Item | null } = {},
  ) {
    super(type, types[type].status, message, options);
    this.item = options.item ?? null;
  }
}

export function invalid(message: string): DynamoDbError {
  return new DynamoDbError('ValidationException', message);
}

/** What most errors of values and parameters begin with. */
export function invalidParameters(what: string): DynamoDbError {
  return invalid(`One or more parameter values were invalid: ${what}`);
}

export function notFound(message = 'Requested resource not found'): DynamoDbError {
  return new DynamoDbError('ResourceNotFoundException', message);
}

export function conditionFailed(item: Item | null): DynamoDbError {
  const message = 'The conditional request failed';
  return new DynamoDbError('ConditionalCheckFailedException', message, { item });
}

const ofStorage: Readonly<Record<StorageErrorCode, DynamoDbErrorType>> = {
  'invalid-argument': 'ValidationException',
  'not-found': 'ResourceNotFoundException',
  'already-exists': 'ResourceInUseException',
  trimmed: 'ValidationException',
  'shard-closed': 'ServiceUnavailable',
  'lease-lost': 'ResourceInUseException',
  'lease-held': 'ResourceInUseException',
  'stream-full': 'LimitExceededException',
  'disk-full': 'ProvisionedThroughputExceededException',
  overloaded: 'ProvisionedThroughputExceededException',
  corrupt: 'InternalServerError',
  'wrong-key': 'InternalServerError',
  'key-unavailable': 'ServiceUnavailable',
  'media-missing': 'ServiceUnavailable',
  'write-failed': 'InternalServerError',
  closed: 'ServiceUnavailable',
  'version-too-new': 'InternalServerError',
};

export interface ErrorAnswer {
  /** Without its prefix. */
  readonly type: string;
  readonly fullType: string;
  readonly message: string;
  readonly status: number;
  readonly item: Item | null;
  /** It is ours to mend, and so belongs in the log. */
  readonly ours: boolean;
  readonly cause: unknown;
}

/** Any thrown value as an answer. */
export function toErrorAnswer(thrown: unknown): ErrorAnswer {
  if (thrown instanceof AwsAuthError) {
    const { type, message, status } = thrown;
    const fullType = `${coral}${type}`;
    return { type, fullType, message, status, item: null, ours: false, cause: undefined };
  }
  const { type, message, status, item, ours, cause } = toDynamoDbError(thrown);
  const fullType = `${types[type].prefix}${type}`;
  return { type, fullType, message, status, item, ours, cause };
}

function toDynamoDbError(thrown: unknown): DynamoDbError {
  if (thrown instanceof DynamoDbError) return thrown;
  if (thrown instanceof RequestError) {
    return new DynamoDbError(thrown.type, thrown.message, { cause: thrown });
  }
  if (thrown instanceof StorageError) {
    const type = ofStorage[thrown.code];
    const message = type === 'InternalServerError' ? 'Internal server error' : thrown.message;
    if (type === 'ResourceNotFoundException') return notFound();
    return new DynamoDbError(type, message, { cause: thrown });
  }
  if (thrown instanceof HttpError && thrown.code === 'busy') {
    const message = 'Too much is being sent at this moment: try again.';
    return new DynamoDbError('ServiceUnavailable', message, { cause: thrown });
  }
  return new DynamoDbError('InternalServerError', 'Internal server error', { cause: thrown });
}
