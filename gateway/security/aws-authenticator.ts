/**
 * Decides who sent a request to one of our AWS services, by its Signature Version 4.
 *
 * Invariants
 * - What is signed is what is acted on: the host, the date and every x-amz-* header must be among
 *   the signed headers, and the hash of the payload is computed from the body, never taken from the
 *   request. UNSIGNED-PAYLOAD passes only where nobody can sit in between: over TLS, or from this
 *   machine. Whether it is TLS the socket says; in HTTP/2 the scheme is what the client calls it.
 * - A request is good for five minutes around its date, a presigned URL for what it says, seven
 *   days at most. Within that time it may be repeated: awscli and boto3 sign to the second and no
 *   more, so equal requests carry equal signatures, and a cache against replays would break them.
 * - Signatures are compared in constant time. A derived signing key is kept only once a signature
 *   made with it was right, so that a flood of wrong ones cannot push the right ones out.
 *
 * In the mode `permissive` a request that names a known key, calls the gateway by a local name and
 * has no Origin passes without a right signature; every other one is checked as ever. An Origin, or
 * a name from elsewhere, is the mark of a web page, which must not be able to write to the box.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../storage/ports.ts';
import { isLoopback } from '../config/listener-rules.ts';
import { AwsAuthError } from './aws-error.ts';
import { claimedKeyId, readClaim, type SignatureClaim } from './signature-claim.ts';
import {
  algorithm,
  sha256Hex,
  signatureOf,
  signingKey,
  terminator,
  timestampOf,
  type Scope,
} from './sigv4.ts';

/** Who signed. */
export interface Caller {
  readonly accessKeyId: string;
  /** arn:aws:iam::<account>:user/<name> */
  readonly arn: string;
  readonly name: string;
}

export interface AwsRequest {
  readonly method: string;
  /** With the host that the client named: Host, or `:authority` in HTTP/2. */
  readonly url: URL;
  readonly headers: Headers;
  /** Of all headers, lower case, where they are at hand: making `headers` tell them takes long. */
  readonly headerNames?: readonly string[];
  readonly body: Uint8Array;
  /** SHA-256 of the body, hexadecimal, where it was computed while the body came. */
  readonly bodyHash?: string;
  /** As the socket knows it; left out, nothing is known of it, and nothing trusted. */
  readonly connection?: { readonly encrypted: boolean; readonly remoteAddress: string };
}

export interface AwsAuthenticator {
  /**
   * @param service as in the credential scope, e.g. `kinesis`
   * @throws AwsAuthError; StorageError `wrong-key`, `key-unavailable` when the caller's secret can't
   *   be read
   */
  authenticate(request: AwsRequest, service: string): Promise<Caller>;
}

export interface SignedBy {
  readonly name: string;
  readonly secretAccessKey: string;
}

export interface AwsAuthenticatorOptions {
  readonly mode: 'sigv4' | 'permissive';
  /** Twelve digits. */
  readonly accountId: string;
  /** The one region that signatures may be for; null: any. */
  readonly region: string | null;
  readonly keys: { find(accessKeyId: string): Promise<SignedBy | null> };
  readonly clock: Clock;
}

const skewMs = 5 * 60_000;
const signedHeadersMax = 100;
const signingKeysMax = 1_000;
const unsignedPayload = 'UNSIGNED-PAYLOAD';
const headerName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

export function createAwsAuthenticator(options: AwsAuthenticatorOptions): AwsAuthenticator {
  return new SigV4Authenticator(options);
}

class SigV4Authenticator implements AwsAuthenticator {
  readonly #options: AwsAuthenticatorOptions;
  /** By access key and scope; the oldest give way. */
  readonly #signingKeys = new Map<string, { readonly secret: string; readonly key: Buffer }>();

  constructor(options: AwsAuthenticatorOptions) {
    this.#options = options;
  }

  async authenticate(request: AwsRequest, service: string): Promise<Caller> {
    const lenient = this.#isLenient(request) ? claimedKeyId(request.url, request.headers) : null;
    if (lenient !== null) return this.#callerOf(lenient, await this.#find(lenient));
    const claim = readClaim(request.url, request.headers);
    this.#checkTime(claim);
    checkSignedHeaders(claim, request.headerNames ?? request.headers.keys());
    const { keyId, scope } = this.#credentialOf(claim, service);
    const key = await this.#find(keyId);
    this.#checkSignature(request, claim, keyId, key.secretAccessKey, scope);
    if (claim.securityToken !== null) throw unrecognized();
    return this.#callerOf(keyId, key);
  }

  #isLenient({ url, headers }: AwsRequest): boolean {
    if (this.#options.mode !== 'permissive' || headers.has('origin')) return false;
    return isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
  }

