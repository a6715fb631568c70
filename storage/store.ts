/**
 * Opens the store: the database file, the parts that live in it, and the lock that keeps a second
 * process out.
 *
 * In the folder: `headgate.db` with its `-wal` and `-shm`, `lock.db`, `reserve`, and `media/` unless
 * it is put elsewhere. What is opened in order is closed in reverse.
 */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkpointer } from './checkpointer.ts';
import { ClockGuard } from './clock-guard.ts';
import { DiskReserve, reserveBytesFor } from './disk-reserve.ts';
import { syncFolders } from './folders.ts';
import { FreeSpaceFloor } from './free-space.ts';
import type { DiskGuard } from './group-commit.ts';
import { StoreLock } from './lock.ts';
import { diskErrors, explainFullDisk } from './disk-errors.ts';
import { ApplicationTable } from './log/applications.ts';
import { LogAppender } from './log/appending.ts';
import { Compaction } from './log/compaction.ts';
import type { AppendListener } from './log/log-group.ts';
import { ShardedLog } from './log/log.ts';
import { PlanOutputs } from './log/plan-output.ts';
import { LogReader } from './log/reading.ts';
import { Resealing } from './log/resealing.ts';
import { Resharding } from './log/resharding.ts';
import { Scaling } from './log/scaling.ts';
import { Sealing } from './log/sealing.ts';
import { loadStreams } from './log/streams.ts';
import { ReadCache } from './log/read-cache.ts';
import { TailCache } from './log/tail-cache.ts';
import { StorageError } from './errors.ts';
import { Items } from './items/items.ts';
import { Losses } from './losses.ts';
import { wrappingKeys } from './key-table.ts';
import { Keyring, type MasterKey } from './keys.ts';
import { lostDatabase, traceOfStore } from './lost-database.ts';
import type { Log, OnceLog } from './model.ts';
import { Places } from './places.ts';
import type { Clock, Logger, Metrics } from './ports.ts';
import { ReadPool } from './read-pool.ts';
import { Received } from './received.ts';
import { Retention } from './retention.ts';
import { migrate, schemaDamage, schemaVersion } from './schema/migrate.ts';
import { Database, isRawDamage } from './sqlite.ts';
import {
  openVideoStore,
  type VideoDiskStore,
  type VideoStoreOptions,
} from './video/video-store.ts';
import { Writer } from './writer.ts';

export const databaseFileName = 'headgate.db';
export const mediaFolderName = 'media';
const writerCacheKib = 16_384;
const wipeWrittenPages = 'PRAGMA secure_delete = FAST';
const wipeDeletedPages = 'PRAGMA secure_delete = ON';
const defaultMaxWalBytes = 64 * 1024 * 1024;
const defaultTailCacheBytes = 32 * 1024 * 1024;
const defaultReadCacheBytes = 32 * 1024 * 1024;
const defaultMaxShards = 16;

/** What the data keys of what is encrypted are wrapped by. */
export interface MasterKeys {
  readonly current: MasterKey;
  /** Those of before, for what they have wrapped: it is wrapped by the current one at once. */
  readonly previous: readonly MasterKey[];
}

export interface StoreOptions {
  /** Made when it is not there. */
  readonly folder: string;
  /** Where the media files are; `media` in the folder when left out. */
  readonly mediaFolder?: string;
  /** How the video store keeps footage; see there for what holds when left out. */
  readonly video?: Pick<
    VideoStoreOptions,
    'minFreeBytes' | 'freeBytes' | 'mediaFileMs' | 'retentionIntervalMs'
  >;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** How long a group commit waits for company; 0 when left out. */
  readonly lingerMs?: number;
  /** Bytes that may wait for a commit before callers get `overloaded`; 64 MiB when left out. */
  readonly maxQueuedBytes?: number;
  /**
   * Bytes of write-ahead log past which the writer waits for a checkpoint; 64 MiB when left out,
   * and never more than half of the reserve.
   */
  readonly maxWalBytes?: number;
  /**
   * Bytes kept back for when the disk is full; 0: none. When left out 64 MiB, and at most a sixteenth
   * of the disk.
   */
  readonly reserveBytes?: number;
  /**
   * Free space below which the log takes nothing new; null: 512 MiB, but at most a tenth of the
   * disk. None when left out.
   */
  readonly minFreeBytes?: number | null;
  /** Free bytes on the disk of the folder; what the file system says when left out. */
  readonly freeBytes?: () => Promise<number>;
  /** Bytes of the newest records kept in memory for readers at the head; 32 MiB when left out. */
  readonly tailCacheBytes?: number;
  /** Bytes of what was read from the disk kept in memory for others; 32 MiB when left out. */
  readonly readCacheBytes?: number;
  /** Open shards that load alone may give a stream on demand; 16 when left out. */
  readonly maxShards?: number;
  /** Is told of records once they are on disk. */
  readonly onAppended?: AppendListener;
  /**
   * Where the master key comes from. It is told the ids of those that wrap what there is: when there
   * are any, a new one is of no use. When left out, nothing that is encrypted is read or written.
   */
  readonly masterKeys?: (inUse: readonly string[]) => Promise<MasterKeys>;
  /** After which time data keys give way to new ones; 90 days when left out. */
  readonly dataKeyAgeMaxMs?: number;
  /** Who opens it, in words for whoever finds it locked, e.g. `headgate, process 4711`. */
  readonly holder?: string;
}

