/**
 * The threads that do the heavy work of formats for all deliveries, so that nothing else waits for
 * it. There are one or two, begun when they are first needed, each with a bound on its memory. A
 * thread that ends fails what it had under way, to be tried again; the next one takes its place.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { SinkError } from '../../sink.ts';
import type { Answer, Request, Result, Work } from './protocol.ts';

/** Work of one object. */
export interface Session {
  /**
   * One after the other, each with the answer of the one before.
   * @param transfer memory that is handed over, and gone here
   * @throws SinkError: `unavailable` when the thread has ended; `rejected` when it can't be done
   */
  ask(
    request: Extract<Request, { type: 'add' | 'end' }>,
    transfer?: readonly ArrayBuffer[],
  ): Promise<Result>;
  /** Fails what is under way. Twice is harmless. */
  close(): void;
}

export interface EncoderThreadsOptions {
  readonly count: number;
  /** Of the heap of each. */
  readonly heapMiB: number;
}

/** A row group with its rows, and what Parquet makes of them beside it. */
const defaultHeapMiB = 512;

export class EncoderThreads {
  readonly #heapMiB: number;
  readonly #threads: (Thread | null)[];

  constructor({ count, heapMiB }: EncoderThreadsOptions) {
    this.#heapMiB = heapMiB;
    this.#threads = Array.from({ length: count }, () => null);
  }

  /** A session in the thread that has the fewest. */
  open(work: Work): Session {
    const load = this.#threads.map((thread) => thread?.sessions ?? 0);
    const at = load.indexOf(Math.min(...load));
    const thread = this.#threads[at] ?? this.#start(at);
    return thread.open(work);
  }

  #start(at: number): Thread {
    const thread = new Thread(this.#heapMiB, () => {
      if (this.#threads[at] === thread) this.#threads[at] = null;
    });
    this.#threads[at] = thread;
    return thread;
  }
}

let shared: EncoderThreads | null = null;

/** Those of this process. */
export function sharedThreads(): EncoderThreads {
  shared ??= new EncoderThreads({
    count: Math.min(2, Math.max(1, availableParallelism() - 1)),
    heapMiB: defaultHeapMiB,
  });
  return shared;
}

interface Waiting {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: SinkError) => void;
}

class Thread {
  readonly #worker: Worker;
  readonly #onEnd: () => void;
  readonly #waiting = new Map<number, Waiting>();
  #opened = 0;
  #sessions = 0;
  #ended: SinkError | null = null;

  constructor(heapMiB: number, onEnd: () => void) {
    this.#onEnd = onEnd;
    this.#worker = startThread(heapMiB);
    this.#worker.unref();
    this.#worker.on('message', (answer: Answer) => {
      this.#answered(answer);
    });
    this.#worker.on('error', (error) => {
      this.#end(error);
    });
    this.#worker.on('exit', (code) => {
      this.#end(new Error(`exit code ${code}`));
    });
  }

  get sessions(): number {
    return this.#sessions;
  }

  open(work: Work): Session {
    this.#opened += 1;
    this.#sessions += 1;
    const id = this.#opened;
    let isClosed = false;
    const opened = this.#ask(id, { type: 'open', work });
    opened.catch(() => undefined);
    let head: Result | null = null;
    return {
      ask: async (request, transfer = []) => {
        head ??= await opened;
        if (isClosed) throw new SinkError('aborted', 'the object was given up');
        const result = await this.#ask(id, request, transfer);
        const pieces = [...head.pieces, ...result.pieces];
        head = nothing;
        return { pieces, failures: result.failures };
      },
      close: () => {
        if (isClosed) return;
        isClosed = true;
        this.#sessions -= 1;
        this.#settle(id)?.reject(new SinkError('aborted', 'the object was given up'));
        if (this.#ended === null) {
          this.#worker.postMessage({ session: id, request: { type: 'close' } });
        }
      },
    };
  }

  #ask(session: number, request: Request, transfer: readonly ArrayBuffer[] = []): Promise<Result> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#waiting.set(session, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ session, request }, [...transfer]);
    });
  }

  #answered(answer: Answer): void {
    const waiting = this.#settle(answer.session);
    if ('error' in answer) waiting?.reject(new SinkError('rejected', answer.error));
    else waiting?.resolve(answer);
  }

  #settle(session: number): Waiting | undefined {
    const waiting = this.#waiting.get(session);
    this.#waiting.delete(session);
    // Waiting for an answer keeps the process, having a thread does not.
    if (this.#waiting.size === 0) this.#worker.unref();
    return waiting;
  }

  #end(cause: Error): void {
    if (this.#ended !== null) return;
    this.#ended = new SinkError('unavailable', `the thread that encodes ended: ${cause.message}`, {
      cause,
    });
    this.#onEnd();
    for (const session of [...this.#waiting.keys()]) this.#settle(session)?.reject(this.#ended);
  }
}

const nothing: Result = { pieces: [], failures: [] };

function startThread(heapMiB: number): Worker {
  const limits = {
    resourceLimits: { maxOldGenerationSizeMb: heapMiB, maxYoungGenerationSizeMb: 48 },
  };
  const compiled = new URL('./encoder-thread.js', import.meta.url);
  if (!import.meta.url.endsWith('.ts')) return new Worker(compiled, limits);
  // From the sources: what makes a program read TypeScript is not taken over by its threads.
  const source = new URL('./encoder-thread.ts', import.meta.url);
  const reader = import.meta.resolve('tsx/esm/api');
  const code = `
    import(${JSON.stringify(reader)}).then(({ register }) => {
      register();
      return import(${JSON.stringify(source.href)});
    });`;
  return new Worker(code, { ...limits, eval: true });
}
