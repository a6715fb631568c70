/**
 * An HTTP endpoint: the bytes are the body of a POST, what they are of is said in headers
 * (`X-Headgate-Camera`, `-Fragment`, `-Time-Us`, `-Hook`). It answers 200 with JSON, or 204.
 */
import { post } from '../functions/post.ts';
import type { HttpTarget } from '../functions/target.ts';
import { asHookErrors, HookError } from './hook-error.ts';
import { answerBytesMax, type Ask } from './target.ts';

export function askHttp({ url, authorization }: HttpTarget, fetcher: typeof fetch): Ask {
  const address = new URL(url);
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
    const sent = { headers, body: bytes, answerBytesMax, signal };
    const { status, body } = await asHookErrors(post(fetcher, address, sent));
    if (status >= 200 && status < 300) return body;
    throw new HookError('failed', `${address.host} answers with status ${status}`);
  };
}
