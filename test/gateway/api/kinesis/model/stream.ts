/**
 * A stream as its clients know it, in memory and too simple to be wrong: its shards, and in each the
 * records that were acknowledged. What the API says is told to it, and has to make sense.
 *
 * A call that was never answered may have been carried out, whole, or not at all.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';

/** `Shard` of the service model, as far as it is looked at. */
export interface ListedShard {
  readonly ShardId: string;
  readonly ParentShardId?: string;
  readonly AdjacentParentShardId?: string;
  readonly HashKeyRange: { readonly StartingHashKey: string; readonly EndingHashKey: string };
  readonly SequenceNumberRange: {
    readonly StartingSequenceNumber: string;
    readonly EndingSequenceNumber?: string;
  };
}

export interface SentRecord {
  readonly key: string;
  /** Unique, and says its place among those of its key. */
  readonly text: string;
  readonly explicitHashKey?: bigint;
}

export interface KeptRecord {
  readonly key: string;
  readonly text: string;
  readonly sequenceNumber: string;
  readonly arrivalMs: number;
}

export interface ModelShard {
  readonly id: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly parents: readonly string[];
  isOpen: boolean;
  /** By their places; a gap is what is not known yet. */
  readonly records: (KeptRecord | undefined)[];
}

/** The place of a record in its shard, 0 for the first: bits 80 to 143 count from 1. */
export function placeOf(sequenceNumber: string): number {
  assert.match(sequenceNumber, /^[1-9]\d{55}$/, 'a sequence number has 56 digits');
  return Number((BigInt(sequenceNumber) >> 80n) & 0xffff_ffff_ffff_ffffn) - 1;
}

/** Order of a key's records, as their sender numbered them. */
export function numberOf(text: string): number {
  return Number(/ (\d+)/.exec(text)?.[1]);
}

export class ModelStream {
  readonly #shards = new Map<string, ModelShard>();
  /** Acknowledged since the shards were looked at last. */
  #acknowledged: { readonly shardId: string; readonly record: KeptRecord }[] = [];
  /** The records of each call that was not answered. */
  #unanswered: (readonly SentRecord[])[] = [];
  /** The highest sequence number of each key so far. */
  readonly #highest = new Map<string, bigint>();