  async #find(keyId: string): Promise<SignedBy> {
    const key = await this.#options.keys.find(keyId);
    if (key === null) throw unrecognized();
    return key;
  }

  #callerOf(accessKeyId: string, { name }: SignedBy): Caller {
    return { accessKeyId, name, arn: `arn:aws:iam::${this.#options.accountId}:user/${name}` };
  }

  #checkTime({ timeMs, timestamp, expiresSeconds }: SignatureClaim): void {
    const nowMs = this.#options.clock.nowMs();
    const goodMs = expiresSeconds === null ? skewMs : expiresSeconds * 1000;
    if (timeMs < nowMs - goodMs) {
      const span = expiresSeconds === null ? '5 min.' : `${expiresSeconds} s.`;
      const bound = timestampOf(nowMs - goodMs);
      throw invalid(
        `Signature expired: ${timestamp} is now earlier than ${bound} (${timestampOf(nowMs)} - ${span})`,
      );
    }
    if (timeMs > nowMs + skewMs) {
      const bound = timestampOf(nowMs + skewMs);
      throw invalid(
        `Signature not yet current: ${timestamp} is still later than ${bound} (${timestampOf(nowMs)} + 5 min.)`,
      );
    }
  }

  #credentialOf(claim: SignatureClaim, service: string): { keyId: string; scope: Scope } {
    if (claim.algorithm !== algorithm) {
      throw incomplete(`Unsupported AWS 'algorithm': '${claim.algorithm}'.`);
    }
    const [keyId, date, region, named, term, ...more] = claim.credential.split('/');
    if (
      keyId === undefined ||
      date === undefined ||
      region === undefined ||
      named === undefined ||
      term === undefined ||
      more.length > 0
    ) {
      throw incomplete(
        `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${claim.credential}'`,
      );
    }
    const wrong: string[] = [];
    const only = this.#options.region;
    if (region === '' || (only !== null && region !== only)) {
      wrong.push(`Credential should be scoped to a valid region, not '${region}'.`);
    }
    if (named !== service) {
      wrong.push(`Credential should be scoped to correct service: '${service}'.`);
    }
    if (term !== terminator) {
      wrong.push(
        `Credential should be scoped with a valid terminator: '${terminator}', not '${term}'.`,
      );
    }
    const day = claim.timestamp.slice(0, 8);
    if (date !== day) {
      wrong.push(
        `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '${date}' != '${day}', from '${claim.timestamp}'.`,
      );
    }
    if (wrong.length > 0) throw invalid(wrong.join(' '));
    return { keyId, scope: { date, region, service } };
  }

  #checkSignature(
    request: AwsRequest,
    claim: SignatureClaim,
    keyId: string,
    secret: string,
    scope: Scope,
  ): void {
    const { method, url, headers, body, bodyHash } = request;
    const named =
      headers.get('x-amz-content-sha256') ?? url.searchParams.get('X-Amz-Content-Sha256');
    const payloadHash = named === unsignedPayload ? unsignedPayload : (bodyHash ?? sha256Hex(body));
    if (named === unsignedPayload && !isPrivate(request)) {
      throw invalid(`An ${unsignedPayload} is taken over TLS or from this machine only.`);
    }
    const cacheKey = `${keyId} ${scope.date} ${scope.region} ${scope.service}`;
    const kept = this.#signingKeys.get(cacheKey);
    const isKept = kept?.secret === secret;
    const key = isKept ? kept.key : signingKey(secret, scope);
    const signature = signatureOf(
      {
        method,
        url,
        header: (name) =>
          name === ':authority'
            ? url.host
            : (headers.get(name) ?? (name === 'host' ? url.host : undefined)),
        signedHeaders: claim.signedHeaders,
        payloadHash,
      },
      claim.timestamp,
      scope,
      key,
    );
    if ((named !== null && named !== payloadHash) || !areEqual(signature, claim.signature)) {
      throw invalid(
        'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.',
      );
    }
    if (!isKept) this.#keep(cacheKey, secret, key);
  }

  #keep(cacheKey: string, secret: string, key: Buffer): void {
    const oldest = this.#signingKeys.keys().next();
    if (this.#signingKeys.size >= signingKeysMax && oldest.done !== true) {
      this.#signingKeys.delete(oldest.value);
    }
    this.#signingKeys.set(cacheKey, { secret, key });
  }
}

/** Everything that changes what a request does must be under its signature. */
function checkSignedHeaders(
  { signedHeaders, dateHeader }: SignatureClaim,
  headerNames: Iterable<string>,
): void {
  if (!signedHeaders.includes('host') && !signedHeaders.includes(':authority')) {
    throw invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");
  }
  const signed = new Set(signedHeaders);
  const named = signedHeaders.every((name) => name === ':authority' || headerName.test(name));
  if (!named || signedHeaders.length > signedHeadersMax || signed.size < signedHeaders.length) {
    throw invalid("'SignedHeaders' is not a list of the names of headers.");
  }
  if (dateHeader !== null && !signed.has(dateHeader)) throw unsigned(dateHeader);
  for (const name of headerNames) {
    if (name.startsWith('x-amz-') && !signed.has(name)) throw unsigned(name);
  }
}

/** Whether nobody can have changed the body on its way. */
function isPrivate({ connection }: AwsRequest): boolean {
  if (connection === undefined) return false;
  return connection.encrypted || isLoopback(connection.remoteAddress.replace(/^::ffff:/i, ''));
}

function areEqual(one: string, other: string): boolean {
  const [first, second] = [Buffer.from(one), Buffer.from(other)];
  return first.length === second.length && timingSafeEqual(first, second);
}

function invalid(message: string): AwsAuthError {
  return new AwsAuthError('InvalidSignatureException', message);
}

function incomplete(message: string): AwsAuthError {
  return new AwsAuthError('IncompleteSignatureException', message);
}

function unsigned(name: string): AwsAuthError {
  return invalid(`'${name}' must be a 'SignedHeader' in the AWS Authorization.`);
}

function unrecognized(): AwsAuthError {
  return new AwsAuthError(
    'UnrecognizedClientException',
    'The security token included in the request is invalid.',
  );
}
