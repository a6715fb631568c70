/**
 * The writing end of one run: chunks in, fragments and media files out.
 *
 * Order on disk, which crash recovery relies on: the media file's row is committed before the file
 * is created (so no file is ever without a row); a fragment's bytes are written, its header sealed
 * and the file fsynced before its row is committed. `closeFragment` resolves after that commit.
 *
 * A media file holds one run under one init. It is closed at the first fragment after its camera's
 * minute mark; the marks of different cameras are spread over the minute, so that they do not all
 * open files at once. What a crash leaves is dealt with in `recovery.ts`.
 *
 * Each chunk of an encrypted camera is encrypted before it is written, also those of a fragment that
 * is still open: while the data key is not at hand nothing is recorded.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { StorageError } from '../errors.ts';
import type { Keyring } from '../keys.ts';
import type {
  Chunk,
  Fragment,
  FreeTime,
  Init,
  Run,
  RunRecording,
  TrackDescription,
} from '../model.ts';
import { type InitSegment, Mp4Error, readInit } from './boxes.ts';
import { type CameraState, emit, mediaFileUsOf, type VideoContext } from './context.ts';
import { encryptChunk, scopeOf } from './encrypted-chunk.ts';
import {
  FragmentBuilder,
  placeChunk,
  type ReadChunk,
  type StoredChunk,
  storedAs,
} from './fragment-builder.ts';
import { clearRuns, freeTime } from './free-time.ts';
import { MediaWriter } from './media-writer.ts';
import { closeFileRow, insertFragment, mediaPath, type OpenFile } from './open-file.ts';
import { recover } from './recovery.ts';
import { checkTags } from './tags.ts';
import { fragmentNumber, fragmentsPerFileMax, type InitRow } from './rows.ts';

type FragmentStart = Parameters<RunRecording['openFragment']>[0];
type FragmentClose = Parameters<RunRecording['closeFragment']>[0];

interface FragmentEnd {
  readonly startUs: number;
  readonly durationUs: number;
  readonly damaged: boolean;
}

/**
 * Refusals of the events stream for whose sake no footage is given up: also of a log that is below
 * its floor of free space, which is there for footage among others.
 */
const announcementRefusals = new Set(['stream-full', 'disk-full', 'not-found', 'invalid-argument']);

/** A gap between footage that is shorter takes no run: it would end as soon as it began. */
const roomUsMin = 10_000_000;

export class Recording implements RunRecording {
  readonly free: FreeTime;
  readonly #context: VideoContext;
  readonly #camera: CameraState;
  #run: Run;
  #init: { readonly row: Init; readonly segment: InitSegment } | null = null;
  #file: OpenFile | null = null;
  #fragment: FragmentBuilder | null = null;
  /** What the chunks of the open fragment are encrypted with; null: nothing. */
  #keyring: Keyring | null = null;
  #lastEndUs: number | null = null;
  #ended: Promise<Run> | null = null;
  /** The call under way, if any; it never rejects. */
  #underWay: Promise<unknown> = Promise.resolve();

  private constructor(context: VideoContext, camera: CameraState, run: Run, free: FreeTime) {
    this.free = free;
    this.#context = context;
    this.#camera = camera;
    this.#run = run;
  }

