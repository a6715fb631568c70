/**
 * The Kinesis API against a model that is too simple to be wrong: random puts, reads, splits, merges,
 * UpdateShardCount and restarts, the same for the same seed. What is below the API has a model of its
 * own (`test/storage/log/model.ts`); what a kill leaves is looked at in `kills.ts`.
 */
import assert from 'node:assert/strict';
import { KinesisService } from '../../../../../gateway/api/kinesis/kinesis.ts';
import { Metering } from '../../../../../gateway/api/kinesis/metering.ts';
import { openTestStore, seededRandom, type TestStore } from '../../../../storage/support/open.ts';
import type { Scope } from '../../../../support/scope.ts';
import { memoryFolder } from '../../../../support/temporary-folder.ts';
import { accountId, byKeyAlone, jsonHeaders, type Answer } from '../callers.ts';
import { StreamClient, streamName } from './client.ts';
import { assertSame, ModelStream, type ModelShard, type SentRecord } from './stream.ts';

const stateMs = 200;
const stepsPerSeed = 60;
const openShardsMax = 8;
const cursorsMax = 4;
const iteratorLifeMs = 300_000;

/** A reader that goes on where it was. */
interface Cursor {
  readonly shard: ModelShard;
  readonly iterator: string;
  readonly place: number;
  readonly madeMs: number;
}

/** The API over a store that may be closed and opened again. */
class ServedStore {
  readonly #opened: TestStore;
  readonly #enforceLimits: boolean;
  #service: KinesisService;

  constructor(scope: Scope, opened: TestStore, enforceLimits: boolean) {
    this.#opened = opened;
    this.#enforceLimits = enforceLimits;
    this.#service = this.#serve();
    scope.after(() => {
      this.#service.close();
    });
  }

  #serve(): KinesisService {
    const { store, clock, logger, metrics } = this.#opened;
    const metering = new Metering({ clock, metrics });
    return new KinesisService({
      ...{ metering, log: store.log, clock, logger, metrics, stateMs, authenticator: byKeyAlone },
      authorizer: { authorize: () => undefined },
      audit: { record: () => undefined, countStranger: () => undefined },
      account: { region: 'us-east-1', accountId },
      secret: Buffer.alloc(32, 7),
      enforceLimits: this.#enforceLimits,
      newStreams: { maxBytes: null, whenFull: 'refuse' },
    });
  }

  async ask(operation: string, body: object): Promise<Answer> {
    const response = await this.#service.routes.request('http://127.0.0.1/', {
      method: 'POST',
      headers: { ...jsonHeaders, 'x-amz-target': `Kinesis_20131202.${operation}` },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      body: text === '' ? {} : (JSON.parse(text) as Answer['body']),
    };
  }

  async compact(): Promise<void> {
    await this.#opened.store.compaction.run();
  }

  async restart(): Promise<void> {
    this.#service.close();
    await this.#opened.reopen();
    this.#service = this.#serve();
  }
}

class Run {
  readonly #served: ServedStore;
  readonly #clock: TestStore['clock'];
  readonly #client: StreamClient;
  readonly #random: () => number;
  readonly #model = new ModelStream();
  readonly #sent = new Map<string, number>();
  #cursors: readonly Cursor[] = [];

