/**
 * Regular expressions over lines that strangers wrote. One that takes too long (nested repetitions
 * can take years) is stopped: it runs under V8's watchdog, a batch of lines at a time.
 */
import { createContext, Script, type Context } from 'node:vm';

/** For all lines of a batch together; the event loop stands still meanwhile. */
const timeMaxMs = 250;

const matchAll = new Script('lines.map((line) => pattern.exec(line))');

export class LinePattern {
  readonly #context: Context;

  /** @throws SyntaxError */
  constructor(source: string) {
    this.#context = createContext({ pattern: new RegExp(source, 'u'), lines: [] });
  }

  /** What each line matches; null: it took too long, and nothing is known. */
  match(lines: readonly string[]): readonly (RegExpExecArray | null)[] | null {
    this.#context['lines'] = lines;
    try {
      return matchAll.runInContext(this.#context, {
        timeout: timeMaxMs,
      }) as (RegExpExecArray | null)[];
    } catch (error) {
      if (isTimeout(error)) return null;
      throw error;
    } finally {
      this.#context['lines'] = [];
    }
  }
}

/** The error may be one of the context's own, and no `Error` of ours. */
function isTimeout(error: unknown): boolean {
  return (
    typeof error === 'object' &&
    error !== null &&
    'code' in error &&
    error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
  );
}
