/**
 * Damaged databases and media files. Whatever the damage: opening neither crashes nor hangs, what is
 * served is right, what is not served is named by `check`, and `check --repair` leaves a store that
 * is sound and still has all that could be read before.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Finding } from '../../storage/finding.ts';
import type { Encryption, Fragment } from '../../storage/model.ts';
import { repairStore } from '../../storage/repair.ts';
import { openStore, type Store } from '../../storage/store.ts';
import { damage } from '../storage/support/damage.ts';
import { openTestStore, seededRandom, streamOptions } from '../storage/support/open.ts';
import {
  beginRun,
  cameraOptions,
  fragmentedFormat,
  groupsOf,
  makeFootage,
  newYearUs,
  openFragment,
  parseFootage,
  recordGroups,
  underKey,
} from '../storage/video/footage.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { withScope, type Scope } from '../support/scope.ts';
import { memoryFolder } from '../support/temporary-folder.ts';
import type { Soak, SoakFigures } from './soak.ts';

export const soak: Soak = {
  name: 'damage',
  title: 'damaged databases and media files are opened, read, checked and repaired',
  seeds: 500,
  run: async (context) => damageOnce(context, context.seed, context.note),
};

const records = 400;
const perBatch = 10;
/** Nothing here takes seconds: longer than this is a hang. */
const hangMs = 60_000;

/** Folders as they are before anything is damaged: made once. */
let templates: Promise<readonly Template[]> | null = null;

interface Template {
  readonly folder: string;
  readonly fragments: ReadonlyMap<number, Buffer>;
}

/** One store, damaged in a way that the seed says. */
export async function damageOnce(
  scope: Scope,
  seed: number,
  note: (text: string) => void,
): Promise<SoakFigures> {
  const made = await (templates ??= makeTemplates());
  const { folder: template = '', fragments = new Map<number, Buffer>() } =
    made[seed % made.length] ?? {};
  const random = seededRandom(seed);
  const folder = join(await memoryFolder(scope), 'data');
  await cp(template, folder, { recursive: true });
  const done = await damage(random, folder);
  for (const text of done) note(text);
  try {
    return await hold(folder, fragments, random() < 0.5, note);
  } catch (error) {
    throw new Error(`after ${done.join('; ')}`, { cause: error });
  }
}

async function hold(
  folder: string,
  fragments: ReadonlyMap<number, Buffer>,
  openFirst: boolean,
  note: (text: string) => void,
): Promise<SoakFigures> {
  const before = openFirst ? await within('opening', serve(folder, fragments)) : null;
  note(before === null ? 'not opened before' : `read ${shown(before)}`);
  const findings = await within('checking', findingsOf(folder));
  for (const { code, where, what } of findings) note(`${code}: ${where}: ${what}`);
  // The last fragment was not committed when the one store was killed: its loss is none.
  const isMissing =
    before !== null &&
    (before.records.size < records || before.fragments.size < fragments.size - 1);
  if (isMissing && !before.isOnAccount) {
    assert.ok(findings.length > 0, `${shown(before)} are served, and check is content`);
  }

  const repaired = await within('repairing', repair(folder));
  for (const sentence of repaired) note(`repair: ${sentence}`);
  const left = await within('checking again', findingsOf(folder));
  assert.deepEqual(left, [], 'the repaired store is sound');
  const after = await within('opening again', serve(folder, fragments));
  assert.ok(after !== null, 'the repaired store opens');
  note(`then ${shown(after)}`);
  for (const place of before?.records ?? []) {
    assert.ok(after.records.has(place), `record ${place} was readable before the repair`);
  }
  for (const number of before?.fragments ?? []) {
    assert.ok(after.fragments.has(number), `fragment ${number} was readable before the repair`);
  }
  return {
    lostRecords: records - after.records.size,
    lostFragments: fragments.size - after.fragments.size,
    notServed:
      before === null
        ? 0
        : after.records.size + after.fragments.size - before.records.size - before.fragments.size,
  };
}

interface Served {
  readonly records: ReadonlySet<string>;
  readonly fragments: ReadonlySet<number>;
  /** Something was found lost while opening, and is on the account of losses. */
  readonly isOnAccount: boolean;
}

function shown({ records: served, fragments }: Served): string {
  return `${served.size} records, ${fragments.size} fragments`;
}

/** Opens the store and reads all there is: what is read has to be right. null: it can't be opened. */
async function serve(
  folder: string,
  originals: ReadonlyMap<number, Buffer>,
): Promise<Served | null> {
  const ports = {
    clock: new ManualClock(),
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  };
  let store: Store;
  try {
    const options = { folder, masterKeys: underKey(), reserveBytes: 0 };
    store = await openStore({ ...options, video: { minFreeBytes: 0 }, ...ports });
  } catch (error) {
    assertTold(error);
    return null;
  }
  try {
    const served = new Set<string>();
    for (const { name, shards } of store.log.streams()) {
      for (const { id, index } of shards) await readShard(store, name, id, index, served);
    }
    const fragments = new Set<number>();
    const lastNumber = Math.max(...originals.keys());
    for (const camera of await store.video.cameras()) {
      for (const fragment of await fragmentsOf(store, camera.name)) {
        const original = originals.get(fragment.number);
        const bytes = await store.video.readFragment(fragment).catch(told);
        if (bytes === null || original === undefined) continue;
        const isRight = bytes.equals(original);
        // What was never committed has no checksum yet: it may be cut, and be damaged unnoticed.
        assert.ok(isRight || fragment.number === lastNumber, `${fragment.number} is another`);
        if (isRight) fragments.add(fragment.number);
      }
    }
    await store.retention.run();
    await store.video.retain().catch(told);
    const isOnAccount = store.losses.report().length > 0;
    return { records: served, fragments, isOnAccount };
  } finally {
    await store.close().catch(told);
  }
}

