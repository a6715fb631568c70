/** The shards of a stream as the model of the log knows them: all that there ever were. */
import assert from 'node:assert/strict';
import type { ShardDescription } from '../../../storage/model.ts';

export interface ModelRecord {
  readonly key: string;
  readonly data: string;
  readonly arrivalMs: number;
}

export interface ModelShard {
  readonly index: number;
  readonly first: bigint;
  readonly last: bigint;
  readonly parents: readonly number[];
  closedMs: number | null;
  /** Every record ever acknowledged; what was trimmed stays here. */
  readonly records: ModelRecord[];
  /** The highest arrival in the shards that it comes from. */
  readonly arrivalMs: number;
  /** Of the required application; null: it has none. */
  checkpoint: number | null;
}

export class ModelShards {
  readonly #shards = new Map<number, ModelShard>();

  constructor(listed: readonly ShardDescription[]) {
    for (const shard of listed) this.#add(shard);
    this.#assertRanges();
  }

  get all(): readonly ModelShard[] {
    return [...this.#shards.values()];
  }

  /** In the order of their hash keys. */
  get open(): readonly ModelShard[] {
    return this.all
      .filter(({ closedMs }) => closedMs === null)
      .sort((a, b) => (a.first < b.first ? -1 : 1));
  }

  /** Something may not be deleted by age or for want of room. */
  get pinned(): boolean {
    return this.all.some(({ checkpoint }) => checkpoint !== null);
  }

  get(index: number): ModelShard {
    const shard = this.#shards.get(index);
    assert.ok(shard !== undefined, `shard ${index} has come by itself`);
    return shard;
  }

  owner(hashKey: bigint): number {
    return this.open.find(({ last }) => hashKey <= last)!.index;
  }

  /** The first record of a shard at which the highest arrival so far is at or after a time. */
  firstAt(index: number, timestampMs: number): number {
    const { records, arrivalMs: before } = this.get(index);
    if (before >= timestampMs) return 0;
    const first = records.findIndex(({ arrivalMs }) => arrivalMs >= timestampMs);
    return first === -1 ? records.length : first;
  }

  /** Takes over what a reshard has made, if that makes sense. */
  adopt(listed: readonly ShardDescription[]): void {
    const closedBefore = new Map(this.all.map(({ index, closedMs }) => [index, closedMs]));
    for (const shard of listed) {
      if (!this.#shards.has(shard.index)) this.#add(shard);
      else this.get(shard.index).closedMs ??= shard.closedMs;
    }
    for (const { index, createdMs, parents } of listed) {
      if (closedBefore.has(index)) continue;
      assert.ok(parents.length === 1 || parents.length === 2);
      for (const parent of parents) {
        assert.equal(closedBefore.get(parent) ?? null, null, 'the parent was open');
        assert.equal(this.get(parent).closedMs, createdMs);
        const made = listed.find((shard) => shard.index === parent)!.createdMs;
        assert.ok(Math.floor(made / 1000) < Math.floor(createdMs / 1000), 'a later second');
      }
    }
    this.#assertRanges();
  }

  #add({ index, firstHashKey, lastHashKey, parents, closedMs }: ShardDescription): void {
    assert.ok(index === this.#shards.size, 'indexes are dense and never used twice');
    const from = parents.map((parent) => this.get(parent));
    const arrivals = from.flatMap(({ arrivalMs, records }) => [
      arrivalMs,
      ...records.map((record) => record.arrivalMs),
    ]);
    this.#shards.set(index, {
      ...{ index, first: firstHashKey, last: lastHashKey, parents, closedMs },
      records: [],
      arrivalMs: Math.max(-Infinity, ...arrivals),
      checkpoint: from.some(({ checkpoint }) => checkpoint !== null) ? 0 : null,
    });
  }

  #assertRanges(): void {
    let next = 0n;
    for (const { first, last } of this.open) {
      assert.equal(first, next);
      next = last + 1n;
    }
    assert.equal(next, 1n << 128n);
  }

  /**
   * All shards are listed but closed ones of which nothing is needed any more.
   * @param expiredMs what was closed before may be gone
   */
  assertListed(listed: readonly ShardDescription[], expiredMs: number): void {
    const byIndex = new Map(listed.map((shard) => [shard.index, shard]));
    for (const { index, first, last, parents, closedMs, records, checkpoint } of this.all) {
      const shard = byIndex.get(index);
      byIndex.delete(index);
      if (shard === undefined) {
        assert.ok(closedMs !== null && closedMs < expiredMs, `shard ${index} went too early`);
        assert.ok((checkpoint ?? records.length) >= records.length, 'a pinned shard went');
        for (const parent of parents) {
          assert.ok(!listed.some((other) => other.index === parent), 'it went before its parent');
        }
        continue;
      }
      assert.deepEqual(
        [shard.firstHashKey, shard.lastHashKey, shard.parents, shard.closedMs],
        [first, last, parents, closedMs],
      );
      assert.equal(shard.nextSequence, records.length);
    }
    assert.equal(byIndex.size, 0);
  }
}
