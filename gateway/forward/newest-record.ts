/** What the last record of a shard says, read once for each. */
import { StorageError } from '../../storage/errors.ts';
import type { Log, LogRecord, ShardDescription } from '../../storage/model.ts';

/** One record is returned, however large it is. */
const bytesMax = 1;

export class NewestRecord<T> {
  readonly #log: Pick<Log, 'read'>;
  readonly #parse: (record: LogRecord) => T | null;
  /** By shard. */
  readonly #known = new Map<number, { readonly next: number; readonly said: T | null }>();

  constructor(log: Pick<Log, 'read'>, parse: (record: LogRecord) => T | null) {
    this.#log = log;
    this.#parse = parse;
  }

  /** null: there is none, or it says nothing, or it can't be read now: nobody's status waits for it. */
  async of(shard: Pick<ShardDescription, 'id' | 'trimSequence' | 'nextSequence'>) {
    const { id, trimSequence, nextSequence: next } = shard;
    if (next <= trimSequence) return null;
    const known = this.#known.get(id);
    if (known?.next === next) return known.said;
    const limits = { maxRecords: 1, maxBytes: bytesMax };
    try {
      const { records } = await this.#log.read({ shardId: id, fromSequence: next - 1, ...limits });
      const said = records[0] === undefined ? null : this.#parse(records[0]);
      this.#known.set(id, { next, said });
      return said;
    } catch (error) {
      if (error instanceof StorageError) return null;
      throw error;
    }
  }
}
