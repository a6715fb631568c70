/**
 * The log: records of 200 bytes appended durably, against two ceilings of bare BLOB inserts through
 * the same driver: as many bytes, a row for each shard and transaction, from buffers that are ready.
 * One has a transaction for 500 records, as a program without a log of its own would have; the
 * other has transactions as large as our group commits turned out to be.
 *
 * Ours and the ceiling take turns, and the best round of each counts: what else the machine does
 * can only make a round slower.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { systemClock } from '../../storage/clock.ts';
import { localMasterKey } from '../../storage/keys.ts';
import type { Encryption, RecordInput } from '../../storage/model.ts';
import { Database } from '../../storage/sqlite.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { quantile, type Benchmark, type BenchmarkContext, type Figure } from './bench.ts';

const recordBytes = 200;
const recordsPerRound = 300_000;
const recordsPerTransaction = 500;
const rounds = 3;
const devices = 1000;
const retentionMs = 24 * 3_600_000;
/** Applications that keep up with all shards, in the round that measures them. */
const followers = 10;

interface Way {
  readonly name: string;
  readonly shards: number;
  readonly recordsPerAppend: number;
  readonly appendsInFlight: number;
  readonly recordsPerSecondMin: number;
  /** Of the first ceiling. */
  readonly ratioMin: number | null;
}

const ways: readonly Way[] = [
  {
    name: '4 shards, 500 a call',
    shards: 4,
    recordsPerAppend: 500,
    appendsInFlight: 32,
    recordsPerSecondMin: 400_000,
    ratioMin: 0.6,
  },
  {
    name: '64 shards, 500 a call',
    shards: 64,
    recordsPerAppend: 500,
    appendsInFlight: 32,
    recordsPerSecondMin: 100_000,
    ratioMin: null,
  },
  {
    name: '512 shards, 500 a call',
    shards: 512,
    recordsPerAppend: 500,
    appendsInFlight: 32,
    recordsPerSecondMin: 50_000,
    ratioMin: null,
  },
  {
    name: '4 shards, one a call',
    shards: 4,
    recordsPerAppend: 1,
    appendsInFlight: 4000,
    recordsPerSecondMin: 100_000,
    ratioMin: null,
  },
];

export const benchmark: Benchmark = {
  name: 'log',
  title: `Records of ${recordBytes} B, each call answered after its fsynced commit`,
  run: async (context) => {
    const figures: Figure[] = [];
    for (const each of ways) figures.push(...(await measure(context, each)));
    figures.push(await measureFollowed(context));
    figures.push(...(await measureEncrypted(context)));
    figures.push(...(await measureAlone(context)));
    return figures;
  },
};

async function measure(context: BenchmarkContext, each: Way): Promise<readonly Figure[]> {
  let ours = 0;
  let ceiling = 0;
  let groupedCeiling = 0;
  let read = 0;
  for (let round = 0; round < rounds; round += 1) {
    const folder = join(context.folder, `log-${round}`);
    const result = await inStore(folder, each.shards, async (store, metrics) => {
      const perSecond = await appendAll(store, each);
      const commits = metrics.values.get('headgate_store_commits_total') ?? 0;
      const readPerSecond = round === 0 ? await readAll(store) : 0;
      return { perSecond, commits, readPerSecond };
    });
    ours = Math.max(ours, result.perSecond);
    read = Math.max(read, result.readPerSecond);
    const calls = recordsPerRound / recordsPerTransaction;
    ceiling = Math.max(ceiling, await bareInserts(folder, each.shards, calls));
    groupedCeiling = Math.max(
      groupedCeiling,
      await bareInserts(folder, each.shards, result.commits),
    );
    await rm(folder, { recursive: true, force: true });
    context.note(`${each.name}: ${Math.round(ours)} of ${Math.round(ceiling)} records/s`);
  }
  const append = { name: `append, ${each.name}`, value: ours, unit: 'records/s' };
  return [
    {
      ...append,
      against: { name: `bare inserts, ${recordsPerTransaction} a transaction`, value: ceiling },
      ratio: ours / ceiling,
      ...(each.ratioMin === null ? {} : { target: { atLeast: each.ratioMin } }),
    },
    {
      ...append,
      against: { name: 'bare inserts, transactions as ours', value: groupedCeiling },
      ratio: ours / groupedCeiling,
    },
    { ...append, target: { atLeast: each.recordsPerSecondMin } },
    { name: `read, ${each.name}`, value: read, unit: 'records/s' },
  ];
}