  get shards(): readonly ModelShard[] {
    return [...this.#shards.values()];
  }

  /** In the order of their hash keys. */
  get open(): readonly ModelShard[] {
    return this.shards.filter(({ isOpen }) => isOpen).sort((a, b) => (a.first < b.first ? -1 : 1));
  }

  /** The sequence number of the last record of a key. */
  highestOf(key: string): string | undefined {
    return this.#highest.get(key)?.toString();
  }

  acknowledge(
    { key, text, explicitHashKey }: SentRecord,
    { ShardId: shardId, SequenceNumber: sequenceNumber }: Readonly<Record<string, unknown>>,
    arrivalMs: number,
  ): void {
    assert.ok(typeof shardId === 'string' && typeof sequenceNumber === 'string');
    const number = BigInt(sequenceNumber);
    assert.ok(number > (this.#highest.get(key) ?? 0n), `${text}: its number is not higher`);
    this.#highest.set(key, number);
    const record = { key, text, sequenceNumber, arrivalMs };
    this.#acknowledged.push({ shardId, record });
    this.#hashKeys.set(text, explicitHashKey ?? hashKeyOf(key));
  }

  readonly #hashKeys = new Map<string, bigint>();

  unanswered(records: readonly SentRecord[]): void {
    this.#unanswered.push(records);
    for (const { key, text, explicitHashKey } of records) {
      this.#hashKeys.set(text, explicitHashKey ?? hashKeyOf(key));
    }
  }

  /**
   * Takes over the shards that ListShards names, and puts what was acknowledged into them.
   * Returns those that are new.
   */
  adopt(listed: readonly ListedShard[]): readonly ModelShard[] {
    const added: ModelShard[] = [];
    const numbers = new Map(listed.map((shard) => [shard.ShardId, shard.SequenceNumberRange]));
    for (const shard of listed) {
      const isOpen = shard.SequenceNumberRange.EndingSequenceNumber === undefined;
      const known = this.#shards.get(shard.ShardId);
      if (known === undefined) {
        added.push(this.#add(shard));
        for (const parent of added.at(-1)!.parents) {
          const ended = numbers.get(parent)?.EndingSequenceNumber;
          assert.ok(ended !== undefined, 'the parent is closed');
          const begun = shard.SequenceNumberRange.StartingSequenceNumber;
          assert.ok(BigInt(begun) > BigInt(ended), 'it begins behind its parents');
        }
      } else {
        assert.deepEqual([known.first, known.last], rangeOf(shard), 'a range never changes');
        assert.ok(known.isOpen || !isOpen, 'what is closed stays closed');
        known.isOpen = isOpen;
      }
    }
    const there = new Set(listed.map(({ ShardId }) => ShardId));
    for (const { id } of this.shards) assert.ok(there.has(id), `${id} is gone`);
    this.#assertWhole();
    for (const { shardId, record } of this.#acknowledged) this.#put(shardId, record);
    this.#acknowledged = [];
    return added;
  }

  #add(listed: ListedShard): ModelShard {
    const [first, last] = rangeOf(listed);
    const parents = [listed.ParentShardId, listed.AdjacentParentShardId].filter(
      (parent): parent is string => parent !== undefined,
    );
    for (const parent of parents) {
      const known = this.#shards.get(parent);
      assert.ok(known !== undefined, 'parents are listed before their children');
      assert.ok(known.first <= last && first <= known.last, 'it has keys of its parents');
      known.isOpen = false;
    }
    const isOpen = listed.SequenceNumberRange.EndingSequenceNumber === undefined;
    const shard = { id: listed.ShardId, first, last, parents, isOpen, records: [] };
    this.#shards.set(shard.id, shard);
    return shard;
  }

  /** Every hash key has one open shard. */
  #assertWhole(): void {
    let next = 0n;
    for (const { first, last } of this.open) {
      assert.equal(first, next);
      next = last + 1n;
    }
    assert.equal(next, 1n << 128n);
  }

  #put(shardId: string, record: KeptRecord): void {
    const shard = this.#shards.get(shardId);
    assert.ok(shard !== undefined, `${shardId} is not listed`);
    const hashKey = this.#hashKeys.get(record.text) ?? -1n;
    assert.ok(shard.first <= hashKey && hashKey <= shard.last, `${shardId} is not its shard`);
    const place = placeOf(record.sequenceNumber);
    assert.equal(shard.records[place], undefined, 'a sequence number is given once');
    shard.records[place] = record;
  }

  /** Without calls that were not answered, everything is known: there are no gaps. */
  assertDense(): void {
    for (const { id, records } of this.shards) {
      for (let place = 0; place < records.length; place += 1) {
        assert.ok(records[place] !== undefined, `${id}: nobody was given place ${place}`);
      }
    }
  }

  /**
   * Holds what was read of all shards against what is known. What is there and was not acknowledged
   * is of calls that were not answered, whole calls, once; it is known from now on.
   * @param read by shard, from its beginning to its end, in an order in which parents come first
   */
  settle(read: ReadonlyMap<string, readonly KeptRecord[]>): void {
    const maybe = new Map(this.#unanswered.flatMap((call) => call.map((one) => [one.text, call])));
    const found = new Map<readonly SentRecord[], number>();
    const newest = new Map<string, number>();
    assert.equal(read.size, this.#shards.size);
    for (const [shardId, records] of read) {
      const shard = this.#shards.get(shardId)!;
      assert.ok(records.length >= shard.records.length, `${shardId}: its end is lost`);
      for (const [place, record] of records.entries()) {
        assert.equal(placeOf(record.sequenceNumber), place, `${shardId}: dense`);
        const number = numberOf(record.text);
        assert.ok(
          number > (newest.get(record.key) ?? -1),
          `${record.text}: twice, or out of order`,
        );
        newest.set(record.key, number);
        const known = shard.records[place];
        if (known !== undefined) {
          assertSame(record, known);
          continue;
        }
        const call = maybe.get(record.text);
        assert.ok(call !== undefined, `${shardId}: ${record.text} at ${place} comes from nowhere`);
        found.set(call, (found.get(call) ?? 0) + 1);
        this.#put(shardId, record);
      }
    }
    for (const [call, count] of found) assert.equal(count, call.length, 'all of a call or none');
    this.#unanswered = [];
    this.assertDense();
  }
}

/** By arrivals too, as far as they are known to the millisecond. */
export function assertSame(read: KeptRecord, known: KeptRecord): void {
  assert.deepEqual(
    [read.sequenceNumber, read.key, read.text],
    [known.sequenceNumber, known.key, known.text],
  );
  if (!Number.isNaN(known.arrivalMs)) assert.equal(read.arrivalMs, known.arrivalMs);
}

function hashKeyOf(key: string): bigint {
  return BigInt(`0x${createHash('md5').update(key).digest('hex')}`);
}

function rangeOf({ HashKeyRange: range }: ListedShard): [first: bigint, last: bigint] {
  return [BigInt(range.StartingHashKey), BigInt(range.EndingHashKey)];
}
