/**
 * Follows the shards of a stream: a worker for each of them, once its parents are done to their ends,
 * so that order survives resharding. New shards are looked for every five seconds, and when woken.
 */
import type { Log, ShardDescription, StreamDescription } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import type { TaskContext } from '../supervisor.ts';
import { pause } from './timing.ts';

const rescanMs = 5_000;

export interface ShardWork {
  /** Gives every shard a checkpoint, so that what comes is kept from now on. */
  readonly takeCheckpoints: (stream: StreamDescription) => Promise<void>;
  /** Starts the worker of a shard; `finished` says that its children may begin. */
  readonly start: (
    shard: ShardDescription,
    stream: StreamDescription,
    finished: () => void,
  ) => void;
  /** What else depends on the stream, each time that it was looked at. */
  readonly looked?: (stream: StreamDescription) => void;
}

export class ShardFollower {
  readonly #log: Log;
  readonly #clock: Clock;
  #wake: () => void = () => undefined;

  constructor({ log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Looks again now. */
  wake(): void {
    this.#wake();
  }

  /**
   * Resolves when the task stops, or the stream was deleted and another has its name.
   * @throws StorageError `not-found`
   */
  async follow(stream: string, context: TaskContext, work: ShardWork): Promise<void> {
    const { signal } = context;
    const begun = new Set<number>();
    const finished = new Set<number>();
    const stopped = (): boolean => signal.aborted;
    const { id } = this.#log.stream(stream);
    while (!stopped()) {
      const description = this.#log.stream(stream);
      if (description.id !== id) return;
      await work.takeCheckpoints(description);
      // Before it is looked: what changes from here on is not overlooked.
      const wake = new AbortController();
      this.#wake = () => {
        wake.abort();
      };
      signal.addEventListener('abort', this.#wake, { once: true });
      // It may have been stopped while the checkpoints were taken.
      if (stopped()) return;
      context.ready();
      for (const shard of description.shards) {
        const waitsFor = shard.parents.filter(
          (parent) => !finished.has(parent) && description.shards.some((s) => s.index === parent),
        );
        if (begun.has(shard.index) || waitsFor.length > 0) continue;
        begun.add(shard.index);
        work.start(shard, description, () => finished.add(shard.index));
      }
      work.looked?.(description);
      await pause(this.#clock, rescanMs, wake.signal);
      signal.removeEventListener('abort', this.#wake);
    }
  }
}