/** The first way once more, with applications that read everything as it comes. */
async function measureFollowed(context: BenchmarkContext): Promise<Figure> {
  const [first] = ways;
  if (first === undefined) throw new Error('there is no way to append');
  let alone = 0;
  let followed = 0;
  for (let round = 0; round < rounds; round += 1) {
    const folder = join(context.folder, `followed-${round}`);
    alone = Math.max(
      alone,
      await inStore(join(folder, 'alone'), first.shards, (store) => appendAll(store, first)),
    );
    const withReaders = await inStore(folder, first.shards, async (store) => {
      const readers = Array.from({ length: followers }, () => followAll(store));
      const startedMs = performance.now();
      await Promise.all([appendAll(store, first), ...readers]);
      return (recordsPerRound * 1000) / (performance.now() - startedMs);
    });
    followed = Math.max(followed, withReaders);
    await rm(folder, { recursive: true, force: true });
  }
  context.note(
    `followed by ${followers}: ${Math.round(followed)} of ${Math.round(alone)} records/s`,
  );
  return {
    name: `append and read by ${followers} that keep up, ${first.name}`,
    value: followed,
    unit: 'records/s',
    against: { name: 'append alone', value: alone },
    ratio: followed / alone,
  };
}

/** The first way once more, encrypted at rest and not, in turns. */
async function measureEncrypted(context: BenchmarkContext): Promise<readonly Figure[]> {
  const [first] = ways;
  if (first === undefined) throw new Error('there is no way to append');
  const best = {
    'aes-256-gcm': { append: 0, read: 0 },
    none: { append: 0, read: 0 },
  };
  for (let round = 0; round < rounds; round += 1) {
    for (const encryption of ['aes-256-gcm', 'none'] as const) {
      const folder = join(context.folder, `encryption-${encryption}-${round}`);
      const kept = best[encryption];
      const appendThenRead = async (store: Store): Promise<void> => {
        kept.append = Math.max(kept.append, await appendAll(store, first));
        kept.read = Math.max(kept.read, await readAll(store));
      };
      await inStore(folder, first.shards, appendThenRead, encryption);
      await rm(folder, { recursive: true, force: true });
    }
  }
  const { 'aes-256-gcm': encrypted, none } = best;
  return (['append', 'read'] as const).map((what) => {
    context.note(
      `${what}, encrypted: ${Math.round(encrypted[what])} of ${Math.round(none[what])} records/s`,
    );
    return {
      name: `${what}, encrypted at rest, ${first.name}`,
      value: encrypted[what],
      unit: 'records/s',
      against: { name: `${what}, not encrypted`, value: none[what] },
      ratio: encrypted[what] / none[what],
    };
  });
}

/** Reads every shard as it grows, until all records of a round were read. */
async function followAll({ log }: Store): Promise<void> {
  const all = new AbortController();
  let count = 0;
  const followShard = async (shardId: number): Promise<void> => {
    for (let fromSequence = 0; !all.signal.aborted;) {
      await log.waitForRecords(shardId, fromSequence, all.signal);
      const limits = { maxRecords: 10_000, maxBytes: 4 * 2 ** 20 };
      const { records, nextSequence } = await log.read({ shardId, fromSequence, ...limits });
      fromSequence = nextSequence;
      count += records.length;
      if (count >= recordsPerRound) all.abort();
    }
  };
  await Promise.all(log.stream('readings').shards.map(({ id }) => followShard(id)));
}

/** What one small record costs when nothing else is going on. */
async function measureAlone(context: BenchmarkContext): Promise<readonly Figure[]> {
  const latenciesMs = await inStore(join(context.folder, 'alone'), 4, async (store) => {
    const measured: number[] = [];
    for (let index = 0; index < 1000; index += 1) {
      const startedMs = performance.now();
      await store.log.append('readings', recordsOf(index, 1));
      measured.push(performance.now() - startedMs);
    }
    return measured;
  });
  return [
    { name: 'append of a lone record, p50', value: quantile(latenciesMs, 0.5), unit: 'ms' },
    { name: 'append of a lone record, p99', value: quantile(latenciesMs, 0.99), unit: 'ms' },
  ];
}

