/**
 * What the gateway says about itself: pino behind the `Logger` of storage/ports.ts. JSON, a line
 * each, for machines; or lines for people on a terminal.
 *
 * Secrets do not get through: fields with such a name, and passwords in URLs, are masked, at any
 * depth. How lines get to a file descriptor without holding up anybody is in line-writer.ts.
 */
import pino from 'pino';
import type { LogFields, Logger } from '../../storage/ports.ts';
import { isSecretName, masked, maskUrls } from './mask.ts';
import { LineWriter } from './line-writer.ts';
import { printLine } from './text-lines.ts';

const depthMax = 5;
const entriesMax = 200;
const textMaxLength = 8192;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export interface LoggerOptions {
  readonly level: LogLevel;
  /** Lines for people, or JSON. */
  readonly format: 'text' | 'json';
  /** A file descriptor, or what takes the lines, each with its line end. */
  readonly output: number | ((line: string) => void);
  /** Colours, in lines for people. */
  readonly color?: boolean;
}

export interface GatewayLogger extends Logger {
  /** Resolves when all lines are written, or nobody reads them any more. */
  drained(): Promise<void>;
  /** Writes what is waiting at once, as far as that goes; for a process that ends suddenly. */
  flush(): void;
  /** The least important lines from now on, of this logger and its children. */
  setLevel(level: LogLevel): void;
}

/**
 * @example
 * const logger = createLogger({ level: 'info', format: 'json', output: 1 });
 * logger.child({ camera: 'front' }).info({ runId: 12 }, 'recording');
 */
export function createLogger({ level, format, output, color }: LoggerOptions): GatewayLogger {
  const sink = typeof output === 'number' ? descriptorSink(output, format) : functionSink(output);
  const print = format === 'json' ? (line: string) => line : textPrinter(color === true);
  const write = (line: string): void => sink.write(print(line));
  const options = {
    // Which lines are written is decided by `Threshold`.
    level: 'debug',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return new PinoLogger({ pino: pino(options, { write }), sink, threshold: { level } }, {});
}

const ranks: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** Shared by a logger and all its children. */
interface Threshold {
  level: LogLevel;
}

interface Shared {
  readonly pino: pino.Logger;
  readonly sink: Sink;
  readonly threshold: Threshold;
}

class PinoLogger implements GatewayLogger {
  readonly #shared: Shared;
  /**
   * What each line says beside its own fields. Not a child of pino's, which writes a key twice
   * where a line says it again: strict readers of JSON refuse that.
   */
  readonly #fields: Readonly<Record<string, unknown>>;

  constructor(shared: Shared, fields: Readonly<Record<string, unknown>>) {
    this.#shared = shared;
    this.#fields = fields;
  }

  debug(fields: LogFields, message: string): void {
    this.#write('debug', fields, message);
  }

  info(fields: LogFields, message: string): void {
    this.#write('info', fields, message);
  }

  warn(fields: LogFields, message: string): void {
    this.#write('warn', fields, message);
  }

  error(fields: LogFields, message: string): void {
    this.#write('error', fields, message);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#shared, { ...this.#fields, ...clean(fields) });
  }

  setLevel(level: LogLevel): void {
    this.#shared.threshold.level = level;
  }

  drained(): Promise<void> {
    return this.#shared.sink.drained();
  }

  flush(): void {
    this.#shared.sink.flush();
  }

  #write(level: LogLevel, fields: LogFields, message: string): void {
    const { pino, threshold } = this.#shared;
    if (ranks[level] < ranks[threshold.level]) return;
    pino[level]({ ...this.#fields, ...clean(fields) }, message);
  }
}

// ---------------------------------------------------------------- output

type Sink = Pick<LineWriter, 'write' | 'drained' | 'flush'>;

function functionSink(write: (line: string) => void): Sink {
  return { write, drained: () => Promise.resolve(), flush: () => undefined };
}

function descriptorSink(fd: number, format: 'text' | 'json'): Sink {
  return new LineWriter(fd, (dropped) => {
    const message = 'log lines were dropped, because nobody read them';
    const line = { level: 'warn', time: new Date().toISOString(), dropped, msg: message };
    const json = `${JSON.stringify(line)}\n`;
    return format === 'json' ? json : printLine(json, false);
  });
}

function textPrinter(color: boolean): (line: string) => string {
  return (line) => printLine(line, color);
}

// ---------------------------------------------------------------- fields

/** Fields as they may be written: masked, bounded, errors and buffers described. */
function clean(fields: LogFields): Record<string, unknown> {
  return cleanObject(fields, 0, new Set());
}

function cleanObject(value: object, depth: number, above: Set<object>): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  let left = entriesMax;
  for (const [name, inner] of Object.entries(value)) {
    if (left-- === 0) {
      result['…'] = 'more';
      break;
    }
    const hidden = isSecretName(name) && typeof inner !== 'number' && typeof inner !== 'boolean';
    // What pino writes itself would be there twice.
    const key =
      depth === 0 && (name === 'level' || name === 'time' || name === 'msg') ? `${name}_` : name;
    result[key] = hidden ? masked : cleanValue(inner, depth + 1, above);
  }
  return result;
}

function cleanValue(value: unknown, depth: number, above: Set<object>): unknown {
  if (typeof value === 'string') return cleanText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date)
    return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (ArrayBuffer.isView(value)) return `<${value.byteLength} bytes>`;
  if (above.has(value)) return '<circular>';
  if (depth > depthMax) return '…';
  above.add(value);
  try {
    if (value instanceof Error) return cleanError(value, depth, above);
    if (value instanceof Map || value instanceof Set) return `<${value.size} entries>`;
    if (!Array.isArray(value)) return cleanObject(value, depth, above);
    const items = value.slice(0, entriesMax).map((item) => cleanValue(item, depth + 1, above));
    return value.length > entriesMax ? [...items, `… ${value.length} in all`] : items;
  } finally {
    above.delete(value);
  }
}

function cleanError(error: Error, depth: number, above: Set<object>): unknown {
  const { name, message, stack, cause, ...rest } = error as Error & { cause?: unknown };
  return {
    type: name,
    message: cleanText(message),
    ...cleanObject(rest, depth, above),
    ...(stack === undefined ? {} : { stack: cleanText(stack) }),
    ...(cause === undefined ? {} : { cause: cleanValue(cause, depth + 1, above) }),
  };
}

function cleanText(text: string): string {
  const bounded = text.length > textMaxLength ? `${text.slice(0, textMaxLength)}…` : text;
  return maskUrls(bounded);
}
