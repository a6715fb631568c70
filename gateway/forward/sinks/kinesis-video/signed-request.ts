/** Signed requests to Kinesis Video (SigV4, HTTP/1.1), and what its refusals look like. */
import {
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as httpRequest,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Clock } from '../../../../storage/ports.ts';
import {
  algorithm,
  scopeText,
  sha256Hex,
  signatureOf,
  signingKey,
  timestampOf,
} from '../../../security/sigv4.ts';

export interface Signer {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
}

const answerBytesMax = 64 * 1024;

/**
 * A POST whose head is signed, for the caller to write its body.
 * @param signedBody what the signature covers: the body, or nothing where that goes on for hours
 */
export function signedPost(
  { url, headers, signedBody }: { url: URL; headers: Record<string, string>; signedBody: Buffer },
  signer: Signer,
  { clock, signal }: { readonly clock: Clock; readonly signal?: AbortSignal },
): ClientRequest {
  const timestamp = timestampOf(clock.nowMs());
  const all: Record<string, string> = { ...headers, host: url.host, 'x-amz-date': timestamp };
  if (signer.sessionToken !== undefined) all['x-amz-security-token'] = signer.sessionToken;
  const signedHeaders = Object.keys(all).sort();
  const scope = { date: timestamp.slice(0, 8), region: signer.region, service: 'kinesisvideo' };
  const signature = signatureOf(
    {
      ...{ method: 'POST', url, signedHeaders, payloadHash: sha256Hex(signedBody) },
      header: (name) => all[name],
    },
    timestamp,
    scope,
    signingKey(signer.secretAccessKey, scope),
  );
  const authorization = `${algorithm} Credential=${signer.accessKeyId}/${scopeText(scope)}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  const sent: OutgoingHttpHeaders = { ...all, authorization };
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return request(url, {
    ...{ method: 'POST', agent: false, headers: sent },
    ...(signal !== undefined && { signal }),
  });
}

/** Resolves with the head of the answer. @throws what the system says of the connection */
export function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
}

/** The body of a short answer. @throws Error when it is longer than 64 KiB, or breaks off */
export async function bodyOf(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > answerBytesMax) throw new Error('an answer that never ends');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** What is not 200, as the SDK's own errors are: named by the service, with the answer's head. */
export async function refusalOf(answer: IncomingMessage): Promise<Error> {
  const body = await bodyOf(answer);
  const [named] = String(answer.headers['x-amzn-errortype'] ?? '').split(':');
  const error = new Error(messageIn(body) ?? `status ${answer.statusCode ?? 0}`);
  error.name = named === undefined || named === '' ? 'UnknownError' : named;
  return Object.assign(error, {
    $metadata: { httpStatusCode: answer.statusCode },
    $response: { headers: answer.headers },
  });
}

function messageIn(body: string): string | null {
  try {
    const parsed: unknown = JSON.parse(body);
    if (typeof parsed !== 'object' || parsed === null) return null;
    const [message] = Object.entries(parsed)
      .filter(([name, value]) => name.toLowerCase() === 'message' && typeof value === 'string')
      .map(([, value]) => String(value).slice(0, 500));
    return message ?? null;
  } catch {
    return null;
  }
}
