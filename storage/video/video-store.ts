/**
 * The time-indexed store of footage: `VideoStore` over the index in SQLite and media files beside
 * it. What is in the files: `fragment-header.ts`. How they are written: `recording.ts`. How they
 * are read: `media-reader.ts`. How they go: `retention.ts`.
 *
 * Queries by time go through the media files of a camera, which follow each other without overlap,
 * to the few dozen fragments of each: `schema/002-video.ts`.
 */
import type { ClockGuard } from '../clock-guard.ts';
import { StorageError } from '../errors.ts';
import { deleteKeysOf } from '../key-table.ts';
import type { Keyring } from '../keys.ts';
import type { Losses } from '../losses.ts';
import type {
  CameraDescription,
  CameraOptions,
  EventChange,
  EventQuery,
  Fragment,
  FragmentQuery,
  FragmentSpan,
  Init,
  LiveEvent,
  MediaFile,
  NewVideoEvent,
  Run,
  RunRecording,
  Tags,
  VideoEvent,
  VideoStore,
} from '../model.ts';
import type { CancelTimer, Clock, Logger, Metrics } from '../ports.ts';
import type { Writer } from '../writer.ts';
import { setAttribute } from './attributes.ts';
import { checkCamera, describe, emptyState, loadCameras } from './cameras.ts';
import {
  type CameraState,
  cameraState,
  type Reader,
  type VideoContext,
  videoMetrics,
} from './context.ts';
import { addEvent, changeEvent, deleteEvent, event, events } from './events.ts';
import { decidedUs, keptSqlOf } from './kept.ts';
import {
  fragmentsAfterSql,
  fragmentsByTimeSql,
  latestFragmentsSql,
  spansByTimeSql,
} from './fragment-queries.ts';
import { collectGarbage, deleteRows, deleteUnusedInits, type RetentionPass } from './deletion.ts';
import { readFragment, readMediaFile, reportDamage } from './media-reader.ts';
import { MediaDisk } from './media-disk.ts';
import { Recording } from './recording.ts';
import { recover } from './recovery.ts';
import { forgetSacrificed, retain } from './retention.ts';
import {
  fragmentColumns,
  fragmentFrom,
  type FragmentRow,
  initFrom,
  type InitRow,
  mediaFileFrom,
  type MediaFileRow,
  numbersOf,
  readableFragments,
  readableSpans,
  runFrom,
  type RunRow,
} from './rows.ts';
import type { Scratch } from './scratch.ts';
import { checkTags, tagsFrom, tagsText } from './tags.ts';

export interface VideoStoreOptions {
  /** Where the media files are; made when it is not there. */
  readonly folder: string;
  readonly writer: Writer;
  readonly reader: Reader;
  /** For what is encrypted; null: there is no master key. */
  readonly keyring: Keyring | null;
  readonly clockGuard: ClockGuard;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The disk of the database was found full; never when left out. */
  readonly isDiskFull?: () => boolean;
  /** Space to keep free on the disk of the media folder; 512 MiB when left out. */
  readonly minFreeBytes?: number;
  /** Free bytes on that disk; what the file system says when left out. */
  readonly freeBytes?: () => Promise<number>;
  /** About how long a media file is; 60 s when left out. */
  readonly mediaFileMs?: number;
  /** How often retention runs by itself; 30 s when left out. */
  readonly retentionIntervalMs?: number;
}

export interface CameraGrowth {
  readonly storedBytes: number;
  readonly bytesPerMs: number;
  readonly retentionMs: number | null;
  readonly maxBytes: number | null;
}

/** Runs that one query answers: a camera that reconnects every ten seconds makes 8,640 a day. */
const runsMax = 10_000;
const anyTimeMs = [-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] as const;
const dayMs = 24 * 3_600_000;
/** What is younger says nothing about a day. */
const growthMsMin = 600_000;
const defaultMinFreeBytes = 512 * 1024 * 1024;

const mediaFileColumns = `
  m.id, c.name AS camera, m.run_id, m.init_id, m.path, m.start_us, m.end_us, m.bytes`;

/**
 * Opens the store and puts in order what a crash left. Cameras' folders are not walked.
 * @throws StorageError `write-failed`, `disk-full`
 */
