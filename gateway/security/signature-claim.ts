/**
 * What a request says about its own signature: in its Authorization header, or in the query of a
 * presigned URL. Nothing is believed here; only what is missing or malformed is refused, in the
 * order and the words of the services.
 */
import { AwsAuthError } from './aws-error.ts';
import { timestampOf } from './sigv4.ts';

export interface SignatureClaim {
  readonly algorithm: string;
  /** keyid/date/region/service/aws4_request */
  readonly credential: string;
  /** Lower case. */
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  readonly timeMs: number;
  /** The same time as `20261101T120000Z`. */
  readonly timestamp: string;
  /** The header that the time was taken from, which has to be signed; null: from the query. */
  readonly dateHeader: 'x-amz-date' | 'date' | null;
  /** How long a presigned URL is good for; null: as long as any request. */
  readonly expiresSeconds: number | null;
  readonly securityToken: string | null;
}

const expiresMaxSeconds = 7 * 24 * 3600;

/** @throws AwsAuthError `MissingAuthenticationToken…`, `IncompleteSignature…`, `InvalidSignature…` */
export function readClaim(url: URL, headers: Headers): SignatureClaim {
  const authorization = headers.get('authorization');
  const inQuery = url.searchParams.has('X-Amz-Algorithm');
  if (authorization !== null && inQuery) {
    throw new AwsAuthError(
      'InvalidSignatureException',
      "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.",
    );
  }
  if (authorization !== null) return fromHeader(authorization, headers);
  if (inQuery) return fromQuery(url.searchParams);
  throw new AwsAuthError('MissingAuthenticationTokenException', 'Missing Authentication Token');
}

/** The access key id that a request names, without a look at anything else; null: none. */
export function claimedKeyId(url: URL, headers: Headers): string | null {
  const authorization = headers.get('authorization');
  const credential =
    authorization === null
      ? url.searchParams.get('X-Amz-Credential')
      : parametersOf(authorization).get('Credential');
  return credential?.split('/')[0] ?? null;
}

function fromHeader(authorization: string, headers: Headers): SignatureClaim {
  const parameters = parametersOf(authorization);
  const missing = ['Credential', 'Signature', 'SignedHeaders']
    .filter((name) => (parameters.get(name) ?? '') === '')
    .map((name) => `Authorization header requires '${name}' parameter.`);
  const dateHeader = headers.has('x-amz-date') ? 'x-amz-date' : 'date';
  const date = headers.get(dateHeader);
  if (date === null) {
    missing.push(
      "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    );
  }
  if (date === null || missing.length > 0) {
    throw incomplete(`${missing.join(' ')} Authorization=${authorization}`);
  }
  return {
    algorithm: authorization.trim().split(/\s/)[0] ?? '',
    credential: parameters.get('Credential') ?? '',
    signedHeaders: listOf(parameters.get('SignedHeaders') ?? ''),
    signature: parameters.get('Signature') ?? '',
    ...timeOf(date),
    dateHeader,
    expiresSeconds: null,
    securityToken: headers.get('x-amz-security-token'),
  };
}

function fromQuery(query: URLSearchParams): SignatureClaim {
  const names = ['Algorithm', 'Credential', 'Signature', 'SignedHeaders', 'Date'];
  const missing = names
    .map((name) => `X-Amz-${name}`)
    .filter((name) => (query.get(name) ?? '') === '')
    .map((name) => `AWS query-string parameters must include '${name}'. `);
  if (missing.length > 0) {
    throw incomplete(`${missing.join('')}Re-examine the query-string parameters.`);
  }
  for (const name of [...names, 'Expires', 'Security-Token']) {
    if (query.getAll(`X-Amz-${name}`).length > 1) {
      throw incomplete(`AWS query-string parameter 'X-Amz-${name}' is given more than once.`);
    }
  }
  return {
    algorithm: query.get('X-Amz-Algorithm') ?? '',
    credential: query.get('X-Amz-Credential') ?? '',
    signedHeaders: listOf(query.get('X-Amz-SignedHeaders') ?? ''),
    signature: query.get('X-Amz-Signature') ?? '',
    ...timeOf(query.get('X-Amz-Date') ?? ''),
    dateHeader: null,
    expiresSeconds: expiryOf(query.get('X-Amz-Expires')),
    securityToken: query.get('X-Amz-Security-Token'),
  };
}

/** What follows the algorithm: `Credential=…, SignedHeaders=…, Signature=…`. */
function parametersOf(authorization: string): ReadonlyMap<string, string> {
  const [, ...words] = authorization.trim().split(/[\s,]+/);
  return new Map(
    words.map((word) => {
      const at = word.indexOf('=');
      return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

function listOf(signedHeaders: string): readonly string[] {
  return signedHeaders.toLowerCase().split(';');
}

function expiryOf(text: string | null): number | null {
  if (text === null) return null;
  const seconds = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (seconds >= 1 && seconds <= expiresMaxSeconds) return seconds;
  throw incomplete(`X-Amz-Expires must be from 1 to ${expiresMaxSeconds} seconds.`);
}

/** @throws AwsAuthError for what is neither ISO 8601's basic format nor the date of HTTP */
function timeOf(text: string): Pick<SignatureClaim, 'timeMs' | 'timestamp'> {
  const basic = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const [, year, month, day, hour, minute, second] = basic ?? [];
  const timeMs =
    basic !== null
      ? Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
      : /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/.test(text)
        ? Date.parse(text)
        : NaN;
  if (Number.isNaN(timeMs)) {
    throw incomplete(
      `Date must be in ISO-8601 'basic format'. Got '${text}'. See http://en.wikipedia.org/wiki/ISO_8601`,
    );
  }
  return { timeMs, timestamp: timestampOf(timeMs) };
}

function incomplete(message: string): AwsAuthError {
  return new AwsAuthError('IncompleteSignatureException', message);
}