  /**
   * @throws StorageError `already-exists` while another run of the camera goes on;
   *   `key-unavailable`, `wrong-key` for an encrypted one without its data key; `media-missing`
   */
  static async start(context: VideoContext, camera: CameraState, atUs: number): Promise<Recording> {
    if (camera.endRun !== null) {
      throw new StorageError('already-exists', `${camera.options.name} is being recorded already`);
    }
    let recording: Recording | null = null;
    // Taken before the first await, so that of two starts at once one is refused.
    camera.endRun = async (reason) => recording?.end(reason);
    try {
      await keyringFor(context, camera);
      await context.disk.check();
      if (camera.unclosed) await recover(context, camera);
      const free = await freeTime(context.reader, camera.id, atUs, roomUsMin);
      const startUs = Math.max(atUs, free.fromUs);
      const { lastId } = await context.writer.transact(async (tx) => {
        await clearRuns(tx, camera.id, free);
        return tx.run('INSERT INTO run (camera_id, start_us) VALUES (?, ?)', camera.id, startUs);
      });
      const run = { id: lastId, camera: camera.options.name, startUs, keptFromUs: startUs };
      recording = new Recording(context, camera, { ...run, endUs: null, endReason: null }, free);
    } catch (error) {
      camera.endRun = null;
      throw error;
    }
    emit(context, camera, { type: 'run-started', run: recording.run });
    return recording;
  }

  get run(): Run {
    return this.#run;
  }

  setInit(bytes: Buffer, tracks: readonly TrackDescription[]): Promise<Init> {
    return this.#call(() => this.#setInit(bytes, tracks));
  }

  openFragment(start: FragmentStart): Promise<number> {
    return this.#call(() => this.#openFragment(start));
  }

  appendChunk(chunk: Chunk): Promise<void> {
    return this.#call(() => this.#appendChunk(chunk));
  }

  closeFragment(end: FragmentClose): Promise<Fragment> {
    return this.#call(() => this.#close(end));
  }

  discardFragment(): Promise<void> {
    return this.#call(() => this.#discard());
  }

