/**
 * A function of AWS Lambda, or of a server that speaks its Invoke: gets
 * `{hook, camera, fragment, atUs, contentType, body}`, the bytes in Base64, and returns its answer.
 */
import { setImmediate } from 'node:timers/promises';
import { FunctionError } from '../functions/function.ts';
import { lambdaFunction } from '../functions/lambda.ts';
import type { FunctionPorts } from '../functions/open.ts';
import type { LambdaTarget } from '../functions/target.ts';
import { asHookErrors } from './hook-error.ts';
import { answerBytesMax, type Ask, type HookInput } from './target.ts';

/** A multiple of what Base64 takes at once, 3. */
const pieceBytes = 384 * 1024;

export function askLambda(
  target: LambdaTarget,
  { clock, fetch }: Pick<FunctionPorts, 'clock' | 'fetch'>,
): Ask {
  // The hook has a limit of its own, for the making of the image and this together.
  const invoked = lambdaFunction(target, { clock, fetch, timeoutMs: null, answerBytesMax });
  return async (input, signal) => {
    const id = `${input.hook}/${input.camera}/${input.fragment}`;
    const invoke = async (): Promise<Buffer> => {
      const payload = await payloadOf(input, invoked.payloadBytesMax);
      return invoked.call({ id, payload }, signal);
    };
    const answer = await asHookErrors(invoke());
    // What a function returns that returns nothing.
    return answer.toString() === 'null' ? Buffer.alloc(0) : answer;
  };
}

/**
 * The bytes are not looked through for what JSON would escape: Base64 has none of it. Megabytes are
 * done in pieces, so that others have their turn.
 * @throws FunctionError `too-large`, before any memory is taken
 */
async function payloadOf({ bytes, ...others }: HookInput, maxBytes: number): Promise<Buffer> {
  const before = `${JSON.stringify(others).slice(0, -1)},"body":"`;
  const base64Bytes = 4 * Math.ceil(bytes.length / 3);
  const payloadBytes = Buffer.byteLength(before) + base64Bytes + 2;
  if (payloadBytes > maxBytes) {
    throw new FunctionError('too-large', `Lambda takes ${maxBytes} bytes of JSON at most`);
  }
  const payload = Buffer.alloc(payloadBytes);
  let at = payload.write(before);
  for (let from = 0; from < bytes.length; from += pieceBytes) {
    at += payload.write(bytes.toString('base64', from, from + pieceBytes), at);
    await setImmediate();
  }
  payload.write('"}', at);
  return payload;
}
