/**
 * What the sinks that speak to AWS, or to servers that speak like it, have in common: how they
 * connect, whose name they use, and what an error of the SDK means.
 *
 * The SDK's own retries are off (one attempt per call): retrying is the workers' part, where it is
 * visible, counted, and called off at once. HTTP/1.1 is used everywhere: the Kinesis client's
 * default is HTTP/2 with prior knowledge, without a fallback, which servers other than AWS's
 * rarely speak, and the endpoint may come from the environment where we can't see it beforehand.
 */
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { SinkError, type SinkErrorCode } from '../sink.ts';

export interface AwsOptions {
  /** Left out: `AWS_REGION`, the shared configuration, the instance: the SDK's own order. */
  readonly region?: string;
  /** For anything that is not AWS itself, e.g. `http://minio:9000`. */
  readonly endpoint?: string;
  /** Left out: the SDK's own chain (environment, profiles, roles). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Until a connection stands. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Without a byte in either direction. Default 30 s. */
  readonly idleTimeoutMs?: number;
}

/** What the SDK has to say is said by the error as well, which our own log shows. */
const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

/** The part of a client's configuration that is the same for every service. */
export function awsClientConfig(options: AwsOptions): {
  requestHandler: NodeHttpHandler;
  maxAttempts: number;
  logger: typeof silent;
  region?: string;
  endpoint?: string;
  credentials?: { accessKeyId: string; secretAccessKey: string };
} {
  return {
    requestHandler: new NodeHttpHandler({
      connectionTimeout: options.connectTimeoutMs ?? 10_000,
      socketTimeout: options.idleTimeoutMs ?? 30_000,
    }),
    maxAttempts: 1,
    logger: silent,
    // A server of one's own knows no regions, but the signature needs one.
    ...(options.region !== undefined
      ? { region: options.region }
      : options.endpoint !== undefined && { region: 'us-east-1' }),
    ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
    ...(options.credentials !== undefined && { credentials: { ...options.credentials } }),
  };
}

/**
 * Runs one call of the SDK. It ends at once when the signal aborts, whatever the SDK is waiting
 * for, and fails with nothing but SinkErrors.
 */
export async function awsCall<T>(
  signal: AbortSignal,
  call: (abortSignal: AbortSignal) => Promise<T>,
): Promise<T> {
  const calledOff = (): boolean => signal.aborted;
  if (calledOff()) throw new SinkError('aborted', 'called off');
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(new SinkError('aborted', 'called off'));
    };
  });
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([call(signal), aborted]);
  } catch (error) {
    throw calledOff() ? new SinkError('aborted', 'called off') : awsSinkError(error);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

const byName: Readonly<Record<string, SinkErrorCode>> = {
  ProvisionedThroughputExceededException: 'throttled',
  LimitExceededException: 'throttled',
  KMSThrottlingException: 'throttled',
  ThrottlingException: 'throttled',
  TooManyRequestsException: 'throttled',
  SlowDown: 'throttled',
  RequestLimitExceeded: 'throttled',
  BandwidthLimitExceeded: 'throttled',
  TimeoutError: 'timeout',
  RequestTimeout: 'timeout',
  InternalFailure: 'unavailable',
  InternalError: 'unavailable',
  InternalFailureException: 'unavailable',
  ServiceUnavailable: 'unavailable',
  // The SDK corrects its idea of the time from this answer, so the next attempt may do.
  RequestTimeTooSkewed: 'unavailable',
  // The stream is being made or changed; it comes back by itself.
  ResourceInUseException: 'unavailable',
  BadDigest: 'unavailable',
  XAmzContentSHA256Mismatch: 'unavailable',
  IncompleteBody: 'unavailable',
  OperationAborted: 'unavailable',
  NoSuchBucket: 'missing',
  ResourceNotFoundException: 'missing',
  PermanentRedirect: 'missing',
  EntityTooLarge: 'too-large',
  CredentialsProviderError: 'denied',
  ExpiredToken: 'denied',
  ExpiredTokenException: 'denied',
  AccessDeniedException: 'denied',
  AccessDenied: 'denied',
  UnrecognizedClientException: 'denied',
  InvalidSignatureException: 'denied',
  KMSAccessDeniedException: 'denied',
  KMSDisabledException: 'denied',
  KMSInvalidStateException: 'denied',
  KMSNotFoundException: 'denied',
  KMSOptInRequired: 'denied',
};

/** The code that a service's error name stands for, or null. */
export function sinkErrorCodeOf(name: string): SinkErrorCode | null {
  return Object.hasOwn(byName, name) ? (byName[name] ?? null) : null;
}

function byStatus(status: number): SinkErrorCode {
  if (status === 429) return 'throttled';
  if (status === 503) return 'throttled';
  if (status >= 500) return 'unavailable';
  if (status === 401 || status === 403) return 'denied';
  if (status === 404 || status === 301) return 'missing';
  if (status === 413) return 'too-large';
  return 'rejected';
}

function awsSinkError(error: unknown): SinkError {
  if (error instanceof SinkError) return error;
  if (!(error instanceof Error)) {
    return new SinkError('unavailable', String(error), { cause: error });
  }
  const cause = { cause: error };
  const status = statusOf(error);
  // The SDK calls a connection that was reset a TimeoutError; it is not one.
  const broken = 'code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code));
  const code = broken ? 'unreachable' : sinkErrorCodeOf(error.name);
  if (code !== null) return new SinkError(code, `${error.name}: ${error.message}`, cause);
  if (status === null) {
    // The system's errors have a code; what has none never left this process.
    return new SinkError('code' in error ? 'unreachable' : 'rejected', describe(error), cause);
  }
  if (status < 300) {
    return new SinkError('unavailable', `an answer that can't be read: ${error.message}`, cause);
  }
  return new SinkError(byStatus(status), `${error.name} (${status}): ${error.message}`, cause);
}

/** The first sentence there is: an error for several addresses tried has no message of its own. */
function describe(error: Error): string {
  return error.message || ('code' in error ? String(error.code) : error.name);
}

function statusOf(error: Error): number | null {
  if (!('$metadata' in error)) return null;
  const metadata: unknown = error.$metadata;
  if (typeof metadata !== 'object' || metadata === null || !('httpStatusCode' in metadata)) {
    return null;
  }
  return typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : null;
}
