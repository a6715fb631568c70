/**
 * The Kinesis API in a process that is killed while four producers put, one caller splits and merges
 * and one consumer reads, again and again. What was acknowledged is there, at the place that was
 * said; what was read is still there; a call without an answer was carried out whole, or not at all.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { checkStore } from '../../../../../storage/check.ts';
import { seededRandom } from '../../../../storage/support/open.ts';
import { startChild } from '../../../../support/child.ts';
import { compiled } from '../../../../support/program.ts';
import { withScope, type Scope } from '../../../../support/scope.ts';
import { memoryFolder } from '../../../../support/temporary-folder.ts';
import { jsonHeaders, type Answer } from '../callers.ts';
import { StreamClient, streamName } from './client.ts';
import { assertSame, ModelStream, placeOf, type KeptRecord, type SentRecord } from './stream.ts';

const childPath = join(import.meta.dirname, 'child.ts');
const livesPerSeed = 3;
const producers = 4;
const openShardsMax = 12;

export interface KillFigures {
  readonly kills: number;
  readonly records: number;
  readonly reshards: number;
}

/** The calls of all callers, until one finds nobody. */
class Life {
  readonly client: StreamClient;
  readonly #url: string;
  readonly #kill: () => void;
  #callsLeft: number;
  isOver = false;

  /** @param calls so many are answered; then it is killed, while others are under way */
  constructor(url: string, random: () => number, calls: number, kill: () => void) {
    this.#url = url;
    this.#callsLeft = calls;
    this.#kill = kill;
    this.client = new StreamClient({
      ask: (operation, body) => this.#ask(operation, body),
      random,
      wait: () => Promise.reject(new Error('nothing is throttled here')),
      arrivalMs: () => NaN,
    });
  }

  async #ask(operation: string, body: object): Promise<Answer> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: { ...jsonHeaders, 'x-amz-target': `Kinesis_20131202.${operation}` },
        body: JSON.stringify(body),
      });
      const text = await response.text();
      this.#callsLeft -= 1;
      if (this.#callsLeft === 0) this.#kill();
      return {
        status: response.status,
        body: text === '' ? {} : (JSON.parse(text) as Answer['body']),
      };
    } catch (cause) {
      this.isOver = true;
      throw new NoAnswer('no answer', { cause });
    }
  }
}

class NoAnswer extends Error {}

class Killing {
  readonly #folder: string;
  readonly #random: () => number;
  readonly #model = new ModelStream();
  readonly #sent = new Map<string, number>();
  /** What the consumer has read, by shard and place. */
  readonly #seen = new Map<string, KeptRecord>();
  reshards = 0;

  constructor(folder: string, random: () => number) {
    this.#folder = folder;
    this.#random = random;
  }

