/**
 * What an HTTP client is told when something goes wrong: a closed list of codes, the status of
 * each, and the one table that maps the store's errors onto them. The AWS APIs have their own
 * shapes and do not come through here.
 *
 * What is not known to be the client's business ("internal") says nothing of its cause; the
 * cause is logged where the answer is made (app.ts).
 */
import { StorageError, type StorageErrorCode } from '../../storage/errors.ts';
import type { ApiError } from '../api/rest/error-schemas.ts';
import { ConfigError, showProblem } from '../config/problems.ts';

const statuses = {
  'bad-request': 400,
  unauthorized: 401,
  'wrong-origin': 403,
  'not-found': 404,
  'method-not-allowed': 405,
  'not-acceptable': 406,
  conflict: 409,
  'lease-held': 409,
  'lease-lost': 409,
  'parents-first': 409,
  trimmed: 410,
  'precondition-failed': 412,
  'too-large': 413,
  'unsupported-media-type': 415,
  'range-not-satisfiable': 416,
  'wrong-host': 421,
  'invalid-configuration': 422,
  'precondition-required': 428,
  'too-many-attempts': 429,
  corrupt: 500,
  internal: 500,
  busy: 503,
  unavailable: 503,
  'webrtc-unavailable': 503,
  'disk-full': 507,
} as const;

export type HttpErrorCode = keyof typeof statuses;
export type HttpErrorStatus = (typeof statuses)[HttpErrorCode];
export type ErrorDetail = ApiError['error']['details'][number];

const ofStorage: Readonly<Record<StorageErrorCode, HttpErrorCode>> = {
  'invalid-argument': 'bad-request',
  'not-found': 'not-found',
  'already-exists': 'conflict',
  trimmed: 'trimmed',
  'shard-closed': 'conflict',
  'lease-lost': 'lease-lost',
  'lease-held': 'lease-held',
  'stream-full': 'disk-full',
  'disk-full': 'disk-full',
  overloaded: 'busy',
  corrupt: 'corrupt',
  'wrong-key': 'unavailable',
  'key-unavailable': 'unavailable',
  'media-missing': 'unavailable',
  'write-failed': 'unavailable',
  closed: 'unavailable',
  'version-too-new': 'unavailable',
};

export interface HttpErrorOptions {
  readonly details?: readonly ErrorDetail[];
  /** Seconds after which the client may try again. */
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** An answer that is an error. Handlers throw it; app.ts turns it into the response. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly code: HttpErrorCode;
  readonly details: readonly ErrorDetail[];
  readonly retryAfterSeconds: number | null;

  constructor(code: HttpErrorCode, message: string, options: HttpErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.code = code;
    this.details = options.details ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds ?? null;
  }

  get status(): HttpErrorStatus {
    return statuses[this.code];
  }

  /** Whether it is ours to mend, and so belongs in the log. */
  get ours(): boolean {
    return this.code === 'internal' || this.code === 'corrupt' || this.code === 'unavailable';
  }

  body(): ApiError {
    return { error: { code: this.code, message: this.message, details: [...this.details] } };
  }
}

/** Any thrown value as an HttpError, the original kept as its cause. */
export function toHttpError(thrown: unknown): HttpError {
  if (thrown instanceof HttpError) return thrown;
  if (thrown instanceof StorageError) {
    return new HttpError(ofStorage[thrown.code], thrown.message, {
      cause: thrown,
      ...(thrown.retryable ? { retryAfterSeconds: 1 } : {}),
    });
  }
  if (thrown instanceof ConfigError) {
    return new HttpError('invalid-configuration', thrown.message, {
      cause: thrown,
      details: thrown.problems.map((problem) => ({
        ...{ field: problem.key, message: showProblem(problem) },
      })),
    });
  }
  return new HttpError('internal', 'Something went wrong in the gateway; its log says what.', {
    cause: thrown,
  });
}

/** What a request needs where there is a body to read. */
export const jsonWanted = 'it has to be JSON, sent with "content-type: application/json"';

/** The error as a web response, for where there is no Hono context. */
export function errorResponse(error: HttpError): Response {
  const headers: Record<string, string> = { 'cache-control': 'no-store' };
  if (error.retryAfterSeconds !== null) headers['retry-after'] = String(error.retryAfterSeconds);
  if (error.code === 'unauthorized') headers['www-authenticate'] = 'Bearer realm="headgate"';
  return Response.json(error.body(), { status: error.status, headers });
}
