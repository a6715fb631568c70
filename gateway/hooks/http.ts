/**
 * An HTTP endpoint: the bytes are the body of a POST, what they are of is said in headers
 * (`X-Headgate-Camera`, `-Fragment`, `-Time-Us`, `-Hook`). It answers 200 with JSON, or 204.
 */
import { HookError } from './hook-error.ts';
import { AnswerBytes, type Ask } from './target.ts';

export interface HttpTarget {
  readonly url: string;
  readonly authorization: string | null;
}

export function askHttp({ url, authorization }: HttpTarget, fetcher: typeof fetch): Ask {
  return async ({ hook, camera, fragment, atUs, contentType, bytes }, signal) => {
    const headers = {
      'content-type': contentType,
      accept: 'application/json',
      'x-headgate-hook': hook,
      'x-headgate-camera': camera,
      'x-headgate-fragment': String(fragment),
      'x-headgate-time-us': String(atUs),
      ...(authorization === null ? {} : { authorization }),
    };
    const { status, body } = await post(fetcher, new URL(url), { headers, body: bytes, signal });
    if (status >= 200 && status < 300) return body;
    throw new HookError('failed', `${new URL(url).host} answers with status ${status}`);
  };
}

export interface Post {
  readonly headers: Record<string, string>;
  readonly body: Buffer;
  readonly signal: AbortSignal;
}

export interface Posted {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Buffer;
}

/** @throws HookError `unreachable`, `too-large`; the signal's reason */
export async function post(
  fetcher: typeof fetch,
  url: URL,
  { headers, body, signal }: Post,
): Promise<Posted> {
  try {
    const response = await fetcher(url, {
      ...{ method: 'POST', headers, body: new Uint8Array(body), redirect: 'manual', signal },
    });
    const answer = new AnswerBytes();
    // Leaving the loop early ends the connection.
    for await (const part of (response.body ?? []) as AsyncIterable<Uint8Array>) {
      if (!answer.add(part)) break;
    }
    return { status: response.status, headers: response.headers, body: answer.all() };
  } catch (cause) {
    if (cause instanceof HookError) throw cause;
    signal.throwIfAborted();
    const message = `${url.host} does not answer: ${whyUnreachable(cause)}`;
    throw new HookError('unreachable', message, { cause });
  }
}

/** `fetch` itself says only that it failed. */
export function whyUnreachable(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
