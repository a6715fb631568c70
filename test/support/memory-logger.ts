import type { LogFields, Logger } from '../../storage/ports.ts';

export interface LogLine {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: LogFields;
  readonly message: string;
}

/** Keeps every line, so that a test can look at what was said. */
export class MemoryLogger implements Logger {
  readonly lines: LogLine[];
  readonly #bound: LogFields;

  constructor(lines: LogLine[] = [], bound: LogFields = {}) {
    this.lines = lines;
    this.#bound = bound;
  }

  debug(fields: LogFields, message: string): void {
    this.#keep('debug', fields, message);
  }
  info(fields: LogFields, message: string): void {
    this.#keep('info', fields, message);
  }
  warn(fields: LogFields, message: string): void {
    this.#keep('warn', fields, message);
  }
  error(fields: LogFields, message: string): void {
    this.#keep('error', fields, message);
  }
  child(fields: LogFields): Logger {
    return new MemoryLogger(this.lines, { ...this.#bound, ...fields });
  }

  #keep(level: LogLine['level'], fields: LogFields, message: string): void {
    this.lines.push({ level, fields: { ...this.#bound, ...fields }, message });
  }
}
