import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ConsumedShard } from '../../../gateway/api/rest/application-schemas.ts';
import { planLeases, type BalancePlan } from '../../../gateway/consumer/balance.ts';
import { seededRandom } from '../../storage/support/open.ts';

type State = ConsumedShard['state'];

function shard(
  index: number,
  state: State,
  owner: string | null,
  wantedBy: string | null = null,
): ConsumedShard {
  return {
    shard: index,
    parents: [],
    children: [],
    closedTime: null,
    state,
    trimSequence: 0,
    nextSequence: 10,
    lease: {
      owner,
      counter: 1,
      heldForMs: state === 'held' ? 1 : 0,
      wantedBy,
      start: 0,
      checkpoint: 0,
    },
  };
}

/** Workers that look at a table of leases in turn, as they do at the gateway's. */
class Table {
  readonly shards: ConsumedShard[];
  readonly #random: () => number;
  readonly #free = new Map<string, ReadonlySet<number>>();
  /** Leases that went from one living worker to another. */
  moves = 0;

  constructor(count: number, random: () => number) {
    this.shards = Array.from({ length: count }, (_, index) => shard(index, 'free', null));
    this.#random = random;
  }

  of(owner: string): number[] {
    return this.shards
      .filter(({ state, lease }) => state === 'held' && lease?.owner === owner)
      .map(({ shard: index }) => index);
  }

  /** One look of a worker, and what comes of it; holders hand over at once. */
  look(owner: string, shardsMax = Number.POSITIVE_INFINITY): BalancePlan {
    const plan = planLeases({
      shards: this.shards,
      owner,
      running: new Set(this.of(owner)),
      shardsMax,
      freeBefore: this.#free.get(owner) ?? new Set(),
      random: this.#random,
    });
    this.#free.set(owner, plan.free);
    for (const index of plan.take) {
      assert.equal(this.shards[index]?.state, 'free');
      this.shards[index] = shard(index, 'held', owner);
    }
    for (const index of plan.ask) {
      this.shards[index] = shard(index, 'free', null, owner);
      this.moves += 1;
    }
    return plan;
  }

  die(owner: string): void {
    for (const index of this.of(owner)) this.shards[index] = shard(index, 'free', owner);
  }
}

test('workers that come and go end up with equal shares, and leave it at that', () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const random = seededRandom(seed);
    const count = 1 + Math.floor(random() * 40);
    const table = new Table(count, random);
    const workers: string[] = [];
    for (let change = 0; change < 6; change += 1) {
      if (workers.length > 1 && random() < 0.4) {
        const [gone = ''] = workers.splice(Math.floor(random() * workers.length), 1);
        table.die(gone);
      } else {
        workers.push(`worker-${change}`);
      }
      for (let round = 0; round < 12; round += 1) for (const worker of workers) table.look(worker);
      const loads = workers.map((worker) => table.of(worker).length);
      const said = `seed ${seed}, ${count} shards: ${loads.join(' ')}`;
      assert.equal(
        loads.reduce((sum, load) => sum + load, 0),
        count,
        said,
      );
      assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, said);
      const { moves } = table;
      for (const worker of workers) assert.deepEqual(table.look(worker).ask, [], said);
      assert.equal(table.moves, moves);
    }
  }
});

test('a worker with a limit keeps to it, and the others read the rest', () => {
  const table = new Table(8, seededRandom(1));
  for (let round = 0; round < 4; round += 1) {
    table.look('small', 1);
    table.look('large');
  }
  assert.equal(table.of('small').length, 1);
  assert.equal(table.of('large').length, 7);
});

test('only what can be read is taken, counted and asked for', () => {
  const shards = [
    shard(0, 'finished', null),
    shard(1, 'waiting', null),
    shard(2, 'held', 'other'),
    shard(3, 'held', 'other'),
    shard(4, 'free', null),
  ];
  const plan = planLeases({
    ...{ shards, owner: 'me', running: new Set<number>(), freeBefore: new Set<number>() },
    ...{ shardsMax: 8, random: () => 0.5 },
  });
  assert.deepEqual(plan.take, [4]);
  assert.deepEqual(plan.ask, [], 'two and one are fair');
});

test('what another worker was promised is left to it; what was lost on the way is taken again', () => {
  const shards = [shard(0, 'free', null, 'other'), shard(1, 'held', 'me'), shard(2, 'held', 'me')];
  const plan = planLeases({
    ...{ shards, owner: 'me', running: new Set([2]), freeBefore: new Set([0, 1]) },
    ...{ shardsMax: 8, random: () => 0.5 },
  });
  assert.deepEqual(plan.take, [1], 'ours, and nobody reads it');
});