export interface Store {
  readonly log: Log;
  readonly video: VideoDiskStore;
  /** Appends of messages that may be repeated, each stored once. */
  readonly received: OnceLog;
  /** How far ways in have come with what they read. */
  readonly places: Places;
  /** Small tables for programs that keep leases in them. */
  readonly items: Items;
  /** For work that commits together with the log's, and for its own tables. */
  readonly writer: Writer;
  readonly applications: ApplicationTable;
  /** Queries of committed data. */
  readonly queries: ReadPool;
  readonly retention: Retention;
  readonly compaction: Compaction;
  readonly scaling: Scaling;
  /** Says whether age may be believed. */
  readonly clockGuard: ClockGuard;
  /** What was lost, ever. */
  readonly losses: Losses;
  /** What its data keys are wrapped by; null: nothing is encrypted or read that is. */
  readonly masterKeys: MasterKeys | null;
  /** Why nothing is appended to any stream, in words; null while appends are taken. */
  readonly refusal: string | null;
  /** Commits what is queued, copies the write-ahead log back, closes. Twice is harmless. */
  close(): Promise<void>;
}

/**
 * @throws StorageError `already-exists` while another process has it open, `version-too-new`,
 *   `corrupt`, `disk-full`, `write-failed`; `wrong-key` when there is something encrypted under
 *   another master key: then nothing is changed
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const closers: (() => Promise<void> | void)[] = [];
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => (closing ??= closeInReverse(closers));
  try {
    return await openParts(options, closers, close);
  } catch (error) {
    await close().catch(() => undefined);
    throw await explainFullDisk(explainDamage(error, options.folder), options.folder);
  }
}

/** For people: what SQLite says of a damaged file is of no use to them. */
function explainDamage(error: unknown, folder: string): unknown {
  if (!isRawDamage(error)) return error;
  const path = join(folder, databaseFileName);
  return new StorageError(
    'corrupt',
    `the database ${path} is damaged: "headgate check --repair" saves what can be read, or restore a backup`,
    { cause: error },
  );
}

