/**
 * One thread with one load of a module in it. It takes a call at a time, and is of no more use once
 * anything in it went wrong otherwise than by a function that throws: then it ends, whatever it is
 * at, and somebody starts another.
 */
import { pathToFileURL } from 'node:url';
import { basename } from 'node:path';
import {
  MessageChannel,
  receiveMessageOnPort,
  Worker,
  type MessagePort,
} from 'node:worker_threads';
import { z } from 'zod';
import type { Logger } from '../../../storage/ports.ts';
import { FunctionError, type FunctionCall } from '../function.ts';
import { answerTooLarge } from '../limits.ts';
import type { ModuleTarget } from '../target.ts';
import type { Output } from './output.ts';

/** What to do about one that can't be loaded, to be gone on with or begun with. */
export const mendModule =
  'correct the module, or its path: it is read anew with the next attempt, which "headgate function resume" or "headgate delivery resume" makes at once';

const said = { message: z.string(), stack: z.string() };
const isSpent = z.boolean();
const message = z.discriminatedUnion('type', [
  z.object({ type: z.literal('loaded') }),
  z.object({ type: z.literal('unloadable'), ...said }),
  z.object({ type: z.literal('answer'), bytes: z.instanceof(Uint8Array), isSpent }),
  z.object({ type: z.literal('too-large'), isSpent }),
  z.object({ type: z.literal('failed'), ...said, isSpent }),
]);

interface Pending<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

export interface ThreadOptions {
  readonly target: ModuleTarget;
  readonly answerBytesMax: number;
  /** Gets what it writes to its console. */
  readonly output: Output;
  readonly logger: Logger;
}

export class ModuleThread {
  readonly #options: ThreadOptions;
  readonly #logger: Logger;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #exited: Promise<void>;
  #isLoaded = false;
  #loading: Pending<void> | null = null;
  #pending: Pending<Buffer> | null = null;
  #ended: Error | null = null;

  constructor(options: ThreadOptions) {
    const { target, answerBytesMax, output, logger } = options;
    this.#options = options;
    this.#logger = logger;
    // Nothing of our environment and of how we were started is passed on.
    this.#worker = new Worker(new URL('./thread.mjs', import.meta.url), {
      ...{ env: {}, argv: [], execArgv: [], stdin: false, stdout: true, stderr: true },
      resourceLimits: { maxOldGenerationSizeMb: target.memoryMaxMiB },
    });
    output.follow(this.#worker.stdout, 'info');
    output.follow(this.#worker.stderr, 'warn');
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#hearOut();
        this.#end(this.#lost(`its thread ended with ${code}`));
        resolve();
      });
    });
    this.#worker.on('error', (error) => {
      this.#hearOut();
      this.#end(this.#errorOf(error));
    });
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', (value: unknown) => {
      this.#hear(value);
    });
    this.#worker.postMessage(
      {
        ...{ port: port2, url: pathToFileURL(target.path).href, name: target.export },
        ...{ memoryBytesMax: target.memoryMaxMiB * 2 ** 20, answerBytesMax },
      },
      [port2],
    );
  }

  get isUsable(): boolean {
    return this.#ended === null;
  }

  /**
   * Resolves once the module is loaded and exports the function; a call need not wait for it.
   * @throws FunctionError; the signal's reason, once it aborts: then the thread has ended
   */
  async loaded(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#ended !== null) throw this.#ended;
    if (this.#isLoaded) return;
    const onAbort = (): void => {
      this.#end(signal.reason as Error);
    };
    try {
      await new Promise<void>((resolve, reject) => {
        this.#loading = { resolve, reject };
        signal.addEventListener('abort', onAbort, { once: true });
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#loading = null;
    }
  }

  /** @throws FunctionError; the signal's reason, once it aborts: then the thread has ended */
  async call(
    { id, payload }: FunctionCall,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<Buffer> {
    signal.throwIfAborted();
    const functionName = basename(this.#options.target.path);
    const onAbort = (): void => {
      this.#end(signal.reason as Error);
    };
    try {
      return await new Promise((resolve, reject) => {
        if (this.#ended !== null) {
          reject(this.#ended);
          return;
        }
        this.#pending = { resolve, reject };
        signal.addEventListener('abort', onAbort, { once: true });
        const copy = new Uint8Array(payload);
        this.#port.postMessage({ id, payload: copy, timeoutMs, functionName }, [copy.buffer]);
      });
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#pending = null;
    }
  }

  /** Ends it, whatever it is at. Twice is harmless. */
  async close(): Promise<void> {
    this.#end(new FunctionError('unreachable', 'it is closed'));
    await this.#exited;
  }

  /** What it said before it ended may come after the news of its end. */
  #hearOut(): void {
    while (this.#ended === null) {
      const left = receiveMessageOnPort(this.#port);
      if (left === undefined) return;
      this.#hear(left.message);
    }
  }

  #hear(value: unknown): void {
    const heard = message.safeParse(value);
    if (!heard.success) {
      this.#end(new FunctionError('failed', 'its thread sends what was not agreed on'));
      return;
    }
    const { data } = heard;
    if (data.type === 'loaded') {
      this.#isLoaded = true;
      this.#loading?.resolve();
    } else if (data.type === 'unloadable')
      this.#end(this.#unloadable(data.message, { stack: data.stack }));
    else {
      if (data.type === 'answer') this.#pending?.resolve(Buffer.from(data.bytes.buffer));
      else if (data.type === 'too-large') {
        this.#pending?.reject(answerTooLarge(this.#options.answerBytesMax));
      } else {
        const { message, stack } = data;
        this.#pending?.reject(new FunctionError('failed', `it threw ${message}`, { stack }));
      }
      this.#pending = null;
      if (data.isSpent) this.#end(this.#outOfMemory());
    }
  }

  #end(reason: Error): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#loading?.reject(reason);
    if (this.#pending === null) {
      if (!(reason instanceof FunctionError && reason.code === 'unreachable')) {
        this.#logger.warn({ error: reason }, 'The thread of a function ended.');
      }
    } else this.#pending.reject(reason);
    this.#port.close();
    void this.#worker.terminate();
  }

  #errorOf(error: unknown): FunctionError {
    const code = error instanceof Error && 'code' in error ? error.code : null;
    if (code === 'ERR_WORKER_OUT_OF_MEMORY') return this.#outOfMemory();
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return this.#lost(`its thread ended: ${text.slice(0, 300)}`, error);
  }

  #outOfMemory(): FunctionError {
    const { memoryMaxMiB } = this.#options.target;
    return new FunctionError('out-of-memory', `it needs more than ${memoryMaxMiB} MiB`);
  }

  #lost(message: string, cause?: unknown): FunctionError {
    if (!this.#isLoaded) return this.#unloadable(message, { cause });
    return new FunctionError('failed', message, { cause });
  }

  #unloadable(
    message: string,
    from: { readonly cause: unknown } | { readonly stack: string },
  ): FunctionError {
    const { path } = this.#options.target;
    return new FunctionError('denied', `${path} can't be loaded: ${message}`, from);
  }
}
