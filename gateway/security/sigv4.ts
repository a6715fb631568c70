/**
 * AWS Signature Version 4: the canonical form of a request and its signature, for any service but
 * S3, which escapes paths once instead of twice
 * (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
 *
 * Written here rather than taken from the SDK: checking by signing anew with a signer's library
 * trusts the payload hash that the request itself names, and cannot sign exactly the headers that
 * the client chose. Whom a signature lets in is decided in aws-authenticator.ts.
 */
import { createHmac, hash } from 'node:crypto';

export const algorithm = 'AWS4-HMAC-SHA256';
export const terminator = 'aws4_request';

export interface RequestToSign {
  readonly method: string;
  readonly url: URL;
  /** The value of a header by its lower-case name; undefined: the request has none. */
  readonly header: (name: string) => string | undefined;
  /** Lower case, as they stand in the signature's list. */
  readonly signedHeaders: readonly string[];
  /** SHA-256 of the body in hexadecimal, or a word such as UNSIGNED-PAYLOAD. */
  readonly payloadHash: string;
}

/** What a signature is good for. */
export interface Scope {
  /** `20261101` */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

/** `20261101/us-east-1/kinesis/aws4_request` */
export function scopeText({ date, region, service }: Scope): string {
  return `${date}/${region}/${service}/${terminator}`;
}

/** The key that signs for a day, a region and a service: four HMACs, worth keeping. */
export function signingKey(secretAccessKey: string, { date, region, service }: Scope): Buffer {
  const forDate = hmac(`AWS4${secretAccessKey}`, date);
  return hmac(hmac(hmac(forDate, region), service), terminator);
}

/**
 * The signature, in hexadecimal.
 * @param timestamp `20261101T120000Z`
 */
export function signatureOf(
  request: RequestToSign,
  timestamp: string,
  scope: Scope,
  key: Buffer,
): string {
  // Header values are bytes, which Node gives as Latin-1; all else is ASCII.
  const digest = sha256Hex(Buffer.from(canonicalRequest(request), 'latin1'));
  return hmac(key, [algorithm, timestamp, scopeText(scope), digest].join('\n')).toString('hex');
}

export function canonicalRequest(request: RequestToSign): string {
  const { method, url, header, signedHeaders, payloadHash } = request;
  const headers = signedHeaders.map((name) => `${name}:${tidy(header(name) ?? '')}\n`);
  return [
    method,
    canonicalPath(url.pathname),
    canonicalQuery(url.search),
    headers.join(''),
    signedHeaders.join(';'),
    payloadHash,
  ].join('\n');
}

export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

/** `20261101T120000Z`; what is less than a second is cut off. */
export function timestampOf(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/[-:]|\.\d{3}/g, '');
}

/** Without empty, `.` and `..` segments (the URL parser took most away), and escaped once more. */
function canonicalPath(pathname: string): string {
  if (pathname === '/') return pathname;
  const segments = pathname.split('/').filter((segment) => segment !== '');
  const tail = segments.length > 0 && pathname.endsWith('/') ? '/' : '';
  return `/${segments.map(escape).join('/')}${tail}`;
}

/** Sorted by name, then by value, without the signature itself. */
function canonicalQuery(search: string): string {
  if (search === '') return '';
  const pairs = search
    .slice(1)
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=');
      const [name, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
      return [escapeAnew(name), escapeAnew(value)] as const;
    })
    .filter(([name]) => name.toLowerCase() !== 'x-amz-signature');
  pairs.sort(([name, value], [other, otherValue]) =>
    name === other ? compare(value, otherValue) : compare(name, other),
  );
  return pairs.map(([name, value]) => `${name}=${value}`).join('&');
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/** Escapes all but RFC 3986's unreserved characters; the text is ASCII, as a URL's parts are. */
function escape(text: string): string {
  return text.replace(/[^A-Za-z0-9\-._~]/g, escapeCharacter);
}

/** The one spelling of a text that is escaped already, in whatever way. */
function escapeAnew(text: string): string {
  return text.replace(/%[0-9a-fA-F]{2}|[^A-Za-z0-9\-._~]/g, (found) => {
    if (found.length === 1) return escapeCharacter(found);
    const character = String.fromCharCode(parseInt(found.slice(1), 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : found.toUpperCase();
  });
}

function escapeCharacter(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

function tidy(value: string): string {
  return value.trim().replace(/\s+/g, ' ');
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