export async function openVideoStore(options: VideoStoreOptions): Promise<VideoDiskStore> {
  const { reader } = options;
  const disk = await MediaDisk.open(options);
  const newest = await reader.get<{ seq: number }>(
    "SELECT seq FROM sqlite_sequence WHERE name = 'media_file'",
  );
  const context: VideoContext = {
    folder: options.folder,
    writer: options.writer,
    reader,
    disk,
    keyring: options.keyring,
    clock: options.clock,
    logger: options.logger,
    losses: options.losses,
    metrics: videoMetrics(options.metrics),
    mediaFileUs: (options.mediaFileMs ?? 60_000) * 1000,
    cameras: await loadCameras(reader),
    reading: new Map(),
    sacrificed: new Set(),
    isDiskFull: options.isDiskFull ?? (() => false),
    wantRoom: () => undefined,
    failure: null,
    nextMediaFileId: (newest?.seq ?? 0) + 1,
  };
  const recoverAll = async (): Promise<void> => {
    for (const camera of context.cameras.values()) {
      if (camera.unclosed && camera.endRun === null) await recoverAtStart(context, camera);
    }
  };
  disk.whenBack(recoverAll);
  if (disk.trouble === null) await recoverAll();
  await collectGarbage(context);
  await deleteUnusedInits(context);
  return new VideoDiskStore(context, options);
}

/** What is damaged in the index of one camera keeps nothing else from being served. */
async function recoverAtStart(context: VideoContext, camera: CameraState): Promise<void> {
  try {
    await recover(context, camera);
  } catch (error) {
    if (!(error instanceof StorageError && error.code === 'corrupt')) throw error;
    context.logger.error(
      { error, camera: camera.options.name },
      'The newest footage of a camera is damaged, and nothing is recorded until "headgate check --repair" has mended it.',
    );
  }
}

export class VideoDiskStore implements VideoStore {
  readonly #context: VideoContext;
  readonly #options: VideoStoreOptions;
  #cancelRetention: CancelTimer = () => undefined;
  #roomWanted = false;
  /** Settles, never rejecting, when the last pass that was asked for is over. */
  #retaining: Promise<unknown> = Promise.resolve();
  #closed: Promise<void> | null = null;

  /** Made by `openVideoStore`. */
  constructor(context: VideoContext, options: VideoStoreOptions) {
    this.#context = context;
    this.#options = options;
    options.clockGuard.keepsFor(() =>
      Math.max(
        0,
        ...[...context.cameras.values()].map((camera) => camera.options.retentionMs ?? 0),
      ),
    );
    context.wantRoom = () => {
      this.#retainSoon();
    };
    this.#scheduleRetention();
  }

  /** Why the media folder is not there, in words; null when it is. */
  get trouble(): string | null {
    return this.#context.disk.trouble;
  }

