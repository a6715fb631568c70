/** What a module writes to its console becomes lines of our log, within bounds. */
import type { Readable } from 'node:stream';
import type { Logger } from '../../../storage/ports.ts';

const lineCharactersMax = 4096;
/** Between two calls. */
const linesMax = 100;

export class Output {
  readonly #logger: Logger;
  #lines = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  follow(stream: Readable, level: 'info' | 'warn'): void {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(0, lineCharactersMax);
      for (const line of lines) this.#write(line, level);
    });
    stream.once('close', () => {
      if (rest !== '') this.#write(rest, level);
    });
  }

  /** Gives the next call as many lines as this one had. */
  nextCall(): void {
    const leftOut = this.#lines - linesMax;
    this.#lines = 0;
    if (leftOut > 0) this.#logger.warn({ leftOut }, 'A function wrote too much to its console.');
  }

  #write(line: string, level: 'info' | 'warn'): void {
    this.#lines += 1;
    if (this.#lines > linesMax) return;
    const said = line.slice(0, lineCharactersMax);
    this.#logger[level]({ said }, 'A function wrote to its console.');
  }
}
