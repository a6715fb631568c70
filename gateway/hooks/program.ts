/**
 * Runs a local program without a shell, at low priority; it sees nothing else of our environment
 * than where programs are, and what it is given.
 *
 * Once it has ended, or its time is up, everything in its process group is killed. `timeout` of the
 * coreutils does that, too, for the day on which the gateway is killed first.
 */
import { spawn, type ChildProcess } from 'node:child_process';

export interface ProgramTarget {
  readonly program: string;
  readonly arguments: readonly string[];
}

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** After which whoever runs it calls it off. */
  readonly timeoutSeconds: number;
  /** Kills a process group at once; nothing where there is none any more. */
  readonly killGroup: (pid: number) => void;
}

export interface ProgramInput {
  readonly variables: Readonly<Record<string, string>>;
  /** For its stdin. */
  readonly bytes: Buffer;
  /** Takes what comes on stdout; false: that was enough, and it is ended. */
  readonly take: (part: Buffer) => boolean;
}

export interface ProgramEnd {
  readonly code: number | null;
  /** It is no program, or is not there. */
  readonly isNotStarted: boolean;
  /** How it ended, and the last that it said on stderr. */
  readonly text: string;
}

const passedOn = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR'];
const complaintCharactersMax = 300;
/** Of the shell's, and of `timeout`: it is no program, or is not there. */
const notStarted: ReadonlySet<number | null> = new Set([126, 127]);

/**
 * Resolves when it has ended, also by force.
 * @throws the signal's reason, once it aborts; what the system says when nothing can be started
 */
export async function runProgram(
  target: ProgramTarget,
  { env, timeoutSeconds, killGroup }: ProgramOptions,
  input: ProgramInput,
  signal: AbortSignal,
): Promise<ProgramEnd> {
  signal.throwIfAborted();
  const inherited = Object.fromEntries(passedOn.map((name) => [name, env[name]]));
  const limits = ['-n', '10', 'timeout', '-s', 'KILL', String(Math.ceil(timeoutSeconds) + 1)];
  const child = spawn('nice', [...limits, target.program, ...target.arguments], {
    stdio: 'pipe',
    // A process group of its own, to be killed as one.
    detached: true,
    env: { ...inherited, ...input.variables },
  });
  const kill = (): void => {
    if (child.pid !== undefined) killGroup(child.pid);
    closePipes(child);
  };
  signal.addEventListener('abort', kill, { once: true });
  let said = '';
  child.stdout.on('data', (part: Buffer) => {
    if (!input.take(part)) kill();
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
    const complaint = said.replace(/\p{Cc}+/gu, ' ').trim();
    const how = code === null ? `was ended by ${killedBy ?? 'a signal'}` : `ended with ${code}`;
    return {
      code,
      isNotStarted: notStarted.has(code),
      text: `${target.program} ${how}${complaint === '' ? '' : `: ${complaint}`}`,
    };
  } finally {
    signal.removeEventListener('abort', kill);
    // What it has left behind.
    kill();
  }
}

/** What left the group may hold them open for as long as it likes. */
function closePipes(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  child.stdin?.destroy();
}
