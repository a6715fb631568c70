/**
 * What the sinks that speak to AWS, or to servers that speak like it, have in common: how they
 * connect, whose name they use, and what an error of the SDK means.
 *
 * The SDK's own retries are off (one attempt per call): retrying is the workers' part, where it is
 * visible, counted, and called off at once. HTTP/1.1 is used everywhere: the Kinesis client's
 * default is HTTP/2 with prior knowledge, without a fallback, which servers other than AWS's
 * rarely speak, and the endpoint may come from the environment where we can't see it beforehand.
 */
import { defaultProvider } from '@aws-sdk/credential-provider-node';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { SinkError, type SinkErrorCode } from '../sink.ts';
import { adviceFor, type Service } from './advice.ts';
import { byCertificate } from './connection.ts';

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
function clientConfig(options: AwsOptions, requestHandler: NodeHttpHandler) {
  return {
    requestHandler,
    maxAttempts: 1,
    logger: silent,
    // A server of one's own knows no regions, but the signature needs one.
    ...(options.region !== undefined
      ? { region: options.region }
      : options.endpoint !== undefined && { region: 'us-east-1' }),
    ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
    // Files are read anew each time: somebody may have put new credentials there.
    credentials:
      options.credentials === undefined
        ? defaultProvider({ ignoreCache: true })
        : { ...options.credentials },
  };
}

export type ClientConfig = ReturnType<typeof clientConfig>;

/**
 * A client of one service. The SDK keeps the credentials that it has found for as long as they say
 * that they last, and those in files say nothing: so after a refusal the client is made anew, and
 * looks them up again. Connections are shared and outlive it.
 */
export class AwsClient<Client> {
  readonly #service: Service;
  readonly #make: () => Client;
  readonly #connections: NodeHttpHandler;
  #client: Client;

