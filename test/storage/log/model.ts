/**
 * The log against a model that is too simple to be wrong: random appends, reads, checkpoints, time,
 * retention, compaction and restarts, the same for the same seed.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { checkStore } from '../../../storage/check.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Lease, LogRecord, RecordInput, StreamOptions } from '../../../storage/model.ts';
import {
  hourMs,
  openTestStore,
  seededRandom,
  streamOptions,
  type TestStore,
} from '../support/open.ts';
import type { Scope } from '../../support/scope.ts';

const stepsPerSeed = 40;

interface ModelRecord {
  readonly key: string;
  readonly data: string;
  readonly arrivalMs: number;
}

class Run {
  readonly #opened: TestStore;
  readonly #options: StreamOptions;
  readonly #random: () => number;
  /** Every record ever acknowledged, by shard index; what was trimmed stays here. */
  readonly #shards: ModelRecord[][];
  #lease: Lease | null = null;
  /** The latest time at which retention has run: what was old then may be gone. */
  #latestMs = -Infinity;

  constructor(opened: TestStore, options: StreamOptions, random: () => number) {
    this.#opened = opened;
    this.#options = options;
    this.#random = random;
    this.#shards = Array.from({ length: options.shardCount }, () => []);
  }

  async step(): Promise<void> {
    const choice = this.#random();
    if (choice < 0.45) await this.#append();
    else if (choice < 0.62) await this.#read();
    else if (choice < 0.7) await this.#findByTime();
    else if (choice < 0.76) await this.#passTime();
    else if (choice < 0.77) await this.#leap();
    else if (choice < 0.83) await this.#retain();
    else if (choice < 0.91) await this.#compact();
    else if (choice < 0.96) await this.#checkpoint();
    else await this.#reopen();
  }

  #upTo(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async #append(): Promise<void> {
    const { log } = this.#opened.store;
    const arrivalMs = this.#opened.clock.nowMs();
    const inputs: RecordInput[] = Array.from({ length: this.#upTo(8) + 1 }, () => ({
      partitionKey: `key-${this.#upTo(12)}`,
      data: Buffer.alloc(this.#upTo(this.#random() < 0.05 ? 5000 : 60), this.#upTo(256)),
      ...(this.#random() < 0.1 ? { explicitHashKey: BigInt(this.#upTo(16)) << 124n } : {}),
    }));
    let places;
    try {
      places = await log.append('readings', inputs);
    } catch (error) {
      assert.ok(error instanceof StorageError && error.code === 'stream-full', String(error));
      const { maxBytes, whenFull } = this.#options;
      const bytes = inputs.reduce((sum, { data }) => sum + data.length + 100, 200);
      assert.ok(maxBytes !== null, 'there is no limit');
      const pinned = whenFull === 'refuse' && this.#lease !== null;
      assert.ok(pinned || bytes > maxBytes, 'nothing is pinned: there is room');
      return;
    }
    for (const [index, input] of inputs.entries()) {
      const shardIndex = this.#ownerOf(input);
      const records = this.#shards[shardIndex]!;
      assert.equal(places[index]!.shardIndex, shardIndex);
      assert.equal(places[index]!.sequence, records.length);
      records.push({ key: input.partitionKey, data: input.data.toString('hex'), arrivalMs });
    }
  }

  #ownerOf(input: RecordInput): number {
    const hash =
      input.explicitHashKey ??
      BigInt(`0x${createHash('md5').update(input.partitionKey).digest('hex')}`);
    const count = BigInt(this.#options.shardCount);
    for (let index = 0n; index < count; index += 1n) {
      if (hash < ((index + 1n) << 128n) / count) return Number(index);
    }
    throw new Error('no owner');
  }

  async #read(): Promise<void> {
    const { log } = this.#opened.store;
    const shard = log.stream('readings').shards[this.#upTo(this.#options.shardCount)]!;
    const model = this.#shards[shard.index]!;
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
    assert.equal(result.skipped.trimmed, start - fromSequence);
    assert.equal(result.skipped.corrupt, 0);
    assert.equal(result.recordsBehind, Math.max(0, model.length - result.nextSequence));
  }

  async #findByTime(): Promise<void> {
    const { log } = this.#opened.store;
    const shard = log.stream('readings').shards[this.#upTo(this.#options.shardCount)]!;
    const model = this.#shards[shard.index]!;
    const timestampMs = this.#opened.clock.nowMs() - this.#upTo(30 * hourMs);
    const first = model.findIndex(({ arrivalMs }) => arrivalMs >= timestampMs);
    const expected = first === -1 ? model.length : Math.max(first, shard.trimSequence);
    assert.equal(await log.sequenceAt(shard.id, timestampMs), expected);
  }

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
  }

  /** The clock is set, by up to two days either way: nothing goes for that. */
  async #leap(): Promise<void> {
    const { clock, store } = this.#opened;
    const trims = (): readonly number[] =>
      store.log.stream('readings').shards.map(({ trimSequence }) => trimSequence);
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
    const description = store.log.stream('readings');
    const { maxBytes } = this.#options;
    for (const shard of description.shards) {
      // What is dated in the future goes together with what came after it and has expired.
      const last = this.#shards[shard.index]!.slice(0, shard.trimSequence).at(-1);
      const expiredMs = this.#latestMs + hourMs - this.#options.retentionMs;
      const expired = last === undefined || last.arrivalMs <= expiredMs;
      assert.ok(expired || maxBytes !== null, 'a record went before its time');
      if (this.#lease?.source.id === shard.id && this.#options.whenFull === 'refuse') {
        assert.ok(
          shard.trimSequence <= Math.max(this.#lease.checkpoint, 0),
          'a pinned record went',
        );
      }
    }
    if (maxBytes !== null) assert.ok(description.storedBytes <= maxBytes + 1024 * 1024);
  }

  /** Changes nothing that anybody can see, but what is stored. */
  async #compact(): Promise<void> {
    const { store } = this.#opened;
    const before = store.log.stream('readings');
    await store.compaction.run();
    const after = store.log.stream('readings');
    assert.deepEqual(after.shards, before.shards);
    assert.ok(after.storedBytes <= before.storedBytes, 'the log became larger');
    await this.#assertAccounts();
  }

  /** What the stream says it takes up is what is in the table. */
  async #assertAccounts(): Promise<void> {
    const { store } = this.#opened;
    const [row] = await store.queries.all<{ bytes: number }>(
      'SELECT coalesce(sum(length(body)), 0) AS bytes FROM batch',
    );
    assert.equal(store.log.stream('readings').storedBytes, row!.bytes);
  }

  async #checkpoint(): Promise<void> {
    const { log } = this.#opened.store;
    const { applications } = log;
    if (this.#lease === null) {
      await applications.ensure({ name: 'uplink', required: true });
      const shard = log.stream('readings').shards[0]!;
      const source = { kind: 'shard', id: shard.id } as const;
      this.#lease = await applications.acquire('uplink', source, 'me', 1e12, shard.nextSequence);
    }
    const { checkpoint } = this.#lease;
    const further = checkpoint + this.#upTo(this.#shards[0]!.length - checkpoint + 1);
    this.#lease = await applications.checkpoint(this.#lease, further);
  }

  async #reopen(): Promise<void> {
    const before = this.#opened.store.log.stream('readings');
    const store = await this.#opened.reopen();
    const after = store.log.stream('readings');
    assert.deepEqual(
      after.shards.map(({ nextSequence }) => nextSequence),
      before.shards.map(({ nextSequence }) => nextSequence),
    );
    // A step of compaction that was under way has ended first.
    assert.ok(after.storedBytes <= before.storedBytes, 'the log became larger');
    await this.#assertAccounts();
    if (this.#lease !== null) {
      const { application, source, checkpoint } = this.#lease;
      this.#lease = await store.log.applications.acquire(application, source, 'me', 1e12, 0);
      assert.equal(this.#lease.checkpoint, checkpoint);
    }
  }

  /** Everything that is left is what was acknowledged, in every shard. */
  async finish(): Promise<void> {
    const { log } = this.#opened.store;
    for (const shard of log.stream('readings').shards) {
      const model = this.#shards[shard.index]!;
      assert.equal(shard.nextSequence, model.length);
      const all = { shardId: shard.id, fromSequence: 0, maxRecords: 1e6, maxBytes: 1e9 };
      const { records } = await log.read(all);
      assert.deepEqual(records.map(plain), model.slice(shard.trimSequence));
    }
    await this.#assertAccounts();
    for await (const finding of checkStore({ folder: this.#opened.folder })) {
      assert.fail(JSON.stringify(finding));
    }
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
    retentionMs: 8 * hourMs,
    maxBytes: random() < 0.5 ? null : 2000 + Math.floor(random() * 8000),
    whenFull: random() < 0.5 ? 'refuse' : 'drop-oldest',
    compression: random() < 0.5 ? 'none' : 'deflate',
  });
  const opened = await openTestStore(scope);
  await opened.store.log.createStream(options);
  const run = new Run(opened, options, random);
  for (let step = 0; step < stepsPerSeed; step += 1) await run.step();
  await run.finish();
}
