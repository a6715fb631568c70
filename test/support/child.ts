import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { within } from './deadline.ts';
import type { Scope } from './scope.ts';

/** A real program started by a test; what it prints is kept, and it ends with the test. */
export class Child {
  readonly process: ChildProcess;
  readonly lines: string[] = [];
  readonly #waiting = new Set<(line: string | null) => void>();
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.process = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
    this.process.stdin?.on('error', () => undefined);
    for (const stream of [this.process.stdout, this.process.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        for (const waiter of [...this.#waiting]) waiter(line);
      });
    }
    this.exited = once(this.process, 'close').then(([code, signal]) => {
      for (const waiter of [...this.#waiting]) waiter(null);
      return { code: code as number | null, signal: signal as NodeJS.Signals | null };
    });
    this.exited.catch(() => undefined);
  }

  /**
   * The first line, past or to come, that matches. Rejects when the program ends without it, or
   * does not print it for long.
   */
  line(pattern: RegExp, longestMs?: number): Promise<RegExpExecArray> {
    for (const line of this.lines) {
      const match = pattern.exec(line);
      if (match !== null) return Promise.resolve(match);
    }
    const printed = new Promise<RegExpExecArray>((resolve, reject) => {
      const waiter = (line: string | null): void => {
        const match = line === null ? null : pattern.exec(line);
        if (line !== null && match === null) return;
        this.#waiting.delete(waiter);
        if (match !== null) resolve(match);
        else reject(new Error(`ended without printing ${String(pattern)}:\n${this.#lastLines()}`));
      };
      this.#waiting.add(waiter);
    });
    return within(printed, () => `no line ${String(pattern)}:\n${this.#lastLines()}`, longestMs);
  }

  #lastLines(): string {
    return this.lines.slice(-40).join('\n');
  }

  /** Resolves when it prints another line. Rejects when it ends instead. */
  async next(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const waiter = (line: string | null): void => {
        this.#waiting.delete(waiter);
        if (line !== null) resolve();
        else reject(new Error(`ended:\n${this.lines.slice(-40).join('\n')}`));
      };
      this.#waiting.add(waiter);
    });
  }

  /** kill -9 once it has printed so many lines more, unless it ends before. */
  async killAfter(lines: number): Promise<void> {
    try {
      for (let line = 0; line < lines; line += 1) await this.next();
    } catch {
      return;
    }
    this.process.kill('SIGKILL');
  }

  /** Sends the signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill(signal);
    }
    await within(this.exited, () => `no end after ${signal}:\n${this.#lastLines()}`);
  }
}

/** Starts a program that is killed, if it still runs, when the test ends. */
export function startChild(
  context: Scope,
  command: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Child {
  const child = new Child(command, args, options);
  context.after(() => child.stop('SIGKILL').catch(() => undefined));
  return child;
}