  #upTo(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  /** One life of the process, from start to kill. */
  async live(isFirst: boolean): Promise<void> {
    await withScope(async (scope) => {
      const args = [compiled(childPath), this.#folder];
      const child = startChild(scope, process.execPath, args);
      const [, url = ''] = await child.line(/^serving (\S+)$/);
      const calls = 20 + this.#upTo(300);
      const life = new Life(url, this.#random, Infinity, () => undefined);
      if (isFirst) await this.#create(life.client);
      else await this.#settle(life.client);

      const killed = new Life(url, this.#random, calls, () => child.process.kill('SIGKILL'));
      const workers = [
        ...Array.from({ length: producers }, (_, lane) => this.#produce(killed, lane)),
        this.#reshard(killed),
        this.#consume(killed),
      ];
      await Promise.all(workers.map((work) => work.catch(unlessKilled)));
      await child.stop('SIGKILL');
    });
    for await (const finding of checkStore({ folder: this.#folder })) {
      assert.fail(JSON.stringify(finding));
    }
  }

  /** Starts it once more, and looks at everything. Returns how many records there are. */
  async finish(): Promise<number> {
    return withScope(async (scope) => {
      const args = [compiled(childPath), this.#folder];
      const child = startChild(scope, process.execPath, args);
      const [, url = ''] = await child.line(/^serving (\S+)$/);
      return this.#settle(new Life(url, this.#random, Infinity, () => undefined).client);
    });
  }

  async #create(client: StreamClient): Promise<void> {
    const body = { StreamName: streamName, StreamARN: undefined, ShardCount: 1 + this.#upTo(4) };
    await client.done('CreateStream', body);
    let shards = await client.shards();
    while (shards.length === 0) shards = await client.shards();
    this.#model.adopt(shards);
  }

  async #settle(client: StreamClient): Promise<number> {
    const listed = await client.shards();
    this.#model.adopt(listed);
    this.#model.settle(await client.readAll(listed));
    for (const [place, record] of this.#seen) {
      const [shardId = '', index] = place.split(' ');
      const kept = this.#model.shards.find(({ id }) => id === shardId)?.records[Number(index)];
      assert.ok(kept !== undefined, `${place} was read, and is gone`);
      assertSame(record, { ...kept, arrivalMs: record.arrivalMs });
    }
    return this.#model.shards.reduce((sum, { records }) => sum + records.length, 0);
  }

  async #produce(life: Life, lane: number): Promise<void> {
    while (!life.isOver) {
      const count = this.#random() < 0.3 ? 1 : 1 + this.#upTo(30);
      const records = Array.from({ length: count }, () => this.#record(lane));
      await life.client.put(this.#model, records);
    }
  }

  #record(lane: number): SentRecord {
    const key = `key-${lane}-${this.#upTo(5)}`;
    const number = this.#sent.get(key) ?? 0;
    this.#sent.set(key, number + 1);
    return { key, text: `${key} ${number}${' '.repeat(this.#upTo(200))}` };
  }

  async #reshard(life: Life): Promise<void> {
    for (;;) {
      const listed = await life.client.shards();
      const open = listed
        .filter(({ SequenceNumberRange: range }) => range.EndingSequenceNumber === undefined)
        .map(({ ShardId, HashKeyRange: range }) => {
          return [ShardId, BigInt(range.StartingHashKey), BigInt(range.EndingHashKey)] as const;
        })
        .sort((a, b) => (a[1] < b[1] ? -1 : 1));
      const place = this.#upTo(open.length);
      const [id, first, last] = open[place]!;
      const neighbour = open[place + 1];
      let answer: Answer;
      if (neighbour !== undefined && (this.#random() < 0.5 || open.length >= openShardsMax)) {
        const body = { ShardToMerge: id, AdjacentShardToMerge: neighbour[0] };
        answer = await life.client.ask('MergeShards', body);
      } else if (open.length < openShardsMax && last - first > 1000n) {
        const NewStartingHashKey = ((first + last) / 2n).toString();
        answer = await life.client.ask('SplitShard', { ShardToSplit: id, NewStartingHashKey });
      } else continue;
      if (answer.status === 200) this.reshards += 1;
      else assert.equal(answer.body['__type'], 'ResourceInUseException', JSON.stringify(answer));
    }
  }

  /** Reads shards from their beginnings to their present ends, one after the other. */
  async #consume(life: Life): Promise<void> {
    for (;;) {
      const listed = await life.client.shards();
      const { ShardId: id } = listed[this.#upTo(listed.length)]!;
      let next: string | null = await life.client.iterator(id, {
        ShardIteratorType: 'TRIM_HORIZON',
      });
      for (let place = 0; next !== null;) {
        const page = await life.client.read(next, 1000);
        for (const record of page.records) {
          assert.equal(placeOf(record.sequenceNumber), place);
          this.#seen.set(`${id} ${place}`, record);
          place += 1;
        }
        next = page.records.length === 0 ? null : page.next;
      }
    }
  }
}

function unlessKilled(error: unknown): void {
  if (!(error instanceof NoAnswer)) throw error;
}

/** Rejects when anything is lost, twice or out of order. */
export async function killKinesis(scope: Scope, seed: number): Promise<KillFigures> {
  const folder = join(await memoryFolder(scope), 'data');
  const killing = new Killing(folder, seededRandom(seed));
  for (let life = 0; life < livesPerSeed; life += 1) await killing.live(life === 0);
  const records = await killing.finish();
  return { kills: livesPerSeed, records, reshards: killing.reshards };
}
