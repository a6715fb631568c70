/**
 * How load is judged: whether a stream on demand needs more shards or fewer, and where a busy shard
 * is best split. Nothing here measures or changes anything: see `scaling.ts`.
 *
 * Load is told as a share of what a provisioned shard takes (1 MiB or 1000 records a second), so a
 * stream on demand has about the shards that it would be given by hand.
 */
import type { LogRecord } from '../model.ts';

const shardBytesPerSecond = 1024 * 1024;
const shardRecordsPerSecond = 1000;
/** From this share on a shard is busy, … */
export const busyShare = 0.8;
/** … and is split when it has been for so long without a pause. */
export const busyForMs = 60_000;
/** Two neighbours are merged when their peaks come to no more than this. */
const idleShare = 0.3;
/** A peak falls by half in this time: hours of nothing are not needed, minutes of it are. */
const peakHalfLifeMs = 5 * 60_000;
/** A key with more than this part of a shard's load gains nothing by a split. */
const dominantPart = 0.5;

/** The load of an open shard. */
export interface ShardLoad {
  readonly index: number;
  /** Share of the time between the last two looks. */
  readonly share: number;
  /** For how long it has been busy at every look. */
  readonly busyMs: number;
  /** The highest share lately. */
  readonly peak: number;
}

/** A shard that nothing is known of yet is taken for a busy one: it is not merged for a while. */
export function newLoad(index: number): ShardLoad {
  return { index, share: 0, busyMs: 0, peak: 1 };
}

/** @param taken what came between two looks */
export function nextLoad(
  before: ShardLoad,
  taken: { readonly bytes: number; readonly records: number; readonly durationMs: number },
): ShardLoad {
  const { bytes, records, durationMs } = taken;
  const perSecond = 1000 / durationMs;
  const share = perSecond * Math.max(bytes / shardBytesPerSecond, records / shardRecordsPerSecond);
  return {
    index: before.index,
    share,
    busyMs: share >= busyShare ? before.busyMs + durationMs : 0,
    peak: Math.max(share, before.peak * 0.5 ** (durationMs / peakHalfLifeMs)),
  };
}

export interface ShardLimits {
  /** Merging goes no further down: what the stream began with. */
  readonly floor: number;
  /** Splitting goes no further up. */
  readonly ceiling: number;
}

export interface ScalingDecision {
  /** Indexes of shards to split, the busiest first. */
  readonly split: readonly number[];
  /** Indexes of neighbours to merge. */
  readonly merge: readonly [number, number] | null;
}

/**
 * What to do about the load of a stream. Never both: while something is busy nothing is merged.
 * @param loads of the open shards, in the order of their hash keys
 */
export function decide(
  loads: readonly ShardLoad[],
  { floor, ceiling }: ShardLimits,
): ScalingDecision {
  const busy = loads
    .filter(({ busyMs }) => busyMs >= busyForMs)
    .sort((a, b) => b.share - a.share)
    .slice(0, Math.max(0, ceiling - loads.length));
  if (loads.some(({ busyMs }) => busyMs > 0)) {
    return { split: busy.map(({ index }) => index), merge: null };
  }
  if (loads.length <= floor) return { split: [], merge: null };
  let merge: readonly [number, number] | null = null;
  let lowest = idleShare;
  for (const [place, right] of loads.entries()) {
    const left = loads[place - 1];
    if (left === undefined || left.peak + right.peak > lowest) continue;
    lowest = left.peak + right.peak;
    merge = [left.index, right.index];
  }
  return { split: [], merge };
}

export type SplitAdvice =
  | { readonly kind: 'split'; /** Where the second half begins. */ readonly at: bigint }
  | { readonly kind: 'dominated'; readonly partitionKey: string; readonly part: number }
  /** It owns a single hash key. */
  | { readonly kind: 'single' };

/**
 * Where to split a shard, judged by records that came lately: where half of the load lies on either
 * side. Records that were put there by an explicit hash key say nothing of where they lie: where
 * most are such, it is the middle of the shard.
 */
export function adviseSplit(
  range: { readonly first: bigint; readonly last: bigint },
  sample: readonly LogRecord[],
  hashOf: (partitionKey: string) => bigint,
): SplitAdvice {
  if (range.first === range.last) return { kind: 'single' };
  const loads = new Map<string, number>();
  let total = 0;
  let elsewhere = 0;
  for (const { partitionKey, data } of sample) {
    const load = 1 / shardRecordsPerSecond + data.length / shardBytesPerSecond;
    total += load;
    loads.set(partitionKey, (loads.get(partitionKey) ?? 0) + load);
  }
  const keys: { partitionKey: string; hash: bigint; load: number }[] = [];
  for (const [partitionKey, load] of loads) {
    const hash = hashOf(partitionKey);
    if (hash < range.first || hash > range.last) elsewhere += load;
    else keys.push({ partitionKey, hash, load });
  }
  const dominant = keys.find(({ load }) => load > dominantPart * total);
  if (dominant !== undefined) {
    const { partitionKey, load } = dominant;
    return { kind: 'dominated', partitionKey, part: load / total };
  }
  const middle = range.first + (range.last - range.first + 1n) / 2n;
  if (keys.length < 2 || elsewhere > total / 2) return { kind: 'split', at: middle };
  keys.sort((a, b) => (a.hash < b.hash ? -1 : 1));
  return { kind: 'split', at: halfWay(keys) };
}

/** The hash key before which about half of the load lies, and at least one key. */
function halfWay(keys: readonly { readonly hash: bigint; readonly load: number }[]): bigint {
  const half = keys.reduce((sum, { load }) => sum + load, 0) / 2;
  let before = 0;
  let best = { hash: 0n, distance: Infinity };
  for (const [place, { hash, load }] of keys.entries()) {
    const distance = Math.abs(before - half);
    if (place > 0 && distance < best.distance) best = { hash, distance };
    before += load;
  }
  return best.hash;
}
