/** A POST whose answer is waited for, and is no larger than it may be. */
import { FunctionError } from './function.ts';
import { AnswerBytes } from './limits.ts';

export interface Post {
  readonly headers: Record<string, string>;
  readonly body: Buffer;
  readonly answerBytesMax: number;
  readonly signal: AbortSignal;
}

export interface Posted {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/**
 * Redirects are not followed.
 * @throws FunctionError `unreachable`, `too-large`; the signal's reason
 */
export async function post(
  fetcher: typeof fetch,
  url: URL,
  { headers, body, answerBytesMax, signal }: Post,
): Promise<Posted> {
  try {
    const response = await fetcher(url, {
      ...{ method: 'POST', headers, body: new Uint8Array(body), redirect: 'manual', signal },
    });
    const answer = new AnswerBytes(answerBytesMax);
    // Leaving the loop early ends the connection.
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      if (!answer.add(part)) break;
    }
    return { status: response.status, headers: response.headers, body: answer.all() };
  } catch (cause) {
    if (cause instanceof FunctionError) throw cause;
    signal.throwIfAborted();
    const message = `${url.host} does not answer: ${whyUnreachable(cause)}`;
    throw new FunctionError('unreachable', message, { cause });
  }
}

/** `fetch` itself says only that it failed. */
export function whyUnreachable(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

/** The beginning of what the other side says, on one line. */
export function complaintOf(body: Buffer): string {
  return body.toString('utf8', 0, 300).replace(/\p{Cc}+/gu, ' ');
}
