/**
 * A function behind AWS Lambda's Invoke, of AWS or of any server that speaks it
 * (docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { findCredentials, signedHeaders, type Credentials } from '../security/sign-request.ts';
import { FunctionError, type FunctionErrorCode, type RemoteFunction } from './function.ts';
import { inTime, payloadBytesMax } from './limits.ts';
import type { FunctionPorts } from './open.ts';
import { complaintOf, post, type Posted } from './post.ts';
import type { LambdaTarget } from './target.ts';

const pieceBytes = 512 * 1024;

export function lambdaFunction(
  target: LambdaTarget,
  { clock, fetch: fetcher, timeoutMs, answerBytesMax }: Omit<FunctionPorts, 'logger'>,
): RemoteFunction {
  const region = regionOf(target);
  const url = lambdaUrl(target);
  return {
    kind: 'lambda',
    description: `${target.function} at ${url.host}`,
    payloadBytesMax,
    call: ({ payload }, signal) =>
      inTime(clock, timeoutMs, signal, async (signal) => {
        if (payload.length > payloadBytesMax) {
          throw new FunctionError(
            'too-large',
            `Lambda takes ${payloadBytesMax} bytes of JSON at most`,
          );
        }
        const headers = signedHeaders(
          {
            ...{ url, payloadHash: await hashOf(payload), region, service: 'lambda' },
            headers: {
              'content-type': 'application/json',
              'x-amz-invocation-type': 'RequestResponse',
            },
          },
          await credentialsOf(target, signal),
          clock.nowMs(),
        );
        return answerOf(
          target,
          url,
          await post(fetcher, url, { headers, body: payload, answerBytesMax, signal }),
        );
      }),
    close: () => Promise.resolve(),
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

/** Megabytes are done in pieces, so that others have their turn. */
async function hashOf(payload: Buffer): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < payload.length; at += pieceBytes) {
    if (at > 0) await setImmediate();
    hash.update(payload.subarray(at, at + pieceBytes));
  }
  return hash.digest('hex');
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
    throw new FunctionError('unreachable', `there are no credentials for ${target.function}`, {
      cause,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

function answerOf(target: LambdaTarget, url: URL, { status, headers, body }: Posted): Buffer {
  if (status !== 200) {
    const type = /^\w{1,64}/.exec(headers.get('x-amzn-errortype') ?? '')?.[0];
    const said = [`status ${status}`, ...(type === undefined ? [] : [type])].join(', ');
    const message = `${url.host} does not run ${target.function}: ${said}`;
    throw new FunctionError(refusalOf(status), message);
  }
  if (headers.has('x-amz-function-error')) {
    const complaint = complaintOf(body);
    throw new FunctionError(failureOf(complaint), `${target.function} failed: ${complaint}`);
  }
  return body;
}

/** Lambda itself says it of a function that took longer than it may there, or answers too much. */
function failureOf(complaint: string): FunctionErrorCode {
  if (/Sandbox\.Timedout|Task timed out after/.test(complaint)) return 'timeout';
  return /Function\.ResponseSizeTooLarge/.test(complaint) ? 'too-large' : 'failed';
}

function refusalOf(status: number): FunctionErrorCode {
  if (status === 413) return 'too-large';
  if (status === 429) return 'throttled';
  return status >= 500 ? 'unreachable' : 'denied';
}