  constructor(service: Service, options: AwsOptions, make: (config: ClientConfig) => Client) {
    this.#service = service;
    this.#connections = new NodeHttpHandler({
      connectionTimeout: options.connectTimeoutMs ?? 10_000,
      socketTimeout: options.idleTimeoutMs ?? 30_000,
    });
    this.#make = () => make(clientConfig(options, this.#connections));
    this.#client = this.#make();
  }

  /**
   * Runs one call of the SDK. It ends at once when the signal aborts, whatever the SDK is waiting
   * for, and fails with nothing but SinkErrors.
   */
  async call<T>(
    signal: AbortSignal,
    work: (client: Client, abortSignal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const client = this.#client;
    try {
      return await unlessCalledOff(signal, this.#service, (abortSignal) =>
        work(client, abortSignal),
      );
    } catch (error) {
      const refused = error instanceof SinkError && error.code === 'credentials';
      if (refused && client === this.#client) this.#client = this.#make();
      throw error;
    }
  }

  close(): void {
    this.#connections.destroy();
  }
}

async function unlessCalledOff<T>(
  signal: AbortSignal,
  service: Service,
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
    throw calledOff() ? new SinkError('aborted', 'called off') : sinkErrorOf(error, service);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

const byName: Readonly<Record<string, SinkErrorCode>> = {
  ProvisionedThroughputExceededException: 'throttled',
  LimitExceededException: 'throttled',
  ClientLimitExceededException: 'throttled',
  ConnectionLimitExceededException: 'throttled',
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
  RequestTimeTooSkewed: 'clock',
  RequestExpired: 'clock',
  RequestInTheFuture: 'clock',
  // The stream is being made or changed; it comes back by itself.
  ResourceInUseException: 'unavailable',
  BadDigest: 'unavailable',
  XAmzContentSHA256Mismatch: 'unavailable',
  IncompleteBody: 'unavailable',
  OperationAborted: 'unavailable',
  InternalServerError: 'unavailable',
  NoSuchBucket: 'missing',
  ResourceNotFoundException: 'missing',
  PermanentRedirect: 'missing',
  AuthorizationHeaderMalformed: 'missing',
  EntityTooLarge: 'too-large',
  CredentialsProviderError: 'credentials',
  ExpiredToken: 'credentials',
  ExpiredTokenException: 'credentials',
  TokenRefreshRequired: 'credentials',
  InvalidAccessKeyId: 'credentials',
  InvalidClientTokenId: 'credentials',
  UnrecognizedClientException: 'credentials',
  SignatureDoesNotMatch: 'credentials',
  InvalidSignatureException: 'credentials',
  MissingAuthenticationTokenException: 'credentials',
  AccessDeniedException: 'denied',
  AccessDenied: 'denied',
  NotAuthorizedException: 'denied',
  KMSAccessDeniedException: 'denied',
  KMSDisabledException: 'denied',
  KMSInvalidStateException: 'denied',
  KMSNotFoundException: 'denied',
  KMSOptInRequired: 'denied',
  'KMS.DisabledException': 'denied',
  'KMS.NotFoundException': 'denied',
  'KMS.KMSInvalidStateException': 'denied',
  ValidationException: 'rejected',
  ItemCollectionSizeLimitExceededException: 'full',
  QuotaExceeded: 'full',
  XMinioStorageFull: 'full',
  XMinioAdminBucketQuotaExceeded: 'full',
  ...byCertificate,
};

function codeOf(name: string): SinkErrorCode | null {
  return Object.hasOwn(byName, name) ? (byName[name] ?? null) : null;
}

/** What a service says of one record of several. */
export function outcomeError(service: Service, name: string, message: string): SinkError {
  const advice = adviceFor(name, { service, region: null, clockOffsetMs: null });
  return new SinkError(codeOf(name) ?? 'unavailable', `${name}: ${message}`, { advice });
}

/** What an answer of a request of our own means that is not the wanted one. */
export function refusalError(
  service: Service,
  answer: {
    /** The service's name for it; null: it has none. */
    readonly name: string | null;
    readonly status: number;
    readonly message: string;
    readonly retryAfterMs: number | null;
  },
): SinkError {
  const { status, message, retryAfterMs } = answer;
  const circumstances = { service, region: null, clockOffsetMs: null };
  const name = answer.name === null ? null : toldApart(answer.name, message);
  const ofName = name === null ? null : adviceFor(name, circumstances);
  const ofStatus = status < 400 ? interception : adviceFor(`status ${status}`, circumstances);
  const code = (name === null ? null : codeOf(name)) ?? byStatus(status);
  return new SinkError(code, message, { advice: ofName ?? ofStatus, retryAfterMs });
}

function byStatus(status: number): SinkErrorCode {
  if (status === 408) return 'timeout';
  if (status === 429) return 'throttled';
  if (status === 503) return 'throttled';
  if (status === 507) return 'full';
  if (status >= 500) return 'unavailable';
  if (status === 401 || status === 403) return 'denied';
  if (status === 404 || status === 301) return 'missing';
  if (status === 413) return 'too-large';
  // Nothing that we speak to answers like this: something on the way does.
  if (status < 400) return 'unavailable';
  return 'rejected';
}

export const interception =
  'Something on the way answers in place of the destination: a login page of the network, or a proxy. Check the endpoint and the network.';

/** What an error of the SDK, of the system or of TLS means. */
export function sinkErrorOf(error: unknown, service: Service): SinkError {
  if (error instanceof SinkError) return error;
  if (!(error instanceof Error)) {
    return new SinkError('unavailable', String(error), { cause: error });
  }
  const status = statusOf(error);
  const reason = reasonOf(error, status);
  const headers = headersOf(error);
  const advice = adviceFor(reason, {
    service,
    region: headers['x-amz-bucket-region'] ?? regionOf(error),
    // Against the machine's own clock, by which the SDK signs.
    clockOffsetMs: headers['date'] === undefined ? null : Date.parse(headers['date']) - Date.now(),
  });
  const options = { cause: error, advice };
  // The SDK calls a connection that was reset a TimeoutError; it is not one.
  const broken = 'code' in error && ['ECONNRESET', 'EPIPE'].includes(String(error.code));
  const code = broken ? 'unreachable' : codeOf(reason);
  if (code !== null) return new SinkError(code, `${reason}: ${error.message}`, options);
  if (status === null) {
    // The system's errors have a code; what has none never left this process.
    return new SinkError('code' in error ? 'unreachable' : 'rejected', describe(error), options);
  }
  if (status < 300) {
    const message = `an answer that can't be read: ${error.message}`;
    return new SinkError('unavailable', message, { cause: error, advice: interception });
  }
  return new SinkError(byStatus(status), saidBy(error, status), {
    cause: error,
    advice: advice ?? (status < 400 ? interception : null),
  });
}

/** Of what is asked for its head alone, an answer has no words, and the SDK has none of its own. */
function saidBy(error: Error, status: number): string {
  if (error.message !== 'UnknownError') return `${error.name} (${status}): ${error.message}`;
  return status === 404 ? 'it is not there' : `${error.name} (${status})`;
}

/** The service's name for it, or the system's; a signature that is merely out of date is told apart. */
function reasonOf(error: Error, status: number | null): string {
  if (status === null && 'code' in error && codeOf(error.name) === null) return String(error.code);
  return toldApart(error.name, error.message);
}

function toldApart(name: string, message: string): string {
  const outOfDate = /signature (expired|not yet current)|earlier than|later than/i;
  return name === 'InvalidSignatureException' && outOfDate.test(message)
    ? 'RequestTimeTooSkewed'
    : name;
}

/** Of the answer that the error was made from. */
function headersOf(error: Error): Readonly<Record<string, string | undefined>> {
  if (!('$response' in error)) return {};
  const response: unknown = error.$response;
  if (typeof response !== 'object' || response === null || !('headers' in response)) return {};
  return Object.fromEntries(
    Object.entries(response.headers ?? {}).map(([name, value]) => [
      name.toLowerCase(),
      String(value),
    ]),
  );
}

function regionOf(error: Error): string | null {
  return 'Region' in error && typeof error.Region === 'string' ? error.Region : null;
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
