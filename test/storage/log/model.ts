/**
 * The log against a model that is too simple to be wrong: random appends, reads, splits, merges,
 * checkpoints, time, retention, compaction, encryption that begins and ends, and restarts, the same
 * for the same seed.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import { localMasterKey, sealedOverheadBytes } from '../../../storage/keys.ts';
import type {
  LogRecord,
  RecordInput,
  RecordPlace,
  ShardDescription,
  StreamOptions,
} from '../../../storage/model.ts';
import {
  hourMs,
  openTestStore,
  seededRandom,
  streamOptions,
  type TestStore,
} from '../support/open.ts';
import type { Scope } from '../../support/scope.ts';
import { ModelShards, type ModelRecord } from './model-shards.ts';

const stepsPerSeed = 60;
const openShardsMax = 8;

class Run {
  readonly #opened: TestStore;
  readonly #options: StreamOptions;
  readonly #random: () => number;
  readonly #shards: ModelShards;
  /** Numbers the records, so that their order can be told. */
  #appended = 0;
  /** The latest time at which retention has run: what was old then may be gone. */
  #latestMs = -Infinity;

  constructor(opened: TestStore, options: StreamOptions, random: () => number) {
    this.#opened = opened;
    this.#options = options;
    this.#random = random;
    this.#shards = new ModelShards(this.#listed());
  }

  async step(): Promise<void> {
    const choice = this.#random();
    if (choice < 0.37) await this.#append();
    else if (choice < 0.5) await this.#read();
    else if (choice < 0.56) await this.#findByTime();
    else if (choice < 0.64) await this.#reshard();
    else if (choice < 0.69) await this.#reshardAmongAppends();
    else if (choice < 0.76) await this.#passTime();
    else if (choice < 0.77) await this.#leap();
    else if (choice < 0.83) await this.#retain();
    else if (choice < 0.89) await this.#compact();
    else if (choice < 0.91) await this.#encrypt();
    else if (choice < 0.96) await this.#checkpoint();
    else await this.#reopen();
  }

  #upTo(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#upTo(from.length)]!;
  }

  #listed(): readonly ShardDescription[] {
    return this.#opened.store.log.stream('readings').shards;
  }

  // ---------------------------------------------------------------- appends

  #records(): RecordInput[] {
    return Array.from({ length: this.#upTo(8) + 1 }, () => {
      const data = Buffer.alloc(4 + this.#upTo(this.#random() < 0.05 ? 5000 : 60), this.#upTo(256));
      data.writeUInt32BE(this.#appended++);
      return this.#random() < 0.1
        ? { partitionKey: 'explicit', data, explicitHashKey: BigInt(this.#upTo(16)) << 124n }
        : { partitionKey: `key-${this.#upTo(12)}`, data };
    });
  }

  async #append(): Promise<void> {
    const inputs = this.#records();
    const owners = this.#ownersOf(inputs);
    this.#take(inputs, owners, await settled(this.#opened.store.log.append('readings', inputs)));
  }

  #ownersOf(inputs: readonly RecordInput[]): number[] {
    return inputs.map(({ partitionKey, explicitHashKey }) => {
      const md5 = createHash('md5').update(partitionKey).digest('hex');
      return this.#shards.owner(explicitHashKey ?? BigInt(`0x${md5}`));
    });
  }

  /**
   * The outcome of an append is as it should be; what was acknowledged is in the model.
   * @param ahead what was appended before it in the same group commit, and so can't make room for it
   */
  #take(
    inputs: readonly RecordInput[],
    owners: readonly number[],
    outcome: readonly RecordPlace[] | StorageError,
    ahead: readonly RecordInput[] = [],
  ): void {
    const { maxBytes, whenFull } = this.#options;
    if (outcome instanceof StorageError) {
      assert.equal(outcome.code, 'stream-full', String(outcome));
      const bytes = [...ahead, ...inputs].reduce((sum, { data }) => sum + data.length + 100, 200);
      assert.ok(maxBytes !== null, 'there is no limit');
      const pinned = whenFull === 'refuse' && this.#shards.pinned;
      assert.ok(pinned || bytes > maxBytes, 'nothing is pinned: there is room');
      return;
    }
    const arrivalMs = this.#opened.clock.nowMs();
    for (const [index, { partitionKey, data }] of inputs.entries()) {
      const { records } = this.#shards.get(owners[index]!);
      assert.equal(outcome[index]!.shardIndex, owners[index]);
      assert.equal(outcome[index]!.sequence, records.length);
      records.push({ key: partitionKey, data: data.toString('hex'), arrivalMs });
    }
  }

  // ---------------------------------------------------------------- resharding

  async #reshard(): Promise<void> {
    await this.#startReshard();
    this.#shards.adopt(this.#listed());
  }

  /** In the same group commit as appends before and behind it. */
  async #reshardAmongAppends(): Promise<void> {
    const { log } = this.#opened.store;
    const [before, after] = [this.#records(), this.#records()];
    const ownersBefore = this.#ownersOf(before);
    const first = settled(log.append('readings', before));
    const resharded = this.#startReshard();
    const second = settled(log.append('readings', after));
    await resharded;
    this.#take(before, ownersBefore, await first);
    this.#shards.adopt(this.#listed());
    this.#take(after, this.#ownersOf(after), await second, before);
  }

  async #startReshard(): Promise<void> {
    const { log } = this.#opened.store;
    const open = this.#shards.open;
    const choice = this.#random();
    if (choice < 0.15) {
      await log.resizeStream('readings', this.#upTo(openShardsMax) + 1);
    } else if (open.length > 1 && (choice < 0.5 || open.length >= openShardsMax)) {
      const place = this.#upTo(open.length - 1);
      const [left, right] = [open[place]!, open[place + 1]!];
      const [a, b] = this.#random() < 0.5 ? [left, right] : [right, left];
      await log.mergeShards('readings', a.index, b.index);
    } else {
      const { index, first, last } = this.#pick(open);
      const at = first + ((last - first + 1n) * BigInt(this.#upTo(64))) / 64n;
      const split = await settled(log.splitShard('readings', index, at));
      if (at > first) assert.ok(!(split instanceof StorageError), 'it was refused');
      else assert.ok(split instanceof StorageError && split.code === 'invalid-argument');
    }
  }

  // ---------------------------------------------------------------- reading

  async #read(): Promise<void> {
    const { log } = this.#opened.store;
    const shard = this.#pick(this.#listed());
    const { records: model } = this.#shards.get(shard.index);
    const fromSequence = this.#upTo(model.length + 2);
    const maxRecords = this.#upTo(20) + 1;
    const maxBytes = this.#upTo(800) + 1;
    const result = await log.read({ shardId: shard.id, fromSequence, maxRecords, maxBytes });
    const start = Math.max(fromSequence, shard.trimSequence);
    let bytes = 0;
    const expected = model.slice(start, start + maxRecords).filter((record, index) => {
      bytes += record.data.length / 2;
      return index === 0 || bytes <= maxBytes;
    });
    assert.deepEqual(result.records.map(plain), expected);
    assert.deepEqual(
      result.records.map(({ sequence }) => sequence),
      expected.map((_, index) => start + index),
    );
    assert.equal(result.nextSequence, start + expected.length);
    assert.equal(result.endOfShard, shard.closedMs !== null && result.nextSequence >= model.length);
    assert.equal(result.skipped.trimmed, start - fromSequence);
    assert.equal(result.skipped.corrupt, 0);
    assert.equal(result.recordsBehind, Math.max(0, model.length - result.nextSequence));
  }

  async #findByTime(): Promise<void> {
    const { log } = this.#opened.store;
    const shard = this.#pick(this.#listed());
    const timestampMs = this.#opened.clock.nowMs() - this.#upTo(30 * hourMs);
    const first = this.#shards.firstAt(shard.index, timestampMs);
    const expected = Math.max(first, shard.trimSequence);
    assert.equal(await log.sequenceAt(shard.id, timestampMs), expected);
  }

  // ---------------------------------------------------------------- time

  async #passTime(): Promise<void> {
    const { clock, store } = this.#opened;
    this.#latestMs = Math.max(this.#latestMs, clock.nowMs());
    if (this.#random() < 0.3) clock.stepWall((this.#random() - 0.5) * 1.8 * hourMs);
    else clock.advance(this.#upTo(4 * hourMs));
    // Whole milliseconds, as the port promises.
    clock.stepWall(Math.ceil(clock.nowMs()) - clock.nowMs());
    // The timer has started a pass: the model looks again when it is over.
    this.#latestMs = Math.max(this.#latestMs, clock.nowMs());
    await store.retention.run();
    this.#assertShards();
  }

  /** The clock is set, by up to two days either way: nothing goes for that. */
  async #leap(): Promise<void> {
    const { clock, store } = this.#opened;
    const trims = (): readonly number[] => this.#listed().map(({ trimSequence }) => trimSequence);
    await this.#retain();
    const before = trims();
    const hours = 2 + this.#upTo(47);
    clock.stepWall((this.#random() < 0.5 ? -hours : hours) * hourMs);
    await this.#retain();
    if (store.clockGuard.suspended) assert.deepEqual(trims(), before, 'a leap expired records');
    if (this.#random() < 0.3) {
      await store.clockGuard.confirm();
      await this.#retain();
    }
  }

  async #retain(): Promise<void> {
    const { store, clock } = this.#opened;
    this.#latestMs = Math.max(this.#latestMs, clock.nowMs());
    await store.retention.run();
    const { maxBytes, retentionMs, whenFull } = this.#options;
    // What is dated in the future goes together with what came after it and has expired.
    const expiredMs = this.#latestMs + hourMs - retentionMs;
    const trims = new Map(this.#listed().map((shard) => [shard.index, shard.trimSequence]));
    for (const { index, records, checkpoint } of this.#shards.all) {
      const trimSequence = trims.get(index) ?? records.length;
      const last = records.slice(0, trimSequence).at(-1);
      const expired = last === undefined || last.arrivalMs <= expiredMs;
      assert.ok(expired || maxBytes !== null, 'a record went before its time');
      if (checkpoint !== null && whenFull === 'refuse') {
        assert.ok(trimSequence <= checkpoint, 'a pinned record went');
      }
    }
    this.#assertShards();
    const { storedBytes } = store.log.stream('readings');
    if (maxBytes !== null) assert.ok(storedBytes <= maxBytes + 1024 * 1024);
  }

  // ---------------------------------------------------------------- the rest

  /** Changes nothing that anybody can see, but what is stored. */
  async #compact(): Promise<void> {
    const { store } = this.#opened;
    const before = store.log.stream('readings');
    await store.compaction.run();
    const after = store.log.stream('readings');
    assert.deepEqual(after.shards, before.shards);
    await this.#assertNotLarger(before.storedBytes);
    await this.#assertAccounts();
  }

  /** Among appends, which are sealed or not. */
  async #encrypt(): Promise<void> {
    const { log } = this.#opened.store;
    const encryption = this.#random() < 0.6 ? 'aes-256-gcm' : 'none';
    const changed = log.updateStream('readings', { encryption });
    await this.#append();
    await changed;
    await this.#assertAccounts();
  }

  /** Only sealing makes a batch larger, by what that adds. */
  async #assertNotLarger(beforeBytes: number): Promise<void> {
    const { store } = this.#opened;
    const [row] = await store.queries.all<{ count: number }>('SELECT count(*) AS count FROM batch');
    const { storedBytes } = store.log.stream('readings');
    const sealingBytes = row!.count * sealedOverheadBytes;
    assert.ok(storedBytes <= beforeBytes + sealingBytes, 'the log became larger');
  }

  /** What the stream says it takes up is what is in the table. */
  async #assertAccounts(): Promise<void> {
    const { store } = this.#opened;
    const [row] = await store.queries.all<{ bytes: number }>(
      'SELECT coalesce(sum(length(body)), 0) AS bytes FROM batch',
    );
    assert.equal(store.log.stream('readings').storedBytes, row!.bytes);
  }

  /** The shards that should be there are, and the required application knows what it should. */
  #assertShards(): void {
    const listed = this.#listed();
    this.#shards.assertListed(listed, this.#latestMs - this.#options.retentionMs);
    const [application] = this.#opened.store.log.applications.list();
    const leases = application?.leases ?? [];
    const found = new Map(leases.map(({ source, checkpoint }) => [source.id, checkpoint]));
    for (const { id, index } of listed) {
      assert.equal(found.get(id) ?? null, this.#shards.get(index).checkpoint);
      found.delete(id);
    }
    assert.equal(found.size, 0, 'a lease of a shard that is gone');
  }

  async #checkpoint(): Promise<void> {
    const { applications } = this.#opened.store.log;
    const pinned = this.#listed().filter(
      ({ index }) => this.#shards.get(index).checkpoint !== null,
    );
    if (pinned.length === 0) await applications.ensure({ name: 'uplink', required: true });
    const shard = this.#pick(pinned.length === 0 ? this.#listed() : pinned);
    const model = this.#shards.get(shard.index);
    const source = { kind: 'shard', id: shard.id } as const;
    const start = shard.nextSequence;
    const lease = await applications.acquire('uplink', source, 'me', 1e12, start);
    assert.equal(lease.checkpoint, model.checkpoint ?? start);
    const further = lease.checkpoint + this.#upTo(model.records.length - lease.checkpoint + 1);
    await applications.release(await applications.checkpoint(lease, further));
    model.checkpoint = further;
  }

  async #reopen(): Promise<void> {
    const before = this.#opened.store.log.stream('readings');
    this.#latestMs = Math.max(this.#latestMs, this.#opened.clock.nowMs());
    await this.#opened.reopen();
    // A step of compaction that was under way has ended first.
    await this.#assertNotLarger(before.storedBytes);
    await this.#assertAccounts();
    this.#assertShards();
  }

  /** Everything that is left is what was acknowledged, and in order when parents are read first. */
  async finish(): Promise<void> {
    const { log } = this.#opened.store;
    const newest = new Map<string, number>();
    for (const shard of this.#listed()) {
      const { records: model } = this.#shards.get(shard.index);
      const all = { shardId: shard.id, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
      const { records } = await log.read(all);
      assert.deepEqual(records.map(plain), model.slice(shard.trimSequence));
      for (const { partitionKey, data } of records) {
        if (partitionKey === 'explicit') continue;
        const number = data.readUInt32BE();
        assert.ok(number > (newest.get(partitionKey) ?? -1), `${partitionKey} is out of order`);
        newest.set(partitionKey, number);
      }
    }
    this.#assertShards();
    await this.#assertAccounts();
    for await (const finding of checkStore({ folder: this.#opened.folder })) {
      assert.fail(JSON.stringify(finding));
    }
  }
}

async function settled<T>(work: Promise<T>): Promise<T | StorageError> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof StorageError) return error;
    throw error;
  }
}

function plain(record: LogRecord): ModelRecord {
  const { partitionKey, data, arrivalMs } = record;
  return { key: partitionKey, data: data.toString('hex'), arrivalMs };
}

/** Rejects when the log did something else than the model. */
export async function logAgainstModel(scope: Scope, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const options = streamOptions({
    shardCount: Math.floor(random() * 5) + 1,
    // On demand it would do something by itself.
    mode: 'provisioned',
    retentionMs: 8 * hourMs,
    maxBytes: random() < 0.5 ? null : 2000 + Math.floor(random() * 8000),
    whenFull: random() < 0.5 ? 'refuse' : 'drop-oldest',
    compression: random() < 0.5 ? 'none' : 'deflate',
    encryption: random() < 0.5 ? 'none' : 'aes-256-gcm',
  });
  const current = localMasterKey(Buffer.alloc(32, seed % 256));
  const opened = await openTestStore(scope, {
    masterKeys: () => Promise.resolve({ current, previous: [] }),
    dataKeyAgeMaxMs: 12 * hourMs,
  });
  await opened.store.log.createStream(options);
  const run = new Run(opened, options, random);
  for (let step = 0; step < stepsPerSeed; step += 1) await run.step();
  await run.finish();
}
