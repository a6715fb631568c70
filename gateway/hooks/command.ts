/**
 * A local program, started for each: the bytes on stdin, what they are of in `HEADGATE_HOOK`,
 * `_CAMERA`, `_FRAGMENT`, `_TIME_US` and `_CONTENT_TYPE`; its answer on stdout. It runs without a
 * shell, at low priority, and sees nothing else of our environment than where programs are.
 *
 * Once it has ended, or its time is up, everything in its process group is killed. `timeout` of the
 * coreutils does that, too, for the day on which the gateway is killed first.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { FunctionError } from '../functions/function.ts';
import { AnswerBytes } from '../functions/limits.ts';
import { HookError, hookErrorOf } from './hook-error.ts';
import { answerBytesMax, type Ask } from './target.ts';

export interface CommandTarget {
  readonly program: string;
  readonly arguments: readonly string[];
}

export interface CommandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** After which whoever asks calls it off. */
  readonly timeoutSeconds: number;
  /** Kills a process group at once; nothing where there is none any more. */
  readonly killGroup: (pid: number) => void;
}

const passedOn = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];
const complaintCharactersMax = 300;
/** Of the shell's, and of `timeout`: it is no program, or is not there. */
const notStarted: ReadonlySet<number | null> = new Set([126, 127]);

export function askCommand(
  target: CommandTarget,
  { env, timeoutSeconds, killGroup }: CommandOptions,
): Ask {
  const inherited = Object.fromEntries(passedOn.map((name) => [name, env[name]]));
  const limits = ['-n', '10', 'timeout', '-s', 'KILL', String(Math.ceil(timeoutSeconds) + 1)];
  return async (input, signal) => {
    signal.throwIfAborted();
    const child = spawn('nice', [...limits, target.program, ...target.arguments], {
      stdio: 'pipe',
      // A process group of its own, to be killed as one.
      detached: true,
      env: {
        ...inherited,
        HEADGATE_HOOK: input.hook,
        HEADGATE_CAMERA: input.camera,
        HEADGATE_FRAGMENT: String(input.fragment),
        HEADGATE_TIME_US: String(input.atUs),
        HEADGATE_CONTENT_TYPE: input.contentType,
      },
    });
    const kill = (): void => {
      if (child.pid !== undefined) killGroup(child.pid);
      closePipes(child);
    };
    signal.addEventListener('abort', kill, { once: true });
    const answer = new AnswerBytes(answerBytesMax);
    let said = '';
    child.stdout.on('data', (part: Buffer) => {
      if (!answer.add(part)) kill();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-complaintCharactersMax);
    });
    // It may leave without having read everything.
    child.stdin.on('error', () => undefined).end(input.bytes);
    try {
      const [code, killedBy] = await new Promise<[number | null, string | null]>(
        (resolve, reject) => {
          child.once('error', reject);
          child.once('close', (...how) => {
            resolve(how);
          });
        },
      );
      signal.throwIfAborted();
      if (code === 0 || answer.isTooLarge) return answer.all();
      const complaint = said.replace(/\p{Cc}+/gu, ' ').trim();
      const how = code === null ? `was ended by ${killedBy ?? 'a signal'}` : `ended with ${code}`;
      throw new HookError(
        notStarted.has(code) ? 'unreachable' : 'failed',
        `${target.program} ${how}${complaint === '' ? '' : `: ${complaint}`}`,
      );
    } catch (cause) {
      if (cause instanceof HookError) throw cause;
      if (cause instanceof FunctionError) throw hookErrorOf(cause);
      signal.throwIfAborted();
      throw new HookError('unreachable', `${target.program} can't be started`, { cause });
    } finally {
      signal.removeEventListener('abort', kill);
      // What it has left behind.
      kill();
    }
  };
}

/** What left the group may hold them open for as long as it likes. */
function closePipes(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.stdin?.destroy();
}