async function readShard(
  store: Store,
  stream: string,
  shardId: number,
  index: number,
  served: Set<string>,
): Promise<void> {
  for (let from = 0; ;) {
    const read = { shardId, fromSequence: from, maxRecords: 100, maxBytes: 1e6 };
    const result = await store.log.read(read).catch(told);
    if (result === null) return;
    for (const { sequence, data, partitionKey } of result.records) {
      const expected = recordOf(partitionKey, index, sequence);
      assert.ok(data.equals(expected), `${stream}: record ${index}/${sequence} is another`);
      served.add(`${index}/${sequence}`);
    }
    if (result.nextSequence <= from || result.recordsBehind === 0) return;
    from = result.nextSequence;
  }
}

/** By asking for all at once, and where that fails in small pieces. */
async function fragmentsOf(store: Store, camera: string): Promise<readonly Fragment[]> {
  const query = { camera, fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 1000 };
  return (await store.video.fragments(query).catch(told)) ?? [];
}

/** A refusal in the store's own words is right; anything else is a crash. */
function told(error: unknown): null {
  assertTold(error);
  return null;
}

function assertTold(error: unknown): void {
  if (!(error instanceof StorageError)) throw error;
}

async function findingsOf(folder: string): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for await (const finding of checkStore({ folder })) findings.push(finding);
  return findings;
}

async function repair(folder: string): Promise<readonly string[]> {
  const options = { folder, mediaFolder: join(folder, 'media'), nowMs: 1_800_000_000_000 };
  const done: string[] = [];
  for await (const sentence of repairStore(options)) done.push(sentence);
  return done;
}

async function within<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what} hangs`));
    }, hangMs);
  });
  try {
    return await Promise.race([work, late]);
  } catch (error) {
    throw new Error(`while ${what}`, { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

// ---------------------------------------------------------------- what is damaged

function recordOf(partitionKey: string, shardIndex: number, sequence: number): Buffer {
  return Buffer.alloc(300, `${partitionKey} ${shardIndex} ${sequence} `);
}

/** Closed in good order, and killed in the middle of a fragment; in the open, and encrypted. */
async function makeTemplates(): Promise<readonly Template[]> {
  const undo: (() => unknown)[] = [];
  const parent = await memoryFolder({ after: (work) => undo.push(work) });
  process.once('exit', () => undefined);
  const made: Template[] = [];
  for (const encryption of ['none', 'aes-256-gcm'] as const) {
    const closed = join(parent, `closed-${encryption}`);
    const killed = join(parent, `killed-${encryption}`);
    const fragments = await withScope((scope) =>
      writeTemplate(scope, join(parent, 'work'), { closed, killed, encryption }),
    );
    made.push({ folder: closed, fragments }, { folder: killed, fragments });
  }
  return made;
}

async function writeTemplate(
  scope: Scope,
  folder: string,
  {
    closed,
    killed,
    encryption,
  }: { readonly closed: string; readonly killed: string; readonly encryption: Encryption },
): Promise<ReadonlyMap<number, Buffer>> {
  await mkdir(folder, { recursive: true });
  const video = { mediaFileMs: 4000, minFreeBytes: 0 };
  const { store } = await openTestStore(scope, { folder, video, masterKeys: underKey() });
  await store.log.createStream(streamOptions({ shardCount: 2 }));
  const next = [0, 0, 0, 0];
  let upper = 1;
  for (let count = 0; count < records; count += perBatch) {
    if (count === records / 2) {
      await store.log.splitShard('readings', 1, 3n * 2n ** 126n);
      upper = 3;
    }
    const index = (count / perBatch) % 2 === 0 ? 0 : upper;
    const batch = Array.from({ length: perBatch }, () => {
      const sequence = next[index] ?? 0;
      next[index] = sequence + 1;
      const explicitHashKey = index === 0 ? 0n : 2n ** 128n - 1n;
      return {
        partitionKey: `key-${sequence % 7}`,
        data: recordOf(`key-${sequence % 7}`, index, sequence),
        explicitHashKey,
      };
    });
    await store.log.append('readings', batch);
  }
  await store.log.applications.ensure({ name: 'uplink', required: true });
  for (const { id, nextSequence } of store.log.stream('readings').shards) {
    const source = { kind: 'shard', id } as const;
    const lease = await store.log.applications.acquire('uplink', source, 'me', 1000, 0);
    await store.log.applications.checkpoint(lease, nextSequence);
  }
  const footage = parseFootage(await makeFootage({ seconds: 14, format: fragmentedFormat }));
  const groups = groupsOf(footage.chunks);
  await store.video.ensureCamera(cameraOptions('gate', { encryption }));
  const run = await beginRun(store, 'gate', footage, newYearUs);
  const endUs = await recordGroups(run, footage, groups.slice(0, -1), newYearUs);
  await openFragment(run, footage, groups.at(-1) ?? [], endUs);
  await cp(folder, killed, { recursive: true });
  await run.end('ended');
  const originals = new Map<number, Buffer>();
  for (const fragment of await store.video.latestFragments('gate', 1000)) {
    originals.set(fragment.number, await store.video.readFragment(fragment));
  }
  await store.close();
  await cp(folder, closed, { recursive: true });
  await rm(folder, { recursive: true });
  assert.ok((await readFile(join(killed, 'headgate.db-wal'))).length > 0, 'it was killed');
  return originals;
}