  async ensureCamera(options: CameraOptions): Promise<CameraDescription> {
    checkCamera(options);
    const { name, retentionMs, maxBytes, events, encryption = 'none' } = options;
    const { record = 'continuous', preRollMs = 0, postRollMs = 0 } = options;
    const known = this.#context.cameras.get(name);
    await this.#context.writer.transact(async (tx) => {
      await tx.run(
        `INSERT INTO camera (name, retention_ms, max_bytes, events, encryption, record,
           pre_roll_ms, post_roll_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name)
         DO UPDATE SET retention_ms = ?2, max_bytes = ?3, events = ?4, encryption = ?5,
           record = ?6, pre_roll_ms = ?7, post_roll_ms = ?8`,
        ...[name, retentionMs, maxBytes, events, encryption, record, preRollMs, postRollMs],
      );
      const row = await tx.get<{ id: number }>('SELECT id FROM camera WHERE name = ?', name);
      if (row === undefined) throw new StorageError('corrupt', `camera ${name} was not stored`);
      const createdMs = this.#context.clock.nowMs();
      if (known === undefined) {
        await tx.run('UPDATE camera SET created_ms = ? WHERE id = ?', createdMs, row.id);
      }
      tx.onCommit(() => {
        if (known !== undefined) known.options = options;
        else this.#context.cameras.set(name, { ...emptyState(row.id, options), createdMs });
      });
    });
    return this.camera(name);
  }

  async deleteCamera(name: string): Promise<void> {
    const camera = cameraState(this.#context, name);
    await camera.endRun?.('camera deleted');
    this.#context.cameras.delete(name);
    const files = await this.#context.reader.all<{ id: number; path: string }>(
      'SELECT id, path FROM media_file WHERE camera_id = ? ORDER BY id',
      camera.id,
    );
    const step = 64;
    for (let from = 0; from < files.length; from += step) {
      await this.#context.writer.transact(async (tx) => {
        for (const file of files.slice(from, from + step)) await deleteRows(tx, file);
      });
    }
    await this.#context.writer.transact(async (tx) => {
      await tx.run('DELETE FROM run WHERE camera_id = ?', camera.id);
      await tx.run('DELETE FROM camera_attribute WHERE camera_id = ?', camera.id);
      await tx.run('DELETE FROM video_event WHERE camera_id = ?', camera.id);
      // Whatever the disk still has of its footage, nobody can read it any more.
      await deleteKeysOf(tx, `SELECT 'camera/${camera.id}'`);
      await tx.run('DELETE FROM camera WHERE id = ?', camera.id);
    });
    for (const listener of [...camera.fileListeners]) listener();
    await collectGarbage(this.#context);
  }

  cameras(): Promise<readonly CameraDescription[]> {
    return Promise.resolve([...this.#context.cameras.values()].map(describe));
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a throw becomes a rejection
  async camera(name: string): Promise<CameraDescription> {
    return describe(cameraState(this.#context, name));
  }

  setCameraAttribute(camera: string, key: string, value: unknown): Promise<void> {
    return setAttribute(this.#context, { camera, key, value });
  }

  async startRun(camera: string, atUs: number): Promise<RunRecording> {
    if (this.#closed !== null) throw new StorageError('closed', 'the video store is closed');
    return Recording.start(this.#context, cameraState(this.#context, camera), atUs);
  }

  async runs(
    camera: string,
    fromUs: number,
    toUs: number,
    limit = runsMax,
  ): Promise<readonly Run[]> {
    const { id } = cameraState(this.#context, camera);
    const rows = await this.#context.reader.all<RunRow>(
      `SELECT id, ?2 AS camera, start_us, end_us, end_reason, coalesce(
         (SELECT min(m.start_us) FROM media_file m
          WHERE m.camera_id = ?1 AND m.start_us >= run.start_us
            AND m.start_us < coalesce(run.end_us, 9e18)), end_us, start_us) AS kept_from_us
       FROM run
       WHERE camera_id = ?1 AND start_us < ?4 AND (end_us IS NULL OR end_us > ?3)
         AND start_us >= coalesce(
           (SELECT max(start_us) FROM run WHERE camera_id = ?1 AND start_us <= ?3), ?3)
       ORDER BY start_us LIMIT ?5`,
      ...[id, camera, fromUs, toUs, Math.min(limit, runsMax)],
    );
    return rows.map(runFrom);
  }

  async fragments(query: FragmentQuery): Promise<readonly Fragment[]> {
    const { id } = cameraState(this.#context, query.camera);
    const rows = await this.#context.reader.all<FragmentRow>(
      fragmentsByTimeSql,
      ...[id, query.fromUs, query.toUs, query.limit, ...(query.arrivedMs ?? anyTimeMs)],
    );
    return this.#readable(rows);
  }

  async spans(query: FragmentQuery): Promise<readonly FragmentSpan[]> {
    const { id } = cameraState(this.#context, query.camera);
    const row = await this.#context.reader.get<{ spans: string | null }>(
      spansByTimeSql,
      ...[id, query.fromUs, query.toUs, query.limit, ...(query.arrivedMs ?? anyTimeMs)],
    );
    return readableSpans(row?.spans?.split('\n') ?? [], (line, error) => {
      const fragment = { number: Number.parseInt(line), camera: query.camera, bytes: 0 };
      reportDamage(this.#context, fragment, error.message);
    });
  }

  async fragmentsAfter(
    camera: string,
    number: number,
    limit: number,
  ): Promise<readonly Fragment[]> {
    const { id } = cameraState(this.#context, camera);
    const rows = await this.#context.reader.all<FragmentRow>(
      fragmentsAfterSql,
      ...[id, number, limit],
    );
    return this.#readable(rows);
  }

  async latestFragments(camera: string, count: number): Promise<readonly Fragment[]> {
    const { id } = cameraState(this.#context, camera);
    const rows = await this.#context.reader.all<FragmentRow>(latestFragmentsSql, id, count);
    return this.#readable(rows).reverse();
  }

  /** Damaged rows cost their own fragments. */
  #readable(rows: readonly FragmentRow[]): Fragment[] {
    return readableFragments(rows, ({ number, camera }, error) => {
      reportDamage(this.#context, { number, camera, bytes: 0 }, error.message);
    });
  }

  async fragment(number: number): Promise<Fragment> {
    const row = await this.#context.reader.get<FragmentRow>(
      `SELECT ${fragmentColumns} FROM fragment f
       CROSS JOIN media_file m ON m.id = f.number / 4096
       CROSS JOIN camera c ON c.id = m.camera_id WHERE f.number = ?`,
      number,
    );
    if (row === undefined) throw new StorageError('not-found', `no fragment ${number}`);
    return fragmentFrom(row);
  }

  async init(id: number): Promise<Init> {
    const row = await this.#context.reader.get<InitRow>(
      'SELECT id, hash, tracks, bytes FROM init WHERE id = ?',
      id,
    );
    if (row === undefined) throw new StorageError('not-found', `no init ${id}`);
    return initFrom(row);
  }

  readFragment(fragment: Fragment, scratch?: Scratch): Promise<Buffer> {
    return readFragment(this.#context, fragment, scratch);
  }

  /** How much each camera keeps of the last day, or of as much of it as there is. */
  async growth(): Promise<readonly CameraGrowth[]> {
    const nowMs = this.#context.clock.nowMs();
    const growths: CameraGrowth[] = [];
    for (const camera of this.#context.cameras.values()) {
      const { retentionMs, maxBytes } = camera.options;
      const recent = await this.#context.reader.get<{ bytes: number; start_us: number | null }>(
        `SELECT coalesce(sum(bytes), 0) AS bytes, min(start_us) AS start_us FROM media_file
         WHERE camera_id = ? AND start_us >= ?`,
        ...[camera.id, (nowMs - dayMs) * 1000],
      );
      const sinceMs = nowMs - (recent?.start_us ?? 0) / 1000;
      const bytesPerMs = sinceMs < growthMsMin ? 0 : (recent?.bytes ?? 0) / sinceMs;
      const { storedBytes } = describe(camera);
      growths.push({ storedBytes, retentionMs, maxBytes, bytesPerMs });
    }
    return growths;
  }

  async tagFragment(number: number, tags: Tags): Promise<Fragment> {
    await this.#context.writer.transact(async (tx) => {
      const row = await tx.get<{ tags: string | null }>(
        'SELECT tags FROM fragment WHERE number = ?',
        number,
      );
      if (row === undefined) throw new StorageError('not-found', `no fragment ${number}`);
      const all = { ...tagsFrom(row.tags), ...tags };
      checkTags(all);
      await tx.run('UPDATE fragment SET tags = ? WHERE number = ?', tagsText(all), number);
    });
    return this.fragment(number);
  }

  addEvent(event: NewVideoEvent): Promise<VideoEvent> {
    return addEvent(this.#context, event);
  }

  changeEvent(id: number, change: EventChange): Promise<VideoEvent> {
    return changeEvent(this.#context, id, change);
  }

  deleteEvent(id: number): Promise<void> {
    return deleteEvent(this.#context, id);
  }

  event(id: number): Promise<VideoEvent> {
    return event(this.#context, id);
  }

  events(query: EventQuery): Promise<readonly VideoEvent[]> {
    return events(this.#context, query);
  }

  async closedMediaFiles(
    cameraId: number,
    fromId: number,
    limit: number,
  ): Promise<readonly MediaFile[]> {
    const camera = [...this.#context.cameras.values()].find(({ id }) => id === cameraId);
    const keptSql = camera === undefined ? null : keptSqlOf(camera);
    const decided =
      camera === undefined || keptSql === null
        ? ''
        : `AND ${keptSql} AND m.end_us <= ${decidedUs(camera, this.#context.clock.nowMs())}`;
    // A file before an open one (left open by a failure) waits for it: readers go by the id.
    const rows = await this.#context.reader.all<MediaFileRow>(
      `SELECT ${mediaFileColumns} FROM media_file m JOIN camera c ON c.id = m.camera_id
       WHERE m.camera_id = ?1 AND m.id >= ?2 AND m.end_us IS NOT NULL ${decided} AND m.id < coalesce(
         (SELECT min(id) FROM media_file WHERE camera_id = ?1 AND id >= ?2 AND end_us IS NULL),
         9e15)
       ORDER BY m.id LIMIT ?3`,
      ...[cameraId, fromId, limit],
    );
    return rows.map(mediaFileFrom);
  }

  async openMediaFile(cameraId: number): Promise<number | null> {
    const row = await this.#context.reader.get<{ id: number }>(
      `SELECT id FROM media_file m INDEXED BY media_file_open
       WHERE end_us IS NULL AND camera_id = ?
         AND EXISTS (SELECT 1 FROM fragment WHERE number BETWEEN m.id * 4096 AND m.id * 4096 + 4095)
       ORDER BY id LIMIT 1`,
      cameraId,
    );
    return row?.id ?? null;
  }

  async mediaFileFragments(mediaFileId: number): Promise<readonly Fragment[]> {
    const rows = await this.#context.reader.all<FragmentRow>(
      `SELECT ${fragmentColumns} FROM fragment f
       CROSS JOIN media_file m ON m.id = ?1 CROSS JOIN camera c ON c.id = m.camera_id
       WHERE f.number BETWEEN ?2 AND ?3 ORDER BY f.number`,
      ...[mediaFileId, ...numbersOf(mediaFileId)],
    );
    return this.#readable(rows);
  }

  async *readMediaFile(mediaFileId: number): AsyncGenerator<Buffer, void> {
    const fragments = await this.mediaFileFragments(mediaFileId);
    if (fragments.length === 0) {
      throw new StorageError('not-found', `no media file ${mediaFileId}`);
    }
    yield* readMediaFile(this.#context, mediaFileId, fragments);
  }

  waitForMediaFile(cameraId: number, fromId: number, signal: AbortSignal): Promise<void> {
    const camera = [...this.#context.cameras.values()].find(({ id }) => id === cameraId);
    if (camera === undefined) {
      return Promise.reject(new StorageError('not-found', `no camera with the id ${cameraId}`));
    }
    const isThere = (): boolean =>
      camera.lastClosedFileId >= fromId || signal.aborted || this.#closed !== null;
    if (isThere()) return Promise.resolve();
    return new Promise((resolve) => {
      const look = (): void => {
        const gone = !this.#context.cameras.has(camera.options.name);
        if (!isThere() && !gone) return;
        camera.fileListeners.delete(look);
        signal.removeEventListener('abort', look);
        resolve();
      };
      camera.fileListeners.add(look);
      signal.addEventListener('abort', look);
    });
  }

  watch(camera: string, listener: (event: LiveEvent) => void): () => void {
    const { listeners } = cameraState(this.#context, camera);
    // A listener of its own, so that one function may watch twice.
    const own = (event: LiveEvent): void => listener(event);
    listeners.add(own);
    return () => {
      listeners.delete(own);
    };
  }

  /**
   * Runs retention once, after the pass that may be under way.
   * @param wantedFreeBytes what has to be free this time, where that is more than `minFreeBytes`
   * @throws StorageError
   */
  retain(wantedFreeBytes = 0): Promise<RetentionPass> {
    const { freeBytes } = this.#options;
    const minFreeBytes = Math.max(
      this.#options.minFreeBytes ?? defaultMinFreeBytes,
      wantedFreeBytes,
    );
    const options = { minFreeBytes, ...(freeBytes === undefined ? {} : { freeBytes }) };
    const { clockGuard } = this.#options;
    const pass = this.#retaining.then(() => {
      clockGuard.look();
      return retain(this.#context, options, clockGuard);
    });
    this.#retaining = pass.catch(() => undefined);
    return pass;
  }

  /** Ends the runs that go on, and retention. Closing twice is harmless. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#cancelRetention();
    await this.#retaining;
    for (const camera of this.#context.cameras.values()) {
      await camera.endRun?.('gateway stopped').catch((error: unknown) => {
        this.#context.logger.error(
          { error, camera: camera.options.name },
          'A run could not be closed; it is recovered at the next start.',
        );
      });
    }
    await forgetSacrificed(this.#context).catch((error: unknown) => {
      this.#context.logger.error({ error }, 'Rows of footage that is gone were left.');
    });
    // After the assignment in close(), so that those who wait see that the store is closed.
    await Promise.resolve();
    for (const camera of this.#context.cameras.values()) {
      for (const listener of [...camera.fileListeners]) listener();
    }
  }

  #scheduleRetention(): void {
    const { retentionIntervalMs = 30_000 } = this.#options;
    this.#cancelRetention = this.#context.clock.setTimer(retentionIntervalMs, () => {
      void this.#retainByItself().then(() => {
        if (this.#closed === null) this.#scheduleRetention();
      });
    });
  }

  /** A pass out of turn, unless one is wanted already: all cameras find the disk full at once. */
  #retainSoon(): void {
    if (this.#roomWanted || this.#closed !== null) return;
    this.#roomWanted = true;
    void this.#retainByItself().then(() => {
      this.#roomWanted = false;
    });
  }

  async #retainByItself(): Promise<void> {
    try {
      await this.retain();
    } catch (error) {
      this.#context.logger.error({ error }, 'Retention of footage failed.');
    }
  }
}
