/**
 * Asks a program whether a delivery may send: exit code 0 says yes. Anything else says no, also that
 * it can't be started or takes too long, which is told apart: then nobody has said anything.
 */
import type { Clock } from '../../../storage/ports.ts';
import { runProgram, type ProgramOptions } from '../../hooks/program.ts';
import { within } from '../timing.ts';

export interface OnlyWhileOptions {
  readonly program: string;
  readonly arguments?: readonly string[];
  /** From the end of one run to the beginning of the next. Default 60. */
  readonly everySeconds?: number;
  /** Default 10. */
  readonly timeoutSeconds?: number;
}

export const onlyWhileDefaults = { everySeconds: 60, timeoutSeconds: 10 } as const;

/** What programs are run with. */
export type Programs = Pick<ProgramOptions, 'env' | 'killGroup'>;

export interface Answer {
  readonly isYes: boolean;
  /** Nobody has said no: it could not be asked. */
  readonly isFault: boolean;
  /** What came of it, in words. */
  readonly text: string;
}

/** Runs the program once. @throws the signal's reason, once it aborts */
export async function askProgram(
  { program, arguments: given = [], timeoutSeconds }: OnlyWhileOptions,
  about: { readonly delivery: string; readonly clock: Clock; readonly programs: Programs },
  signal: AbortSignal,
): Promise<Answer> {
  const limitSeconds = timeoutSeconds ?? onlyWhileDefaults.timeoutSeconds;
  const input = {
    variables: { HEADGATE_DELIVERY: about.delivery },
    bytes: Buffer.alloc(0),
    // What it prints is nobody's business, however much it is.
    take: () => true,
  };
  try {
    const ended = await within(about.clock, limitSeconds * 1000, signal, (inner) =>
      runProgram(
        { program, arguments: given },
        { ...about.programs, timeoutSeconds: limitSeconds },
        input,
        inner,
      ),
    );
    return { isYes: ended.code === 0, isFault: ended.isNotStarted, text: ended.text };
  } catch (error) {
    signal.throwIfAborted();
    const isLate = error instanceof DOMException && error.name === 'AbortError';
    const text = isLate ? `took more than ${limitSeconds} s` : "can't be started";
    return { isYes: false, isFault: true, text: `${program} ${text}` };
  }
}
