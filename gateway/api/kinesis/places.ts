/** Where a record was put, as clients know it. */
import type { Log, RecordPlace } from '../../../storage/model.ts';
import { SequenceNumbers, shardIdOf } from './sequence-numbers.ts';
import type { PlaceView } from './wire.ts';

/** Shards whose numbers are written now; past that, all are forgotten. */
const shardsMax = 10_000;

/** Writes places as clients know them. */
export class Places {
  static readonly #ofLogs = new WeakMap<Log, Places>();
  readonly #log: Log;
  readonly #shards = new Map<number, { readonly id: string; readonly numbers: SequenceNumbers }>();

  private constructor(log: Log) {
    this.#log = log;
  }

  /** A log has one for all calls: what it knows of shards never changes. */
  static of(log: Log): Places {
    let places = this.#ofLogs.get(log);
    if (places === undefined) {
      places = new Places(log);
      this.#ofLogs.set(log, places);
    }
    return places;
  }

  show({ shardId, shardIndex, sequence, arrivalMs }: RecordPlace): PlaceView {
    let shard = this.#shards.get(shardId);
    if (shard === undefined) {
      const numbers = new SequenceNumbers(this.#log.shard(shardId));
      shard = { id: shardIdOf(shardIndex), numbers };
      if (this.#shards.size >= shardsMax) this.#shards.clear();
      this.#shards.set(shardId, shard);
    }
    return { SequenceNumber: shard.numbers.of(sequence, arrivalMs), ShardId: shard.id };
  }
}