async function openParts(
  options: StoreOptions,
  closers: (() => Promise<void> | void)[],
  close: () => Promise<void>,
): Promise<Store> {
  const { folder, clock, logger, metrics } = options;
  const made = await diskErrors('create the data folder', () =>
    mkdir(folder, { recursive: true, mode: 0o700 }),
  );
  const lock = await StoreLock.take(folder, options.holder ?? 'another process', clock.nowMs());
  closers.push(() => lock.release());

  const reserve = new DiskReserve({
    folder,
    bytes: options.reserveBytes ?? (await reserveBytesFor(folder)),
    logger,
    onRelease: () => {
      retention.kick();
    },
  });
  await reserve.releaseToOpen();
  const path = join(folder, databaseFileName);
  const mediaFolder = options.mediaFolder ?? join(folder, mediaFolderName);
  const lost = await lostDatabase(path, mediaFolder, lock.wasMade);
  if (lost !== null) throw lostError(path, lost);
  const database = await Database.open(path);
  closers.push(() => database.close());
  if ((await schemaVersion(database)) === 0) {
    const trace = await traceOfStore(mediaFolder, lock.wasMade);
    if (trace !== null) throw lostError(path, `it has no tables, and ${trace}`);
  }
  await migrate(database);
  const damage = await schemaDamage(database);
  if (damage !== null) throw new StorageError('corrupt', `${path}: ${damage}`);
  // A new file is not safe before its name is.
  await diskErrors('sync the data folder', () => syncFolders(folder, made));
  // The checkpointer does it, beside the commits.
  await database.exec(`PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -${writerCacheKib}`);
  // Pages that are written anyway keep nothing of what was in them: it costs no writing.
  await database.exec(wipeWrittenPages);
  const masterKeys = await options.masterKeys?.(await wrappingKeys(database));
  const checkpoints = await Database.open(path);
  closers.push(() => checkpoints.close());
  const queries = await ReadPool.open(path);
  closers.push(() => queries.close());

  const streams = await loadStreams(database);
  const tail = new TailCache(options.tailCacheBytes ?? defaultTailCacheBytes, metrics);
  const readCache = new ReadCache(options.readCacheBytes ?? defaultReadCacheBytes, metrics);
  const sealing = new Sealing();
  const appender = new LogAppender(streams, tail, sealing, clock, options.onAppended ?? null);
  const floor = new FreeSpaceFloor({
    folder,
    minFreeBytes: options.minFreeBytes === undefined ? 0 : options.minFreeBytes,
    ...(options.freeBytes === undefined ? {} : { freeBytes: options.freeBytes }),
    logger,
    metrics,
  });
  const maxWalBytes = reserve.maxWalBytes(options.maxWalBytes ?? defaultMaxWalBytes);
  const checkpointer = new Checkpointer(checkpoints, { logger, metrics, maxWalBytes });
  const diskGuard = guardOf(reserve, floor);
  const writer = new Writer({
    ...options,
    ...{ database, appender, walKeeper: checkpointer, diskGuard },
  });
  closers.push(async () => {
    await writer.close();
    await checkpointer.close();
  });
  let keyring: Keyring | null = null;
  if (masterKeys !== undefined) {
    const { current: masterKey, previous } = masterKeys;
    const ageMaxMs = options.dataKeyAgeMaxMs;
    const age = ageMaxMs === undefined ? {} : { ageMaxMs };
    keyring = await Keyring.open({ writer, queries, masterKey, previous, clock, ...age });
    sealing.use(keyring);
  }
  const applications = await ApplicationTable.open({
    writer,
    queries,
    clock,
    sourceEnd: ({ kind, id }) =>
      kind === 'shard' ? streams.shard(id).position.nextSequence : null,
    outputs: new PlanOutputs({ queries, streams, sealing }),
  });
  const parts = {
    writer,
    appender,
    streams,
    applications,
    queries,
    sealing,
    clock,
    logger,
    metrics,
  };
  const losses = await Losses.open({ writer, queries, clock, logger, metrics });
  const clockGuard = await ClockGuard.open({ writer, queries, clock, logger, metrics });
  closers.push(() => {
    clockGuard.close();
  });
  const places = new Places({ writer, queries, losses });
  const received = await Received.open({ writer, queries, clock, clockGuard });
  const items = await Items.open({ writer, queries, diskGuard, clock, logger });
  const retention = new Retention({ ...parts, reserve, checkpointer, clockGuard, losses, floor });
  appender.setRoomMaker(retention);
  closers.push(() => retention.close());
  const resealing = new Resealing({
    ...parts,
    wipeDeleted: (on) => database.exec(on ? wipeDeletedPages : wipeWrittenPages),
    dropFreePages: () => retention.dropFreePages(),
    cutWal: () => checkpointer.truncate(),
  });
  await resealing.refresh();
  const compaction = new Compaction({ ...parts, resealing, diskGuard });
  closers.push(() => compaction.close());
  const resharding = new Resharding(parts);
  const reader = new LogReader({
    ...{ queries, tail, readCache, sealing, losses, logger, metrics },
  });
  const { hasher } = appender;
  const maxShards = options.maxShards ?? defaultMaxShards;
  const scaling = new Scaling({ ...parts, resharding, reader, hasher, maxShards });
  closers.push(() => scaling.close());
  const log = new ShardedLog({
    ...parts,
    tail,
    readCache,
    resharding,
    resealing,
    reader,
    onDeletable: () => {
      retention.kick();
    },
  });
  closers.push(() => {
    log.close();
  });
  retention.start();
  compaction.start();
  scaling.start();
  const video = await openVideoStore({
    ...options.video,
    folder: mediaFolder,
    reader: queries,
    isDiskFull: () => reserve.full,
    ...{ writer, keyring, clockGuard, losses, clock, logger, metrics },
  });
  closers.push(() => video.close());
  // Footage on another disk is no help.
  const deviceOf = (path: string): Promise<number | null> =>
    stat(path).then(
      ({ dev }) => dev,
      () => null,
    );
  const isOneDisk = (await deviceOf(folder)) === (await deviceOf(mediaFolder));
  retention.setFreeFootage((freeBytes) => video.retain(isOneDisk ? freeBytes : 0));
  if (reserve.full) retention.kick();
  return {
    ...{
      log,
      received,
      places,
      items,
      video,
      writer,
      applications,
      queries,
      retention,
      compaction,
    },
    ...{ scaling, clockGuard, losses },
    masterKeys: masterKeys ?? null,
    get refusal() {
      return diskGuard.full ? diskGuard.reason : null;
    },
    close,
  };
}

function lostError(path: string, why: string): StorageError {
  return new StorageError(
    'corrupt',
    `${path} is lost: ${why}. Restore a backup, or have "headgate check --repair" save what is left; to begin anew, empty the data folder`,
  );
}

function guardOf(
  reserve: DiskReserve,
  floor: FreeSpaceFloor,
): DiskGuard & { readonly reason: string } {
  return {
    get full() {
      return reserve.full || floor.refusing;
    },
    get reason() {
      return reserve.full
        ? 'the disk is full: nothing is appended'
        : 'the disk has less free space than log.minFreeBytes: nothing is appended';
    },
    release: () => {
      reserve.release();
    },
  };
}

/** Closes everything even if something fails on the way; the first failure is thrown. */
async function closeInReverse(closers: readonly (() => Promise<void> | void)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const closer of [...closers].reverse()) {
    try {
      await closer();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
