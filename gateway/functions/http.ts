/**
 * A function behind an HTTP endpoint: gets the payload as the body of a POST, with the call's id as
 * `X-Headgate-Call`, and answers 2xx with JSON. 429 and 503 ask for less; 502 and 504 are those of a
 * proxy that does not get through; 413 is a payload that is too large; any other 5xx says that the
 * function failed, and what is left that there is none here for us.
 */
import { FunctionError, type FunctionErrorCode, type RemoteFunction } from './function.ts';
import { inTime, payloadBytesMax } from './limits.ts';
import type { FunctionPorts } from './open.ts';
import { complaintOf, post } from './post.ts';
import type { HttpTarget } from './target.ts';

export function httpFunction(
  { url, authorization }: HttpTarget,
  { clock, fetch: fetcher, timeoutMs, answerBytesMax }: Omit<FunctionPorts, 'logger'>,
): RemoteFunction {
  const address = new URL(url);
  return {
    kind: 'http',
    description: `${address.origin}${address.pathname}`,
    payloadBytesMax,
    call: ({ id, payload }, signal) =>
      inTime(clock, timeoutMs, signal, async (signal) => {
        const headers = {
          'content-type': 'application/json',
          accept: 'application/json',
          'x-headgate-call': id,
          ...(authorization === null ? {} : { authorization }),
        };
        const sent = { headers, body: payload, answerBytesMax, signal };
        const { status, body } = await post(fetcher, address, sent);
        if (status >= 200 && status < 300) return body;
        throw statusError(address, status, body);
      }),
    close: () => Promise.resolve(),
  };
}

function statusError(url: URL, status: number, body: Buffer): FunctionError {
  const said = complaintOf(body).trim();
  const message = `${url.host} answers with status ${status}${said === '' ? '' : `: ${said}`}`;
  return new FunctionError(codeOf(status), message);
}

function codeOf(status: number): FunctionErrorCode {
  if (status === 413) return 'too-large';
  if (status === 429 || status === 503) return 'throttled';
  if (status === 408 || status === 502 || status === 504) return 'unreachable';
  return status >= 500 ? 'failed' : 'denied';
}