async function inStore<T>(
  folder: string,
  shardCount: number,
  work: (store: Store, metrics: MemoryMetrics) => Promise<T>,
  encryption: Encryption = 'none',
): Promise<T> {
  const metrics = new MemoryMetrics();
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics,
    video: { minFreeBytes: 0 },
    masterKeys: () => Promise.resolve({ current: localMasterKey(randomBytes(32)), previous: [] }),
  });
  try {
    const options = {
      name: 'readings',
      mode: 'on-demand',
      whenFull: 'refuse',
      encryption,
    } as const;
    await store.log.createStream({ ...options, shardCount, retentionMs, maxBytes: null });
    return await work(store, metrics);
  } finally {
    await store.close();
  }
}

function recordsOf(from: number, count: number): readonly RecordInput[] {
  return Array.from({ length: count }, (_, index) => ({
    partitionKey: `device-${(from + index) % devices}`,
    data: Buffer.alloc(recordBytes, from + index),
  }));
}

/** Records a second, every append waiting for its commit. */
async function appendAll(store: Store, each: Way): Promise<number> {
  const { recordsPerAppend, appendsInFlight } = each;
  const batches = Array.from({ length: recordsPerRound / recordsPerAppend }, (_, index) =>
    recordsOf(index * recordsPerAppend, recordsPerAppend),
  );
  let next = 0;
  const producer = async (): Promise<void> => {
    for (let batch = batches[next++]; batch !== undefined; batch = batches[next++]) {
      await store.log.append('readings', batch);
    }
  };
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: appendsInFlight }, producer));
  return (recordsPerRound * 1000) / (performance.now() - startedMs);
}

async function readAll(store: Store): Promise<number> {
  const startedMs = performance.now();
  let count = 0;
  for (const { id } of store.log.stream('readings').shards) {
    for (let fromSequence = 0; ;) {
      const limits = { maxRecords: 10_000, maxBytes: 4 * 2 ** 20 };
      const { records, nextSequence } = await store.log.read({
        shardId: id,
        fromSequence,
        ...limits,
      });
      if (records.length === 0) break;
      count += records.length;
      fromSequence = nextSequence;
    }
  }
  if (count !== recordsPerRound) throw new Error(`${count} of ${recordsPerRound} were read`);
  return (count * 1000) / (performance.now() - startedMs);
}

/** Records a second of the ceiling: rows of the same size, as many a transaction, nothing else. */
async function bareInserts(folder: string, shards: number, commits: number): Promise<number> {
  const path = join(folder, `bare-${commits}`);
  await mkdir(path, { recursive: true });
  const database = await Database.open(join(path, 'bare.db'));
  const pragmas = [
    'page_size=4096',
    'auto_vacuum=INCREMENTAL',
    'journal_mode=WAL',
    'synchronous=FULL',
  ];
  for (const pragma of pragmas) await database.exec(`PRAGMA ${pragma}`);
  await database.exec(
    `CREATE TABLE batch (id INTEGER PRIMARY KEY, shard_id INTEGER, first_sequence INTEGER, body BLOB);
     CREATE UNIQUE INDEX batch_position ON batch (shard_id, first_sequence)`,
  );
  const recordsPerRow = recordsPerRound / commits / shards;
  const body = Buffer.alloc(Math.round(recordsPerRow * (recordBytes + 20)), 7);
  const startedMs = performance.now();
  for (let commit = 0; commit < commits; commit += 1) {
    await database.exec('BEGIN IMMEDIATE');
    for (let shard = 0; shard < shards; shard += 1) {
      await database.run(
        'INSERT INTO batch (shard_id, first_sequence, body) VALUES (?, ?, ?)',
        ...[shard, commit, body],
      );
    }
    await database.exec('COMMIT');
  }
  const perSecond = (recordsPerRound * 1000) / (performance.now() - startedMs);
  await database.close();
  return perSecond;
}
