/**
 * The audit log: who did what to which resource, from where, and what came of it. One JSON object a
 * line, in `audit.log` of the data folder (mode 0600). Control operations only: what creates,
 * changes, deletes or opens something, not each record.
 *
 * - Past `maxFileBytes` the file becomes `audit.log.1`, that one `audit.log.2`, and so on; of
 *   `files` in all the oldest goes.
 * - A line is written whole or not at all: what a full disk took half of is cut off again. It is in
 *   the hands of the system when `flush` resolves, not synced: a power cut may cost the last ones.
 * - Only those who are known get lines. Others are counted, and a line says how many came before the
 *   one behind it: a flood of wrong signatures can't push out what somebody did.
 * - Recording never waits and never fails. Past 1 MiB of waiting lines, and where the disk takes
 *   none, they are dropped, and a line of its own says how many once one can be written.
 */
import { open, rename, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Counter, Logger, Metrics } from '../../storage/ports.ts';
import { maskUrls } from './mask.ts';

export interface AuditEntry {
  /** `kinesis:CreateStream` */
  readonly action: string;
  /** An ARN, or `delivery/archive`; null: the operation has none. */
  readonly resource: string | null;
  /** The ARN of who asked; `operator`: by our own API. */
  readonly caller: string;
  /** null: of our own API, which knows tokens. */
  readonly accessKeyId: string | null;
  readonly sourceAddress: string | null;
  readonly requestId: string | null;
  /** `ok`, or the type of the error that it was answered with. */
  readonly outcome: string;
}

export interface AuditLogOptions {
  /** Usually the data folder. */
  readonly folder: string;
  /** 10 MiB when left out. */
  readonly maxFileBytes?: number;
  /** In all; 5 when left out. */
  readonly files?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const maxFileBytesDefault = 10 * 2 ** 20;
const filesDefault = 5;
const waitingCharactersMax = 2 ** 20;
const textLengthMax = 2_048;
const lineEnd = 10;

export class AuditLog {
  readonly #path: string;
  readonly #maxFileBytes: number;
  readonly #files: number;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #droppedTotal: Counter;
  readonly #strangersTotal: Counter;
  #file: FileHandle | null = null;
  #fileBytes = 0;
  #waiting: string[] = [];
  #waitingCharacters = 0;
  #dropped = 0;
  /** Since the last line. */
  #strangers = 0;
  #writing: Promise<void> | null = null;
  /** Said once, until lines get through again. */
  #failing = false;
  #closed = false;

  private constructor(options: AuditLogOptions) {
    this.#path = join(options.folder, 'audit.log');
    this.#maxFileBytes = options.maxFileBytes ?? maxFileBytesDefault;
    this.#files = options.files ?? filesDefault;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#droppedTotal = options.metrics.counter(
      'headgate_audit_dropped_total',
      'Lines of the audit log that could not be written.',
    );
    this.#strangersTotal = options.metrics.counter(
      'headgate_audit_strangers_total',
      'Control operations asked for by nobody who is known, which get no lines in the audit log.',
    );
  }

  /** Goes on with the file that is there. @throws what the file system says when it can't be opened */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    const log = new AuditLog(options);
    await log.#open();
    return log;
  }

  record(entry: AuditEntry): void {
    const line = this.#lineOf(entry);
    if (this.#closed || this.#waitingCharacters + line.length > waitingCharactersMax) {
      this.#drop(1);
      return;
    }
    this.#waiting.push(line);
    this.#waitingCharacters += line.length;
    this.#writing ??= this.#write();
  }

  /** Counts an operation that nobody who is known asked for. */
  countStranger(): void {
    this.#strangers += 1;
    this.#strangersTotal.add();
  }

  /** Resolves when nothing waits any more. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  /** Writes what waits. Twice is harmless. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
    await this.#appendCounts().catch((error: unknown) => {
      this.#failed(0, error);
    });
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  #lineOf(
    entry: AuditEntry | { readonly dropped: number } | { readonly strangers: number },
  ): string {
    const time = new Date(this.#clock.nowMs()).toISOString();
    const fields = Object.entries(entry).map(([key, value]: [string, unknown]) => [
      key,
      typeof value === 'string' ? maskUrls(value.slice(0, textLengthMax)) : value,
    ]);
    return `${JSON.stringify({ time, ...Object.fromEntries(fields) })}\n`;
  }

  async #write(): Promise<void> {
    // What one turn of the event loop brings is written at once.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const lines = this.#waiting;
      this.#waiting = [];
      this.#waitingCharacters = 0;
      try {
        await this.#appendCounts();
      } catch (error) {
        this.#failed(lines.length, error);
        continue;
      }
      await this.#appendAll(lines);
    }
    // In the same step as the check above: what comes after it starts the next turn.
    this.#writing = null;
  }

  async #appendCounts(): Promise<void> {
    const [dropped, strangers] = [this.#dropped, this.#strangers];
    if (dropped > 0) await this.#append(this.#lineOf({ dropped }));
    this.#dropped -= dropped;
    if (strangers > 0) await this.#append(this.#lineOf({ strangers }));
    this.#strangers -= strangers;
  }

  async #appendAll(lines: readonly string[]): Promise<void> {
    for (const [index, line] of lines.entries()) {
      try {
        await this.#append(line);
      } catch (error) {
        this.#failed(lines.length - index, error);
        return;
      }
    }
    this.#failing = false;
  }

  async #append(line: string): Promise<void> {
    const bytes = Buffer.from(line);
    if (this.#fileBytes > 0 && this.#fileBytes + bytes.length > this.#maxFileBytes) {
      await this.#rotate();
    }
    const file = this.#file ?? (await this.#open());
    try {
      await file.appendFile(bytes);
      this.#fileBytes += bytes.length;
    } catch (error) {
      await file.truncate(this.#fileBytes).catch(() => undefined);
      throw error;
    }
  }

  async #rotate(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close();
    for (let number = this.#files - 1; number >= 1; number -= 1) {
      const from = number === 1 ? this.#path : `${this.#path}.${number - 1}`;
      await rename(from, `${this.#path}.${number}`).catch(ignoreMissing);
    }
    await this.#open();
  }

  async #open(): Promise<FileHandle> {
    const file = await open(this.#path, 'a+', 0o600);
    this.#file = file;
    this.#fileBytes = (await file.stat()).size;
    const last = await file.read(Buffer.alloc(1), 0, 1, Math.max(0, this.#fileBytes - 1));
    // A process that was killed may have left half a line.
    if (last.bytesRead === 1 && last.buffer[0] !== lineEnd) await this.#append('\n');
    return file;
  }

  #failed(lines: number, error: unknown): void {
    this.#drop(lines);
    if (!this.#failing) this.#logger.error({ error }, 'The audit log could not be written.');
    this.#failing = true;
  }

  #drop(lines: number): void {
    this.#dropped += lines;
    this.#droppedTotal.add(lines);
  }
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}