  constructor(served: ServedStore, clock: TestStore['clock'], random: () => number) {
    this.#served = served;
    this.#clock = clock;
    this.#random = random;
    this.#client = new StreamClient({
      ask: (operation, body) => served.ask(operation, body),
      random,
      wait: () => {
        clock.advance(1000);
        return Promise.resolve();
      },
      arrivalMs: () => clock.nowMs(),
    });
  }

  async begin(): Promise<void> {
    await this.#client.ask('CreateStream', {
      ...{ StreamName: streamName, StreamARN: undefined, ShardCount: 1 + this.#upTo(5) },
    });
    this.#settleState();
    this.#model.adopt(await this.#client.shards());
  }

  async step(): Promise<void> {
    const choice = this.#random();
    if (choice < 0.4) await this.#put();
    else if (choice < 0.44) await this.#putMuch();
    else if (choice < 0.6) await this.#readOnce();
    else if (choice < 0.7) await this.#readOn();
    else if (choice < 0.8) await this.#reshard();
    else if (choice < 0.88) await this.#reshardAmongPuts();
    else if (choice < 0.94) this.#clock.advance(this.#upTo(this.#random() < 0.2 ? 400_000 : 3000));
    else if (choice < 0.95) await this.#served.compact();
    else if (choice < 0.98) await this.#restart();
    else await this.#restartAmongPuts();
  }

  #upTo(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#upTo(from.length)]!;
  }

  // ---------------------------------------------------------------- puts

  #recordOf(slot: number): SentRecord {
    const isExplicit = slot % 6 === 5;
    const key = isExplicit ? `explicit-${slot}` : `key-${slot}`;
    const number = this.#sent.get(key) ?? 0;
    this.#sent.set(key, number + 1);
    const text = `${key} ${number}${' '.repeat(this.#upTo(this.#random() < 0.02 ? 20_000 : 60))}`;
    // One place for each key, so that its order is told.
    return isExplicit ? { key, text, explicitHashKey: BigInt(slot % 16) << 124n } : { key, text };
  }

  /** @param lane keys of its own, for what is put at the same time as something else */
  #records(lane = 0): SentRecord[] {
    const count = this.#random() < 0.5 ? 1 : 1 + this.#upTo(12);
    return Array.from({ length: count }, () => this.#recordOf(lane * 6 + this.#upTo(6)));
  }

  async #put(): Promise<void> {
    await this.#client.put(this.#model, this.#records());
    await this.#look();
  }

  /** More than a shard takes in a second. */
  async #putMuch(): Promise<void> {
    const slot = this.#upTo(6);
    for (let call = 0; call < 4; call += 1) {
      const records = Array.from({ length: 400 }, () => this.#recordOf(slot));
      await this.#client.put(this.#model, records);
    }
    await this.#look();
  }

  async #look(): Promise<readonly ModelShard[]> {
    const added = this.#model.adopt(await this.#client.shards());
    this.#model.assertDense();
    return added;
  }

  // ---------------------------------------------------------------- reads

  async #readOnce(): Promise<void> {
    const shard = this.#pick(this.#model.shards);
    const [start, place] = this.#start(shard);
    const iterator = await this.#client.iterator(shard.id, start);
    const cursor = { shard, iterator, place, madeMs: this.#clock.nowMs() };
    await this.#follow(cursor);
  }

  /** A way to begin reading, and the place that it means. */
  #start({ records }: ModelShard): [start: object, place: number] {
    const choice = this.#random();
    if (choice < 0.2) return [{ ShardIteratorType: 'TRIM_HORIZON' }, 0];
    if (choice < 0.4) return [{ ShardIteratorType: 'LATEST' }, records.length];
    if (choice < 0.6 || records.length === 0) {
      const arrivalMs = this.#random() < 0.5 ? this.#pick(records)?.arrivalMs : undefined;
      const atMs = arrivalMs ?? this.#clock.nowMs() - this.#upTo(20_000);
      const found = records.findIndex((record) => record!.arrivalMs >= atMs);
      const place = found === -1 ? records.length : found;
      return [{ ShardIteratorType: 'AT_TIMESTAMP', Timestamp: atMs / 1000 }, place];
    }
    const place = this.#upTo(records.length);
    const StartingSequenceNumber = records[place]!.sequenceNumber;
    return choice < 0.8
      ? [{ ShardIteratorType: 'AT_SEQUENCE_NUMBER', StartingSequenceNumber }, place]
      : [{ ShardIteratorType: 'AFTER_SEQUENCE_NUMBER', StartingSequenceNumber }, place + 1];
  }

  async #readOn(): Promise<void> {
    if (this.#cursors.length === 0) return this.#readOnce();
    const cursor = this.#pick(this.#cursors);
    this.#cursors = this.#cursors.filter((other) => other !== cursor);
    return this.#follow(cursor);
  }

  /** Reads a page; what comes is what the model has there, and the cursor is kept for later. */
  async #follow({ shard, iterator, place, madeMs }: Cursor): Promise<void> {
    const ageMs = this.#clock.nowMs() - madeMs;
    // It may have to wait until its shard may be read again.
    if (ageMs <= iteratorLifeMs && ageMs > iteratorLifeMs - 10_000) return;
    if (ageMs > iteratorLifeMs) {
      const { body } = await this.#served.ask('GetRecords', { ShardIterator: iterator });
      assert.equal(body['__type'], 'ExpiredIteratorException');
      return;
    }
    const limit = 1 + this.#upTo(30);
    const { records, next, children, millisBehind } = await this.#client.read(iterator, limit);
    const expected = shard.records.slice(place, place + limit);
    assert.equal(records.length, expected.length);
    for (const [index, record] of records.entries()) assertSame(record, expected[index]!);
    const end = place + records.length;
    const isAtEnd = end === shard.records.length;
    assert.equal(next === null, isAtEnd && !shard.isOpen);
    const own = this.#model.shards.filter(({ parents }) => parents.includes(shard.id));
    assert.deepEqual(
      children.map(({ ShardId }) => ShardId),
      next === null ? own.map(({ id }) => id) : [],
    );
    const last = records.at(-1);
    const behindMs =
      isAtEnd || last === undefined ? 0 : shard.records.at(-1)!.arrivalMs - last.arrivalMs;
    assert.equal(millisBehind, behindMs);
    if (next === null) return;
    const cursor = { shard, iterator: next, place: end, madeMs: this.#clock.nowMs() };
    this.#cursors = [...this.#cursors, cursor].slice(-cursorsMax);
  }

  // ---------------------------------------------------------------- shards

  /** Waits for what was changed last to be over. */
  #settleState(): void {
    this.#clock.advance(stateMs);
  }

  async #reshard(): Promise<void> {
    this.#settleState();
    const [operation, body, expected] = this.#change();
    await this.#client.done(operation, body);
    const added = await this.#look();
    if (expected !== null) {
      assert.deepEqual(
        added.map(({ first, last, parents }) => ({ first, last, parents })),
        expected,
      );
    } else {
      assert.equal(
        this.#model.open.length,
        (body as { TargetShardCount: number }).TargetShardCount,
      );
    }
    if (this.#random() < 0.3) {
      const busy = await this.#client.ask(operation, body);
      assert.equal(busy.body['__type'], 'ResourceInUseException');
      assert.deepEqual(await this.#look(), []);
    }
  }

  /** A change of the shards that is allowed, and what it makes; null: so many that are open. */
  #change(): [
    operation: string,
    body: object,
    made: readonly Pick<ModelShard, 'first' | 'last' | 'parents'>[] | null,
  ] {
    const { open } = this.#model;
    const choice = this.#random();
    if (choice < 0.2) {
      const least = Math.ceil(open.length / 2);
      const most = Math.min(2 * open.length, openShardsMax);
      const TargetShardCount = least + this.#upTo(most - least + 1);
      return ['UpdateShardCount', { TargetShardCount, ScalingType: 'UNIFORM_SCALING' }, null];
    }
    if (open.length > 1 && (choice < 0.6 || open.length >= openShardsMax)) {
      const place = this.#upTo(open.length - 1);
      const [left, right] = [open[place]!, open[place + 1]!];
      const [a, b] = this.#random() < 0.5 ? [left, right] : [right, left];
      return [
        'MergeShards',
        { ShardToMerge: a.id, AdjacentShardToMerge: b.id },
        [{ first: left.first, last: right.last, parents: [a.id, b.id] }],
      ];
    }
    const { id, first, last } = this.#pick(open.filter((one) => one.last - one.first > 64n));
    const at = first + ((last - first) * BigInt(1 + this.#upTo(62))) / 64n;
    return [
      'SplitShard',
      { ShardToSplit: id, NewStartingHashKey: at.toString() },
      [
        { first, last: at - 1n, parents: [id] },
        { first: at, last, parents: [id] },
      ],
    ];
  }

  /** Calls that are under way at the same time; those of one key come one after the other. */
  async #reshardAmongPuts(): Promise<void> {
    this.#settleState();
    const [operation, body] = this.#change();
    const lane = async (number: number): Promise<void> => {
      const calls = 1 + this.#upTo(3);
      for (let call = 0; call < calls; call += 1) {
        await this.#client.put(this.#model, this.#records(number));
      }
    };
    const lanes = [lane(0), lane(1)];
    await Promise.all([...lanes, this.#client.done(operation, body), lane(2), lane(3)]);
    await this.#look();
  }

  // ---------------------------------------------------------------- restarts

  async #restart(): Promise<void> {
    await this.#served.restart();
    assert.deepEqual(await this.#look(), []);
  }

  /** Calls that the closing meets may be carried out or not. */
  async #restartAmongPuts(): Promise<void> {
    const puts = [0, 1, 2, 3].map((lane) => this.#client.put(this.#model, this.#records(lane)));
    for (let turns = this.#upTo(40); turns > 0; turns -= 1) await Promise.resolve();
    await this.#served.restart();
    await Promise.all(puts);
    await this.settle();
  }

  /** Everything is read, and is what was acknowledged. */
  async settle(): Promise<number> {
    const listed = await this.#client.shards();
    this.#model.adopt(listed);
    this.#model.settle(await this.#client.readAll(listed));
    return this.#model.shards.reduce((sum, { records }) => sum + records.length, 0);
  }
}

/** Rejects when the API did something else than the model; returns how many records there were. */
export async function kinesisAgainstModel(scope: Scope, seed: number): Promise<number> {
  const random = seededRandom(seed);
  const opened = await openTestStore(scope, { folder: await memoryFolder(scope) });
  const served = new ServedStore(scope, opened, random() < 0.5);
  const run = new Run(served, opened.clock, random);
  await run.begin();
  for (let step = 0; step < stepsPerSeed; step += 1) await run.step();
  return run.settle();
}
