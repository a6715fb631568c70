/** What a module writes to its console becomes lines of our log, within bounds. */
import type { Readable } from 'node:stream';
import type { Clock, Logger } from '../../../storage/ports.ts';

const lineCharactersMax = 4096;
const linesPerSecondMax = 100;

export class Output {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #secondBeganMs = -Infinity;
  #lines = 0;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
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

  #write(line: string, level: 'info' | 'warn'): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#secondBeganMs >= 1_000) this.#nextSecond(nowMs);
    this.#lines += 1;
    if (this.#lines > linesPerSecondMax) return;
    const said = line.slice(0, lineCharactersMax);
    this.#logger[level]({ said }, 'A function wrote to its console.');
  }

  #nextSecond(nowMs: number): void {
    const leftOut = this.#lines - linesPerSecondMax;
    if (leftOut > 0) this.#logger.warn({ leftOut }, 'A function wrote too much to its console.');
    this.#secondBeganMs = nowMs;
    this.#lines = 0;
  }
}
