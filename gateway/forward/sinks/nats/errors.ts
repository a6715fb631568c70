/** What the errors of NATS' client and of JetStream mean. */
import { JetStreamApiError } from '@nats-io/jetstream';
import {
  AuthorizationError,
  ClosedConnectionError,
  ConnectionError,
  DrainingConnectionError,
  InvalidSubjectError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from '@nats-io/transport-node';
import { SinkError, type SinkErrorCode } from '../../sink.ts';
import { connectionError } from '../connection.ts';

const keys = { address: 'to.nats.servers', authority: 'to.nats.caFile' } as const;

const noStream =
  'Make a stream for that subject, or correct to.nats.subject; it has to be in the account of these credentials.';
const noRoom = 'Make room in the stream, raise its limits, or let it discard what is old.';
const noRight = 'Let this user publish to the subject, and subscribe to _INBOX.> for the answers.';
const notLetIn =
  'Check username and password, token, nkeySeed or credentialsFile of to.nats; they are read again before each attempt.';

/** By JetStream's own numbers (errors.json of nats-server). */
const byNumber: Readonly<Record<number, readonly [SinkErrorCode, string | null]>> = {
  10002: ['full', noRoom],
  10023: ['full', noRoom],
  10028: ['full', noRoom],
  10047: ['full', noRoom],
  10077: ['full', noRoom],
  10054: ['too-large', 'Raise max_msg_size of the stream.'],
  10060: ['missing', 'Another stream takes that subject: correct to.nats.stream.'],
  10039: ['denied', 'Give the account of these credentials JetStream.'],
  10076: ['missing', 'Let the server run JetStream.'],
  10059: ['missing', noStream],
  10109: ['denied', 'The stream is sealed: publish to another.'],
};

const somebodyElse = `What answers there is no stream. ${noStream}`;

/** Of an answer that is not one of JetStream's. */
export function noAcknowledgement(): SinkError {
  return new SinkError('unavailable', 'an answer that is no acknowledgement of a stream', {
    advice: somebodyElse,
  });
}

/** Whatever it is that was thrown. */
export function natsError(error: unknown): SinkError {
  if (error instanceof SinkError) return error;
  if (error instanceof JetStreamApiError) return refusal(error);
  const cause = error instanceof RequestError ? (error.cause ?? error) : error;
  const network = connectionError(error, keys);
  if (network !== null) return network;
  const [code, advice] = meaning(cause, error);
  return new SinkError(code, describe(cause), { cause: error, advice });
}

function refusal(error: JetStreamApiError): SinkError {
  const [code, advice] = byNumber[error.code] ?? [byStatus(error.status), null];
  return new SinkError(code, `JetStream ${error.code}: ${error.message}`, { cause: error, advice });
}

function byStatus(status: number): SinkErrorCode {
  if (status === 429) return 'throttled';
  if (status >= 500) return 'unavailable';
  return 'rejected';
}

function meaning(cause: unknown, error: unknown): readonly [SinkErrorCode, string | null] {
  if (cause instanceof TimeoutError) return ['timeout', null];
  // The client says so of a request that nobody answers: the cause is the one that knows.
  if (isNoResponders(error)) return ['missing', noStream];
  if (cause instanceof PermissionViolationError) return ['denied', noRight];
  if (cause instanceof AuthorizationError || cause instanceof UserAuthenticationExpiredError) {
    return ['credentials', notLetIn];
  }
  if (cause instanceof InvalidSubjectError) return ['rejected', 'Correct to.nats.subject.'];
  if (isConnection(cause)) return ['unreachable', null];
  // What is left was thrown over an answer that the client could not read.
  return ['unavailable', somebodyElse];
}

function isNoResponders(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error instanceof NoRespondersError || isNoResponders(error.cause);
}

function isConnection(cause: unknown): boolean {
  return [ClosedConnectionError, ConnectionError, DrainingConnectionError, RequestError].some(
    (kind) => cause instanceof kind,
  );
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.message || error.name;
}
