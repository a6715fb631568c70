/**
 * Who sends media, for which stream, and what its times count from: read off the head of a PutMedia
 * request, before a byte of its body.
 *
 * The body goes on for hours, so no signature can cover it: the hash that is signed is that of an
 * empty body (the producer SDKs) or the word UNSIGNED-PAYLOAD. Either is taken over TLS or from this
 * machine only, where nobody can change what follows.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { Timecodes } from '../../../ingest/mkv/recorder.ts';
import { isLoopback } from '../../config/listener-rules.ts';
import type { StreamedRequest } from '../../http/server.ts';
import type { AwsAuthenticator, Caller } from '../../security/aws-authenticator.ts';
import { AwsAuthError } from '../../security/aws-error.ts';

export interface PutMediaHead {
  /** Name of the stream, which is that of a camera. */
  readonly stream: string;
  readonly timecodes: Timecodes;
  readonly wantsAcks: boolean;
}

/** A request that is answered with an error instead of being read. */
export class PutMediaRefusal extends Error {
  override readonly name = 'PutMediaRefusal';
  readonly type: string;
  readonly status: number;

  constructor(type: keyof typeof statuses, message: string) {
    super(message);
    this.type = type;
    this.status = statuses[type];
  }
}

const statuses = {
  InvalidArgumentException: 400,
  ResourceNotFoundException: 404,
} as const;

const arnPattern = /^arn:aws[a-z-]*:kinesisvideo:[a-z0-9-]+:\d{12}:stream\/([a-zA-Z0-9_.-]+)\/\d+$/;
const epochSecondsMax = 4_102_444_800;

/** @throws AwsAuthError */
export async function authenticatePutMedia(
  request: StreamedRequest,
  authenticator: AwsAuthenticator,
): Promise<Caller> {
  const { method = 'POST', url = '', socket } = request;
  const encrypted = socket instanceof TLSSocket;
  const remoteAddress = socket.remoteAddress ?? 'unknown';
  const headers = headersOf(request.headers);
  if (headers.get('x-amz-content-sha256')?.startsWith('STREAMING-') === true) {
    throw new AwsAuthError(
      'InvalidSignatureException',
      'A body signed in chunks is not taken: sign the hash of an empty body, or UNSIGNED-PAYLOAD.',
    );
  }
  const host = headers.get('host') ?? String(request.headers[':authority'] ?? '');
  if (!URL.canParse(`http://${host}${url}`)) {
    throw new AwsAuthError('IncompleteSignatureException', 'The host that is named is no host.');
  }
  const caller = await authenticator.authenticate(
    {
      ...{ method, headers, body: Buffer.alloc(0), connection: { encrypted, remoteAddress } },
      url: new URL(`${encrypted ? 'https' : 'http'}://${host}${url}`),
    },
    'kinesisvideo',
  );
  if (encrypted || isLoopback(remoteAddress.replace(/^::ffff:/i, ''))) return caller;
  throw new AwsAuthError(
    'InvalidSignatureException',
    'Media is taken over TLS or from this machine only, since no signature covers it.',
  );
}

/** @throws PutMediaRefusal */
export function readHead(headers: IncomingHttpHeaders): PutMediaHead {
  return {
    stream: streamOf(headers),
    timecodes: timecodesOf(headers),
    wantsAcks: header(headers, 'x-amzn-fragment-acknowledgment-required') !== '0',
  };
}

function streamOf(headers: IncomingHttpHeaders): string {
  const name = header(headers, 'x-amzn-stream-name');
  const arn = header(headers, 'x-amzn-stream-arn');
  if ((name === null) === (arn === null)) {
    throw invalid('Either x-amzn-stream-name or x-amzn-stream-arn is needed, and not both.');
  }
  const stream = name ?? arnPattern.exec(arn ?? '')?.[1];
  if (stream === undefined) throw invalid('x-amzn-stream-arn is not the ARN of a stream.');
  return stream;
}

function timecodesOf(headers: IncomingHttpHeaders): Timecodes {
  const type = header(headers, 'x-amzn-fragment-timecode-type');
  const start = header(headers, 'x-amzn-producer-start-timestamp');
  const startMs = start === null ? null : producerStartMs(start);
  if (type === 'ABSOLUTE') return { type: 'absolute' };
  if (type === 'RELATIVE') return { type: 'relative', startMs };
  throw invalid('x-amzn-fragment-timecode-type must be ABSOLUTE or RELATIVE.');
}

/**
 * Seconds since 1970, in milliseconds. The producer SDK for C writes seconds and milliseconds with a
 * point between them and no zeros: 5.007 s come as `5.7`. So up to three digits after the point are
 * milliseconds; with more than three it is a fraction like any other.
 * @throws PutMediaRefusal
 */
export function producerStartMs(text: string): number {
  const [, seconds, fraction = '0'] = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(text) ?? [];
  if (seconds === undefined || Number(seconds) > epochSecondsMax) {
    throw invalid('x-amzn-producer-start-timestamp must be a time in seconds since 1970.');
  }
  const ms = fraction.length <= 3 ? Number(fraction) : Math.round(Number(`0.${fraction}`) * 1000);
  return Number(seconds) * 1000 + ms;
}

function header(headers: IncomingHttpHeaders, name: string): string | null {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Without the pseudo-headers of HTTP/2. */
function headersOf(headers: IncomingHttpHeaders): Headers {
  const made = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(':') || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) made.append(name, one);
  }
  return made;
}

function invalid(message: string): PutMediaRefusal {
  return new PutMediaRefusal('InvalidArgumentException', message);
}
