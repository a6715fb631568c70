/**
 * A program that the tests of promise 1 kill, cut off and let down: it opens a store and does
 * everything to it at once, as fast as it can. Once something is acknowledged it says so in a line
 * of the file `acknowledged`, which lies beside the store's folder.
 *
 * node --import tsx store-load.ts <folder> <footage> <seed> <appends>
 *
 * What it prints: STARTED once the store is open, the number of appends every hundred, ENDED when all are
 * done, FAILED and a code when the store refuses to go on.
 */
import { openSync, writeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../storage/clock.ts';
import { StorageError } from '../../../storage/errors.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { hourMs, seededRandom, streamOptions } from '../../storage/support/open.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  groupsOf,
  openFragment,
  parseFootage,
  underKey,
} from '../../storage/video/footage.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

const [folder = '', footagePath = '', seed = '0', appends = '0'] = process.argv.slice(2);
const random = seededRandom(Number(seed));
const appendsMax = Number(appends);
const acknowledged = openSync(join(folder, 'acknowledged'), 'a');
const acknowledge = (line: string): void => void writeSync(acknowledged, `${line}\n`);
let appended = 0;

async function work(store: Store): Promise<void> {
  const { log } = store;
  await log.ensureStream(streamOptions({ name: 'kept', shardCount: 3 }));
  const ring = { name: 'ring', maxBytes: 300_000, whenFull: 'drop-oldest' } as const;
  await log.ensureStream(streamOptions(ring));
  await log.applications.ensure({ name: 'uplink', required: true });
  process.stdout.write('STARTED\n');
  await Promise.all([
    ...Array.from({ length: 4 }, () => appendTo(store, 'kept')),
    ...Array.from({ length: 2 }, () => appendTo(store, 'ring')),
    checkpoints(store),
    record(store),
    housekeeping(store),
  ]);
}

const goesOn = (): boolean => appended < appendsMax;

/** A record says where it ends: what is read back can be told from what was cut. */
async function appendTo(store: Store, stream: string): Promise<void> {
  while (goesOn()) {
    const number = ++appended;
    const records = Array.from({ length: 1 + Math.floor(random() * 5) }, (_, index) => ({
      partitionKey: `key-${Math.floor(random() * 40)}`,
      data: Buffer.from(
        `${seed}-${number}-${index} ${'x'.repeat(Math.floor(random() * 2000))} end`,
      ),
    }));
    const places = await store.log.append(stream, records);
    for (const [index, { shardIndex, sequence }] of places.entries()) {
      acknowledge(`${stream} ${shardIndex} ${sequence} ${seed}-${number}-${index}`);
    }
    if (number % 100 === 0) process.stdout.write(`${number}\n`);
  }
}

async function checkpoints({ log }: Store): Promise<void> {
  const [shard] = log.stream('kept').shards;
  if (shard === undefined) throw new Error('the stream has no shard');
  const source = { kind: 'shard', id: shard.id } as const;
  let lease = await log.applications.acquire('uplink', source, seed, hourMs, 0);
  while (goesOn()) {
    const { nextSequence } = log.shard(shard.id);
    lease = await log.applications.checkpoint(lease, nextSequence);
    acknowledge(`checkpoint ${nextSequence}`);
  }
}

async function record(store: Store): Promise<void> {
  const footage = parseFootage(await readFile(footagePath));
  const encryption = Number(seed) % 2 === 0 ? 'none' : 'aes-256-gcm';
  await store.video.ensureCamera(cameraOptions('gate', { encryption }));
  const { lastEndUs } = await store.video.camera('gate');
  let atUs = lastEndUs ?? Date.UTC(2026, 0, 1) * 1000;
  const recording = await beginRun(store, 'gate', footage, atUs);
  while (goesOn()) {
    for (const group of groupsOf(footage.chunks)) {
      await openFragment(recording, footage, group, atUs);
      const durationUs = durationUsOf(footage, group);
      const { number } = await recording.closeFragment({ durationUs, damaged: false });
      atUs += durationUs;
      acknowledge(`fragment ${number}`);
    }
  }
}

async function housekeeping(store: Store): Promise<void> {
  while (goesOn()) {
    await store.retention.run();
    await store.compaction.run();
    await reshard(store, random() < 0.5 ? 'kept' : 'ring');
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/** Splits a shard, or merges two; says which are closed by that. */
async function reshard({ log }: Store, stream: string): Promise<void> {
  const open = log
    .stream(stream)
    .shards.filter(({ closedMs }) => closedMs === null)
    .sort((a, b) => (a.firstHashKey < b.firstHashKey ? -1 : 1));
  const place = Math.floor(random() * open.length);
  const [shard, neighbour] = [open[place], open[place + 1]];
  if (shard === undefined) throw new Error('the stream has no open shard');
  const { index, firstHashKey, lastHashKey } = shard;
  if (neighbour !== undefined && random() < open.length / 8) {
    await log.mergeShards(stream, index, neighbour.index);
    acknowledge(`closed ${stream} ${neighbour.index}`);
  } else {
    await log.splitShard(stream, index, (firstHashKey + lastHashKey + 1n) / 2n);
  }
  acknowledge(`closed ${stream} ${index}`);
}

const codeOf = (error: unknown): string =>
  error instanceof StorageError ? error.code : `unexpected: ${String(error)}`;

let store: Store | null = null;
try {
  store = await openStore({
    folder: join(folder, 'store'),
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    reserveBytes: 1024 * 1024,
    masterKeys: underKey(),
    video: { minFreeBytes: 0, mediaFileMs: 5_000 },
  });
  await work(store);
  process.stdout.write('ENDED\n');
} catch (error) {
  process.stdout.write(`FAILED ${codeOf(error)}\n`);
}
// Whatever went on when another part failed must not come up as an unhandled rejection.
await store?.close().catch((error: unknown) => {
  process.stdout.write(`CLOSED WITH ${codeOf(error)}\n`);
});
process.exit(0);
