/**
 * A function of a JavaScript module on this machine: `export async function handler(event, context)`
 * as Lambda's functions for Node have it, or CommonJS's `exports.handler`, with a callback where it
 * takes three arguments. It runs with the gateway's rights, in a thread, so that it holds up nothing
 * else; it is no cage for code that means harm.
 *
 * - Each call has a thread to itself, and there are `concurrency` of them at most. A thread is
 *   started when there is a call for it, keeps what the module keeps between calls, and ends when
 *   nobody has needed it for a minute.
 * - A call that takes too long, or needs more than `memoryMaxMiB`, ends its thread. What a module
 *   has outside the heap (Buffers) is only looked at after a call.
 * - The file is read anew once it has changed; of the files that it imports nothing is known.
 */
import { stat } from 'node:fs/promises';
import type { CancelTimer } from '../../../storage/ports.ts';
import { Slots, SpareSlots } from '../../forward/slots.ts';
import { codeOf } from '../../security/access-files.ts';
import { FunctionError, type FunctionCall, type RemoteFunction } from '../function.ts';
import { inTime, payloadBytesMax } from '../limits.ts';
import type { FunctionPorts } from '../open.ts';
import type { ModuleTarget } from '../target.ts';
import { ModuleThread } from './module-thread.ts';
import { Output } from './output.ts';

const idleMsMax = 60_000;
/** What a module is told that has all the time in the world. */
const unlimitedMs = 24 * 3_600_000;

export function moduleFunction(target: ModuleTarget, ports: FunctionPorts): RemoteFunction {
  const threads = new Threads(target, ports);
  const slots = new Slots(target.concurrency, new SpareSlots(target.concurrency - 1));
  return {
    kind: 'module',
    description: target.path,
    payloadBytesMax,
    call: (call, signal) => slots.use(signal, () => threads.call(call, signal)),
    close: () => threads.close(),
  };
}

interface Kept {
  readonly thread: ModuleThread;
  /** Of the file that it has loaded. */
  readonly version: string;
}

class Threads {
  readonly #target: ModuleTarget;
  readonly #ports: FunctionPorts;
  readonly #all = new Set<ModuleThread>();
  /** Those without a call, with what ends their waiting; the last one to work is the last. */
  readonly #idle = new Map<Kept, CancelTimer>();
  readonly #output: Output;
  #isClosed = false;

  constructor(target: ModuleTarget, ports: FunctionPorts) {
    this.#target = target;
    this.#ports = ports;
    this.#output = new Output(ports.clock, ports.logger);
  }

  async call(call: FunctionCall, signal: AbortSignal): Promise<Buffer> {
    const { clock, timeoutMs } = this.#ports;
    const version = await this.#version();
    signal.throwIfAborted();
    if (this.#isClosed) throw new FunctionError('unreachable', 'it is closed');
    const kept = this.#take(version);
    try {
      return await inTime(clock, timeoutMs, signal, (signal) =>
        kept.thread.call(call, timeoutMs ?? unlimitedMs, signal),
      );
    } finally {
      if (kept.thread.isUsable) this.#keep(kept);
      else await this.#end(kept.thread);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const cancelTimer of this.#idle.values()) cancelTimer();
    this.#idle.clear();
    await Promise.all([...this.#all].map((thread) => this.#end(thread)));
  }

  #take(version: string): Kept {
    for (const [kept, cancelTimer] of [...this.#idle].reverse()) {
      cancelTimer();
      this.#idle.delete(kept);
      if (kept.version === version && kept.thread.isUsable) return kept;
      void this.#end(kept.thread);
    }
    const { answerBytesMax, logger } = this.#ports;
    const options = { target: this.#target, answerBytesMax, output: this.#output, logger };
    const thread = new ModuleThread(options);
    this.#all.add(thread);
    return { thread, version };
  }

  #keep(kept: Kept): void {
    const cancelTimer = this.#ports.clock.setTimer(idleMsMax, () => {
      this.#idle.delete(kept);
      void this.#end(kept.thread);
    });
    this.#idle.set(kept, cancelTimer);
  }

  async #end(thread: ModuleThread): Promise<void> {
    await thread.close();
    this.#all.delete(thread);
  }

  /** Another one each time that the file is written. */
  async #version(): Promise<string> {
    try {
      const { ino, size, mtimeMs, ctimeMs } = await stat(this.#target.path);
      return `${ino} ${size} ${mtimeMs} ${ctimeMs}`;
    } catch (cause) {
      const message = `${this.#target.path} can't be read: ${String(codeOf(cause))}`;
      throw new FunctionError('denied', message, { cause });
    }
  }
}
