/** What `store-load.ts` was told is on disk, and whether it is. */
import assert from 'node:assert/strict';
import { checkStore } from '../../../storage/check.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Log } from '../../../storage/model.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { underKey } from '../../storage/video/footage.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

export interface Acknowledged {
  /** By stream, then by `<shard index> <sequence>`: what the record begins with. */
  readonly records: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly fragments: ReadonlySet<number>;
  /** `<stream> <shard index>` of shards that were split or merged. */
  readonly closed: ReadonlySet<string>;
  readonly checkpoint: number;
  readonly count: number;
}

/** Reads the lines of the file `acknowledged`; a last one without its end is none. */
export function parseAcknowledged(text: string): Acknowledged {
  const records = new Map<string, Map<string, string>>();
  const fragments = new Set<number>();
  const closed = new Set<string>();
  let checkpoint = 0;
  const lines = text.split('\n').slice(0, -1);
  for (const line of lines) {
    const [kind = '', first = '', second = '', third = ''] = line.split(' ');
    if (kind === 'checkpoint') checkpoint = Math.max(checkpoint, Number(first));
    else if (kind === 'fragment') fragments.add(Number(first));
    else if (kind === 'closed') closed.add(`${first} ${second}`);
    else {
      const places = records.get(kind) ?? new Map<string, string>();
      records.set(kind, places.set(`${first} ${second}`, third));
    }
  }
  return { records, fragments, closed, checkpoint, count: lines.length };
}

/**
 * Opens the store in a folder, as a restart does, and asserts that all of it is there and that the
 * store is sound.
 */
export async function assertKept(folder: string, acknowledged: Acknowledged): Promise<void> {
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    reserveBytes: 0,
    masterKeys: underKey(),
    video: { minFreeBytes: 0 },
  });
  try {
    for (const [stream, places] of acknowledged.records) {
      await assertRecords(store.log, stream, places);
    }
    await assertFragments(store, acknowledged.fragments);
    assertClosed(store.log, acknowledged.closed);
    const [application] = store.log.applications.list();
    const checkpoint = application?.leases[0]?.checkpoint ?? 0;
    assert.ok(checkpoint >= acknowledged.checkpoint, `checkpoint ${checkpoint} went back`);
  } finally {
    await store.close();
  }
  for await (const finding of checkStore({ folder })) {
    assert.fail(`the store is not sound: ${JSON.stringify(finding)}`);
  }
}

async function assertRecords(
  log: Log,
  name: string,
  acknowledged: ReadonlyMap<string, string>,
): Promise<void> {
  const held = new Map<string, string>();
  const trimmed = new Map<string, number>();
  for (const shard of log.stream(name).shards) {
    trimmed.set(String(shard.index), shard.trimSequence);
    for (let next = shard.trimSequence; next < shard.nextSequence;) {
      const read = { shardId: shard.id, fromSequence: next, maxRecords: 5000, maxBytes: 1e7 };
      const { records, skipped } = await log.read(read);
      assert.deepEqual(skipped, { trimmed: 0, corrupt: 0 }, `${name} has a hole`);
      for (const record of records) {
        assert.equal(record.sequence, next, `${name} has a gap`);
        const text = record.data.toString();
        assert.ok(text.endsWith(' end'), `a record of ${name} is cut`);
        held.set(`${shard.index} ${record.sequence}`, text.slice(0, text.indexOf(' ')));
        next += 1;
      }
    }
  }
  for (const [place, id] of acknowledged) {
    const [index = '', sequence] = place.split(' ');
    if (name === 'ring' && Number(sequence) < (trimmed.get(index) ?? 0)) continue;
    assert.equal(held.get(place), id, `${name}: what was acknowledged at ${place} is gone`);
  }
}

function assertClosed(log: Log, acknowledged: ReadonlySet<string>): void {
  for (const { name, shards } of log.streams()) {
    for (const { index, closedMs } of shards) {
      if (!acknowledged.has(`${name} ${index}`)) continue;
      assert.ok(closedMs !== null, `${name}: shard ${index} is open again`);
    }
  }
}

async function assertFragments(store: Store, acknowledged: ReadonlySet<number>): Promise<void> {
  if (acknowledged.size === 0) return;
  const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100_000 };
  const fragments = await store.video.fragments(everything);
  const numbers = new Set(fragments.map(({ number }) => number));
  for (const number of acknowledged) assert.ok(numbers.has(number), `fragment ${number} is gone`);
  let endUs = 0;
  for (const fragment of fragments) {
    assert.ok(fragment.startUs >= endUs, 'two fragments claim the same instant');
    endUs = fragment.startUs + fragment.durationUs;
    await store.video.readFragment(fragment);
  }
}
