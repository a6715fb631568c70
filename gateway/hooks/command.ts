/**
 * A local program, started for each: the bytes on stdin, what they are of in `HEADGATE_HOOK`,
 * `_CAMERA`, `_FRAGMENT`, `_TIME_US` and `_CONTENT_TYPE`; its answer on stdout. How it is run is said
 * in `program.ts`.
 */
import { FunctionError } from '../functions/function.ts';
import { AnswerBytes } from '../functions/limits.ts';
import { HookError, hookErrorOf } from './hook-error.ts';
import { runProgram, type ProgramOptions, type ProgramTarget } from './program.ts';
import { answerBytesMax, type Ask } from './target.ts';

export function askCommand(target: ProgramTarget, options: ProgramOptions): Ask {
  return async (input, signal) => {
    const answer = new AnswerBytes(answerBytesMax);
    const variables = {
      HEADGATE_HOOK: input.hook,
      HEADGATE_CAMERA: input.camera,
      HEADGATE_FRAGMENT: String(input.fragment),
      HEADGATE_TIME_US: String(input.atUs),
      HEADGATE_CONTENT_TYPE: input.contentType,
    };
    const take = (part: Buffer): boolean => answer.add(part);
    try {
      const ended = await runProgram(
        target,
        options,
        { variables, bytes: input.bytes, take },
        signal,
      );
      if (ended.code === 0 || answer.isTooLarge) return answer.all();
      throw new HookError(ended.isNotStarted ? 'unreachable' : 'failed', ended.text);
    } catch (cause) {
      if (cause instanceof HookError) throw cause;
      if (cause instanceof FunctionError) throw hookErrorOf(cause);
      signal.throwIfAborted();
      throw new HookError('unreachable', `${target.program} can't be started`, { cause });
    }
  };
}
