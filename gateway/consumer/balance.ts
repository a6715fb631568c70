/**
 * Which leases a worker takes, and which it asks others for: from what the gateway says of all of
 * them, without a word between the workers.
 *
 * - Each worker takes its share: the shards that can be read, divided by the workers, rounded up.
 * - What has been free twice in a row is taken beyond the share: some other worker has its limit.
 * - A worker below its share asks those that have at least two more than itself, the busiest first.
 *   So two workers never send a shard back and forth.
 */
import type { ConsumedShard } from '../api/rest/application-schemas.ts';

export interface BalanceInput {
  readonly shards: readonly ConsumedShard[];
  readonly owner: string;
  /** Shards that this worker reads now. */
  readonly running: ReadonlySet<number>;
  /** At most so many at once. */
  readonly shardsMax: number;
  /** Shards that were free the last time. */
  readonly freeBefore: ReadonlySet<number>;
  /** 0 inclusive to 1 exclusive; workers that start together should not all try the same ones. */
  readonly random: () => number;
}

export interface BalancePlan {
  readonly take: readonly number[];
  readonly ask: readonly number[];
  /** For `freeBefore` of the next time. */
  readonly free: ReadonlySet<number>;
}

export function planLeases(input: BalanceInput): BalancePlan {
  const { shards, owner, running, shardsMax, freeBefore } = input;
  const readable = shards.filter(({ state }) => state === 'free' || state === 'held');
  const others = readable.filter(({ shard }) => !running.has(shard));
  const loads = loadsOf(others, owner);
  const share = Math.ceil(readable.length / (loads.size + 1));

  const free = shuffled(others.filter(isFreeFor(owner)), input.random);
  const room = Math.max(0, shardsMax - running.size);
  const wanting = Math.min(room, Math.max(0, share - running.size));
  const take = free.slice(0, wanting);
  const lasting = free.slice(wanting).filter(({ shard }) => freeBefore.has(shard));
  take.push(...lasting.slice(0, room - take.length));

  const mine = running.size + take.length;
  const ask = asked(others, owner, loads, mine, Math.min(share, shardsMax));
  return {
    take: take.map(({ shard }) => shard),
    ask,
    free: new Set(free.map(({ shard }) => shard)),
  };
}

/** How many the other workers have, or will have once they get what they asked for. */
function loadsOf(others: readonly ConsumedShard[], owner: string): Map<string, number> {
  const loads = new Map<string, number>();
  for (const { state, lease } of others) {
    const worker = lease?.wantedBy ?? (state === 'held' ? lease?.owner : null) ?? owner;
    if (worker !== owner) loads.set(worker, (loads.get(worker) ?? 0) + 1);
    // A worker that others ask of is a worker too.
    const holder = state === 'held' ? (lease?.owner ?? owner) : owner;
    if (holder !== owner) loads.set(holder, loads.get(holder) ?? 0);
  }
  return loads;
}

/** A lease of ours that nobody reads: the answer to its acquisition was lost. */
function isFreeFor(owner: string): (shard: ConsumedShard) => boolean {
  return ({ state, lease }) =>
    state === 'held' ? lease?.owner === owner : (lease?.wantedBy ?? owner) === owner;
}

function asked(
  others: readonly ConsumedShard[],
  owner: string,
  loads: Map<string, number>,
  mine: number,
  share: number,
): number[] {
  const held = others.filter(({ state, lease }) => state === 'held' && lease?.owner !== owner);
  const ask = held.filter(({ lease }) => lease?.wantedBy === owner).map(({ shard }) => shard);
  const askable = held.filter(({ lease }) => lease?.wantedBy === null);
  while (mine + ask.length < share) {
    const best = askable.reduce<ConsumedShard | null>(
      (found, one) => (loadOf(loads, one) > loadOf(loads, found) ? one : found),
      null,
    );
    const victim = best?.lease?.owner ?? null;
    if (best === null || victim === null) break;
    if (loadOf(loads, best) - (mine + ask.length) < 2) break;
    askable.splice(askable.indexOf(best), 1);
    loads.set(victim, loadOf(loads, best) - 1);
    ask.push(best.shard);
  }
  return ask;
}

function loadOf(loads: ReadonlyMap<string, number>, shard: ConsumedShard | null): number {
  return loads.get(shard?.lease?.owner ?? '') ?? 0;
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