  /** Whoever records calls one after the other; a store that closes may come in between. */
  async #call<T>(work: () => Promise<T>): Promise<T> {
    this.#assertGoingOn();
    const call = work();
    this.#underWay = call.catch((error: unknown) => {
      if (error instanceof StorageError && error.code === 'disk-full') this.#context.wantRoom();
    });
    return call;
  }

  async #setInit(bytes: Buffer, tracks: readonly TrackDescription[]): Promise<Init> {
    assert(this.#fragment === null, 'an init is set between fragments');
    const segment = parseInit(bytes);
    const hash = createHash('sha256').update(bytes).digest('hex');
    const id = await this.#context.writer.transact(
      async (tx) => {
        const known = await tx.get<Pick<InitRow, 'id'>>('SELECT id FROM init WHERE hash = ?', hash);
        if (known !== undefined) {
          this.#camera.initId = known.id;
          return known.id;
        }
        const text = JSON.stringify(tracks);
        const added = await tx.run(
          'INSERT INTO init (hash, tracks, bytes) VALUES (?, ?, ?)',
          ...[hash, text, bytes],
        );
        this.#camera.initId = added.lastId;
        return added.lastId;
      },
      { bytes: bytes.length },
    );
    const row: Init = { id, hash, tracks, bytes };
    this.#init = { row, segment };
    return row;
  }

  async #openFragment(start: FragmentStart): Promise<number> {
    this.#assertRoom();
    this.#checkTimes({ ...start, durationUs: 1 });
    assert(this.#fragment === null, 'one fragment at a time');
    assert(this.#init !== null, 'an init comes before the first fragment');
    this.#keyring = await keyringFor(this.#context, this.#camera);
    const file = await this.#fileFor(start.startUs, this.#init.row);
    this.#fragment = new FragmentBuilder({
      number: fragmentNumber(file.id, file.fragments),
      camera: this.#camera.options.name,
      runId: this.#run.id,
      initId: file.initId,
      mediaFileId: file.id,
      offset: file.writer.bytes,
      ...start,
    });
    return this.#fragment.identity.number;
  }

  async #appendChunk({ bytes, keyframe }: Chunk): Promise<void> {
    this.#assertRoom();
    const { file, fragment } = this.#open();
    assert(this.#init !== null, 'an init comes before the first chunk');
    const { chunk, origin } = placeChunk(this.#init.segment, bytes, file.origin);
    const stored = this.#stored(fragment, chunk);
    const header = fragment.chunkCount === 0 ? [fragment.openHeader()] : [];
    await file.writer.append(...header, ...stored.pieces);
    file.origin = origin;
    fragment.add(chunk.facts, stored);
    this.#camera.openBytes = file.writer.bytes;
    const { number, initId, startUs } = fragment.identity;
    emit(this.#context, this.#camera, {
      type: 'chunk',
      runId: this.#run.id,
      fragment: { number, initId, startUs, decodeTime: fragment.decodeTime },
      chunk: { bytes: chunk.bytes, durationUs: chunk.facts.durationUs, keyframe },
    });
  }

  /** @throws StorageError `overloaded` */
  #stored({ identity, chunkCount }: FragmentBuilder, chunk: ReadChunk): StoredChunk {
    if (this.#keyring === null) return storedAs(chunk.bytes);
    const place = { fragment: identity.number, position: chunkCount };
    return encryptChunk(this.#keyring, this.#camera.id, place, chunk);
  }

  end(reason: string): Promise<Run> {
    this.#ended ??= this.#end(reason);
    return this.#ended;
  }

  async #close(end: FragmentClose): Promise<Fragment> {
    if (this.#context.failure !== null) throw this.#context.failure;
    const { file, fragment } = this.#open();
    assert(fragment.chunkCount > 0, 'a fragment has a chunk at least');
    const final = { ...end, startUs: end.startUs ?? fragment.identity.startUs };
    const { tags = {} } = end;
    checkTags(tags);
    this.#checkTimes(final);
    await this.#seal(file, fragment, final);
    const built = { ...fragment.build(final), tags: Object.keys(tags).length === 0 ? null : tags };
    await this.#commit(file, built);
    this.#fragment = null;
    if (this.#lastEndUs === null) {
      this.#run = { ...this.#run, startUs: built.startUs, keptFromUs: built.startUs };
    }
    file.fragments += 1;
    file.startUs = file.fragments === 1 ? built.startUs : file.startUs;
    file.committedBytes = file.writer.bytes;
    this.#lastEndUs = built.startUs + built.durationUs;
    this.#camera.firstStartUs = Math.min(this.#camera.firstStartUs ?? Infinity, built.startUs);
    this.#camera.lastEndUs = Math.max(this.#camera.lastEndUs ?? -Infinity, this.#lastEndUs);
    this.#camera.runEndUs = this.#lastEndUs;
    const labels = { camera: built.camera };
    this.#context.metrics.fragments.add(1, labels);
    this.#context.metrics.bytes.add(built.storedBytes, labels);
    emit(this.#context, this.#camera, { type: 'fragment', fragment: built });
    return built;
  }

  async #end(reason: string): Promise<Run> {
    try {
      await this.#underWay;
      await this.#closeLeftover();
      const endUs = this.#lastEndUs ?? this.#run.startUs;
      const file = this.#file;
      await this.#context.writer.transact(async (tx) => {
        if (file !== null) await closeFileRow(tx, file, endUs);
        // A file that could not be created, on a full disk that could not take its row back either.
        await tx.run(
          `DELETE FROM media_file
           WHERE camera_id = ? AND start_us >= ? AND run_id = ? AND end_us IS NULL`,
          ...[this.#camera.id, this.#run.startUs, this.#run.id],
        );
        // A run of which nothing was kept leaves no trace: a flapping camera would fill the table.
        if (this.#lastEndUs === null) await tx.run('DELETE FROM run WHERE id = ?', this.#run.id);
        else {
          await tx.run(
            'UPDATE run SET end_us = ?, end_reason = ? WHERE id = ?',
            ...[endUs, reason, this.#run.id],
          );
        }
      });
      this.#run = { ...this.#run, endUs, endReason: reason };
      await this.#fileClosed();
      return this.#run;
    } catch (error) {
      this.#camera.unclosed = true;
      throw error;
    } finally {
      await this.#file?.writer.close();
      this.#file = null;
      this.#camera.openBytes = 0;
      this.#camera.runEndUs = null;
      this.#camera.endRun = null;
      this.#camera.initId = null;
      emit(this.#context, this.#camera, { type: 'run-ended', run: this.#run });
    }
  }

  /**
   * Commits the fragment that is open, or takes it back when that fails. What can't be taken back
   * either keeps its file open, for the next start to recover.
   */
  async #closeLeftover(): Promise<void> {
    const fragment = this.#fragment;
    if (fragment === null) return;
    if (fragment.chunkCount > 0) {
      try {
        const roomUs = (this.free.untilUs ?? Infinity) - fragment.identity.startUs;
        const durationUs = Math.min(Math.max(1, fragment.mediaUs), roomUs);
        await this.#close({ durationUs, damaged: false });
        return;
      } catch (error) {
        this.#context.logger.error(
          { error, camera: this.#camera.options.name },
          'The last fragment of a run could not be stored.',
        );
      }
    }
    await this.#discard();
  }

  async #discard(): Promise<void> {
    if (this.#context.failure !== null) throw this.#context.failure;
    this.#fragment = null;
    await this.#file?.writer.truncate(this.#file.committedBytes);
  }

  async #fileFor(startUs: number, init: Init): Promise<OpenFile> {
    const current = this.#file;
    if (current !== null && !this.#isDue(current, startUs, init)) return current;
    await this.#context.disk.check();
    const id = this.#context.nextMediaFileId;
    this.#context.nextMediaFileId += 1;
    const path = mediaPath(this.#camera, id, startUs);
    await this.#context.writer.transact(async (tx) => {
      if (current !== null) await closeFileRow(tx, current, this.#lastEndUs ?? current.startUs);
      await tx.run(
        `INSERT INTO media_file (id, camera_id, run_id, init_id, start_us, path)
         VALUES (?, ?, ?, ?, ?, ?)`,
        ...[id, this.#camera.id, this.#run.id, init.id, startUs, path],
      );
    });
    await this.#fileClosed();
    const writer = await this.#createFile(id, path, init);
    this.#file = {
      ...{ id, path, writer, startUs, initId: init.id, origin: null, fragments: 0 },
      committedBytes: writer.bytes,
    };
    this.#camera.openBytes = writer.bytes;
    return this.#file;
  }

  async #createFile(id: number, path: string, init: Init): Promise<MediaWriter> {
    let writer: MediaWriter | null = null;
    try {
      writer = await MediaWriter.create(this.#context.folder, path);
      await writer.append(init.bytes);
      return writer;
    } catch (error) {
      await writer?.close();
      await unlink(join(this.#context.folder, path)).catch(() => undefined);
      await this.#context.writer
        .transact((tx) => tx.run('DELETE FROM media_file WHERE id = ?', id))
        .catch((failure: unknown) => {
          this.#context.logger.warn({ error: failure, path }, 'A row without a file was left.');
        });
      throw error;
    }
  }

  #isDue(file: OpenFile, startUs: number, init: Init): boolean {
    if (file.initId !== init.id || file.fragments >= fragmentsPerFileMax) return true;
    const mediaFileUs = mediaFileUsOf(this.#context, this.#camera);
    // The golden ratio spreads any number of cameras evenly.
    const phaseUs = ((this.#camera.id * 0.618033988749895) % 1) * mediaFileUs;
    const minute = (timeUs: number): number => Math.floor((timeUs - phaseUs) / mediaFileUs);
    return minute(startUs) > minute(file.startUs) && startUs - file.startUs >= mediaFileUs / 2;
  }

  /** After the commit that closed the current file's row. */
  async #fileClosed(): Promise<void> {
    const file = this.#file;
    if (file === null) return;
    this.#file = null;
    this.#camera.openBytes = 0;
    await file.writer.close();
    if (file.fragments === 0) {
      await unlink(join(this.#context.folder, file.path)).catch(() => undefined);
      return;
    }
    this.#camera.closedBytes += file.committedBytes;
    this.#camera.lastClosedFileId = file.id;
    for (const listener of [...this.#camera.fileListeners]) listener();
  }

  #checkTimes({ startUs, durationUs }: { startUs: number; durationUs: number }): void {
    if (!Number.isSafeInteger(startUs) || !Number.isSafeInteger(durationUs) || durationUs < 1) {
      throw new StorageError('invalid-argument', `a fragment at ${startUs} lasting ${durationUs}`);
    }
    const endUs = startUs + durationUs;
    const fromUs = this.#lastEndUs ?? this.free.fromUs;
    const untilUs = this.free.untilUs ?? Infinity;
    if (startUs >= fromUs && endUs <= untilUs) return;
    throw new StorageError(
      'invalid-argument',
      `a fragment from ${startUs} to ${endUs} would overlap others: ${fromUs} to ${untilUs} is free`,
    );
  }

  async #seal(file: OpenFile, fragment: FragmentBuilder, end: FragmentEnd): Promise<void> {
    await file.writer.overwrite(fragment.sealedHeader(end), fragment.identity.offset);
    try {
      await file.writer.sync();
    } catch (error) {
      await this.#context.disk.check();
      // After a failed fsync nobody knows what the disk holds.
      this.#context.failure ??= new StorageError('write-failed', 'an fsync failed', {
        cause: error,
      });
      throw error;
    }
  }

  async #commit(file: OpenFile, fragment: Fragment): Promise<void> {
    const { writer, logger, losses, metrics } = this.#context;
    const { events } = this.#camera.options;
    // The first fragment settles when the run began.
    const run = this.#lastEndUs === null ? this.#run : null;
    try {
      await writer.transact((tx) => insertFragment(tx, run, file, fragment, events));
    } catch (error) {
      const refused = error instanceof StorageError && announcementRefusals.has(error.code);
      if (!refused || events === null) throw error;
      metrics.lostAnnouncements.add(1, { camera: fragment.camera });
      logger.debug({ error, camera: fragment.camera, events }, 'A fragment was not announced.');
      losses.add('announcements-lost', fragment.camera);
      await writer.transact((tx) => insertFragment(tx, run, file, fragment, null));
    }
  }

  #open(): { file: OpenFile; fragment: FragmentBuilder } {
    assert(this.#file !== null && this.#fragment !== null, 'no fragment is open');
    return { file: this.#file, fragment: this.#fragment };
  }

  /** @throws StorageError `disk-full` */
  #assertRoom(): void {
    if (!this.#context.isDiskFull()) return;
    throw new StorageError('disk-full', 'the disk is full: nothing is recorded');
  }

  /** @throws StorageError `closed`, `write-failed` */
  #assertGoingOn(): void {
    if (this.#ended !== null) throw new StorageError('closed', 'the run has ended');
    if (this.#context.failure !== null) throw this.#context.failure;
  }
}

/**
 * The keys for a camera, its data key at hand; null: it is not encrypted.
 * @throws StorageError `key-unavailable`, `wrong-key`
 */
async function keyringFor(context: VideoContext, camera: CameraState): Promise<Keyring | null> {
  if (camera.options.encryption !== 'aes-256-gcm') return null;
  const { keyring } = context;
  if (keyring === null) {
    const what = `camera ${camera.options.name} is encrypted, and there is no master key`;
    throw new StorageError('key-unavailable', `${what}: nothing of it is recorded`);
  }
  await keyring.ready(scopeOf(camera.id));
  return keyring;
}

function parseInit(bytes: Buffer): InitSegment {
  try {
    const segment = readInit(bytes);
    if (segment.tracks.some(({ kind }) => kind === 'video')) return segment;
  } catch (error) {
    if (!(error instanceof Mp4Error)) throw error;
    throw new StorageError('invalid-argument', `not an init: ${error.message}`, { cause: error });
  }
  throw new StorageError('invalid-argument', 'an init without a video track');
}
