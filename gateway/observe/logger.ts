/**
 * What the gateway says about itself: pino behind the `Logger` of storage/ports.ts. JSON, a line
 * each, for machines; or lines for people on a terminal.
 *
 * Secrets do not get through: fields with such a name, and passwords in URLs, are masked, at any
 * depth. Lines go to the file descriptor without a worker thread. A reader that stalls holds up
 * nobody: past 8 MiB of waiting lines new ones are dropped, and counted in a line of their own
 * when lines get through again. A reader that went away ends the output, not the gateway.
 */
import pino from 'pino';
import type { LogFields, Logger } from '../../storage/ports.ts';
import { isSecretName, masked, maskUrls } from './mask.ts';
import { printLine } from './text-lines.ts';

const waitingMaxBytes = 8 * 2 ** 20;
const depthMax = 5;
const entriesMax = 200;
const textMaxLength = 8192;

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Lines for people, or JSON. */
  readonly format: 'text' | 'json';
  /** A file descriptor, or what takes the lines, each with its line end. */
  readonly output: number | ((line: string) => void);
  /** Colours, in lines for people. */
  readonly color?: boolean;
}

export interface GatewayLogger extends Logger {
  /** Writes what is waiting; for the end of the process. */
  flush(): void;
}

/**
 * @example
 * const logger = createLogger({ level: 'info', format: 'json', output: 1 });
 * logger.child({ camera: 'front' }).info({ runId: 12 }, 'recording');
 */
export function createLogger({ level, format, output, color }: LoggerOptions): GatewayLogger {
  const sink: Sink =
    typeof output === 'number' ? descriptorSink(output) : { write: output, flush: () => undefined };
  const write =
    format === 'json' ? sink.write : (line: string) => sink.write(printLine(line, color === true));
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return new PinoLogger(pino(options, { write }), sink.flush);
}

class PinoLogger implements GatewayLogger {
  readonly #pino: pino.Logger;
  readonly flush: () => void;

  constructor(logger: pino.Logger, flush: () => void) {
    this.#pino = logger;
    this.flush = flush;
  }

  debug(fields: LogFields, message: string): void {
    if (this.#pino.isLevelEnabled('debug')) this.#pino.debug(clean(fields), message);
  }

  info(fields: LogFields, message: string): void {
    if (this.#pino.isLevelEnabled('info')) this.#pino.info(clean(fields), message);
  }

  warn(fields: LogFields, message: string): void {
    if (this.#pino.isLevelEnabled('warn')) this.#pino.warn(clean(fields), message);
  }

  error(fields: LogFields, message: string): void {
    this.#pino.error(clean(fields), message);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(clean(fields)), this.flush);
  }
}

// ---------------------------------------------------------------- output

interface Sink {
  readonly write: (line: string) => void;
  readonly flush: () => void;
}

function descriptorSink(fd: number): Sink {
  const destination = pino.destination({ fd, sync: false, maxLength: waitingMaxBytes });
  let dropped = 0;
  let gone = false;
  destination.on('drop', () => {
    dropped += 1;
  });
  destination.on('drain', () => {
    if (dropped === 0 || gone) return;
    const time = new Date().toISOString();
    const line = { level: 'warn', time, dropped, msg: 'log lines were dropped: nobody read them' };
    dropped = 0;
    destination.write(`${JSON.stringify(line)}\n`);
  });
  // EPIPE: who read the lines went away.
  destination.on('error', () => {
    gone = true;
  });
  return {
    write: (line) => {
      if (!gone) destination.write(line);
    },
    flush: () => {
      try {
        if (!gone) destination.flushSync();
      } catch {
        gone = true;
      }
    },
  };
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
