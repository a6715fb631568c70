/**
 * A function behind AWS Lambda's Invoke, of AWS or of any server that speaks it: gets
 * `{hook, camera, fragment, atUs, contentType, body}`, the bytes in Base64, and returns its answer
 * (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../storage/ports.ts';
import {
  findCredentials,
  signedHeaders,
  type ConfiguredCredentials,
  type Credentials,
} from '../security/sign-request.ts';
import { HookError } from './hook-error.ts';
import { post } from './http.ts';
import { type Ask, type HookInput } from './target.ts';

export interface LambdaTarget extends ConfiguredCredentials {
  /** A name or an ARN. */
  readonly function: string;
  /** null: that of the ARN. */
  readonly region: string | null;
  /** null: AWS. */
  readonly endpoint: string | null;
}

/** What Lambda takes in a call that is waited for. */
const payloadBytesMax = 6 * 2 ** 20;
/** A multiple of what Base64 takes at once, 3. */
const pieceBytes = 384 * 1024;

export function askLambda(
  target: LambdaTarget,
  { clock, fetch: fetcher }: { readonly clock: Clock; readonly fetch: typeof fetch },
): Ask {
  const region = regionOf(target);
  const url = lambdaUrl(target);
  return async (input, signal) => {
    const { body, payloadHash } = await payloadOf(input);
    const headers = signedHeaders(
      {
        ...{ url, payloadHash, region, service: 'lambda' },
        headers: {
          'content-type': 'application/json',
          'x-amz-invocation-type': 'RequestResponse',
        },
      },
      await credentialsOf(target, signal),
      clock.nowMs(),
    );
    const answer = await post(fetcher, url, { headers, body, signal });
    if (answer.status !== 200) {
      const type = /^\w{1,64}/.exec(answer.headers.get('x-amzn-errortype') ?? '')?.[0];
      const said = [`status ${answer.status}`, ...(type === undefined ? [] : [type])].join(', ');
      throw new HookError('failed', `${url.host} does not run ${target.function}: ${said}`);
    }
    if (answer.headers.has('x-amz-function-error')) {
      throw new HookError('failed', `${target.function} failed: ${complaintOf(answer.body)}`);
    }
    // What a function returns that returns nothing.
    return answer.body.toString() === 'null' ? Buffer.alloc(0) : answer.body;
  };
}

/** That of its ARN; null: it is not one. */
export function regionOfFunction(name: string): string | null {
  return /^arn:[^:]*:lambda:([^:]+):/.exec(name)?.[1] ?? null;
}

/** Where a function is invoked. */
export function lambdaUrl(target: LambdaTarget): URL {
  const region = regionOf(target);
  const base = (target.endpoint ?? `https://lambda.${region}.amazonaws.com`).replace(/\/+$/, '');
  const name = encodeURIComponent(target.function);
  return new URL(`${base}/2015-03-31/functions/${name}/invocations`);
}

function regionOf(target: LambdaTarget): string {
  const region = target.region ?? regionOfFunction(target.function);
  if (region === null) throw new TypeError('a function without a region');
  return region;
}

interface Payload {
  readonly body: Buffer;
  readonly payloadHash: string;
}

/**
 * The bytes are not looked through for what JSON would escape: Base64 has none of it. Megabytes are
 * done in pieces, so that others have their turn.
 * @throws HookError `too-large`
 */
async function payloadOf({ bytes, ...others }: HookInput): Promise<Payload> {
  const before = `${JSON.stringify(others).slice(0, -1)},"body":"`;
  const base64Bytes = 4 * Math.ceil(bytes.length / 3);
  const payloadBytes = Buffer.byteLength(before) + base64Bytes + 2;
  if (payloadBytes > payloadBytesMax) {
    throw new HookError('too-large', `Lambda takes ${payloadBytesMax} bytes of JSON at most`);
  }
  const body = Buffer.alloc(payloadBytes);
  const hash = createHash('sha256');
  let at = 0;
  const add = (text: string): void => {
    const end = at + body.write(text, at);
    hash.update(body.subarray(at, end));
    at = end;
  };
  add(before);
  for (let from = 0; from < bytes.length; from += pieceBytes) {
    add(bytes.toString('base64', from, from + pieceBytes));
    await setImmediate();
  }
  add('"}');
  return { body, payloadHash: hash.digest('hex') };
}

async function credentialsOf(target: LambdaTarget, signal: AbortSignal): Promise<Credentials> {
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      reject(signal.reason as Error);
    };
  });
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([findCredentials(target), aborted]);
  } catch (cause) {
    signal.throwIfAborted();
    throw new HookError('unreachable', `there are no credentials for ${target.function}`, {
      cause,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function complaintOf(body: Buffer): string {
  return body.toString('utf8', 0, 300).replace(/\p{Cc}+/gu, ' ');
}
