/**
 * What the parts of the video store share: its folder, the database, and the state of each camera
 * that is kept in memory because it is asked for often.
 *
 * Invariant: the state mirrors committed rows only; it changes after the commit.
 */
import { StorageError } from '../errors.ts';
import type { Losses } from '../losses.ts';
import type { Keyring } from '../keys.ts';
import type { CameraOptions, Fragment, LiveEvent } from '../model.ts';
import type { Clock, Counter, Logger, Metrics } from '../ports.ts';
import type { SqlValue } from '../sqlite.ts';
import type { Writer } from '../writer.ts';
import type { MediaDisk } from './media-disk.ts';

/** Queries of committed rows. */
export interface Reader {
  all<T>(sql: string, ...params: readonly SqlValue[]): Promise<T[]>;
  get<T>(sql: string, ...params: readonly SqlValue[]): Promise<T | undefined>;
}

export interface CameraState {
  readonly id: number;
  options: CameraOptions;
  createdMs: number;
  /** By key: `attributes.ts`. */
  attributes: Readonly<Record<string, unknown>>;
  /** Bytes of the closed media files. */
  closedBytes: number;
  /** Bytes of the file that is being written. */
  openBytes: number;
  firstStartUs: number | null;
  lastEndUs: number | null;
  /** Where the run that is going on has come to; null before its first fragment. */
  runEndUs: number | null;
  lastClosedFileId: number;
  /** A run could not be closed properly: its rows are recovered before the next one starts. */
  unclosed: boolean;
  /** Ends the run that is going on. */
  endRun: ((reason: string) => Promise<unknown>) | null;
  /** The init of the run that is going on: it may not be in a row of a file yet. */
  initId: number | null;
  readonly listeners: Set<(event: LiveEvent) => void>;
  /** Called whenever a media file of the camera is closed. */
  readonly fileListeners: Set<() => void>;
}

export interface VideoContext {
  /** Absolute path of the media folder. */
  readonly folder: string;
  readonly writer: Writer;
  /** Queries go here, so that they never wait for a commit. */
  readonly reader: Reader;
  readonly disk: MediaDisk;
  /** For what is encrypted; null: there is no master key. */
  readonly keyring: Keyring | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly losses: Losses;
  readonly metrics: VideoMetrics;
  /** About how long a media file is. */
  readonly mediaFileUs: number;
  readonly cameras: Map<string, CameraState>;
  /** Media files being read, with the number of readers: retention leaves them alone. */
  readonly reading: Map<number, number>;
  /** Media files unlinked on a full disk before their rows could be deleted. */
  readonly sacrificed: Set<number>;
  /** The disk was found full: what is left of it is for deleting, and not for footage either. */
  readonly isDiskFull: () => boolean;
  /** Asks for a pass of retention soon: there was no room for footage. */
  wantRoom: () => void;
  /** Set by the first failed fsync: nothing is acknowledged any more. */
  failure: StorageError | null;
  nextMediaFileId: number;
}

export interface VideoMetrics {
  readonly fragments: Counter;
  readonly bytes: Counter;
  readonly lostAnnouncements: Counter;
  readonly deletedBytes: Counter;
  readonly droppedRequiredBytes: Counter;
  readonly corrupt: Counter;
}

export function videoMetrics(metrics: Metrics): VideoMetrics {
  return {
    fragments: metrics.counter('headgate_video_fragments_total', 'Fragments stored.'),
    bytes: metrics.counter('headgate_video_bytes_total', 'Bytes of fragments stored.'),
    lostAnnouncements: metrics.counter(
      'headgate_video_lost_announcements_total',
      'Fragments stored without a record in the events stream, because it took none.',
    ),
    deletedBytes: metrics.counter(
      'headgate_video_deleted_bytes_total',
      'Bytes of media files deleted by retention.',
    ),
    droppedRequiredBytes: metrics.counter(
      'headgate_video_required_dropped_bytes_total',
      'Bytes of media files deleted before a required delivery had read them.',
    ),
    corrupt: metrics.counter('headgate_video_corrupt_total', 'Fragments found to be corrupt.'),
  };
}

/** @throws StorageError `not-found` */
export function cameraState(context: VideoContext, name: string): CameraState {
  const state = context.cameras.get(name);
  if (state === undefined) throw new StorageError('not-found', `no camera ${name}`);
  return state;
}

/** What is not kept goes soon, and by whole files: these are short. */
const selectedFileUs = 10_000_000;

/** About how long a media file of a camera is. */
export function mediaFileUsOf({ mediaFileUs }: VideoContext, { options }: CameraState): number {
  const { record = 'continuous' } = options;
  return record === 'continuous' ? mediaFileUs : Math.min(mediaFileUs, selectedFileUs);
}

/** Tells the camera's viewers. A viewer that fails is logged and hurts nobody else. */
export function emit(context: VideoContext, state: CameraState, event: LiveEvent): void {
  for (const listener of [...state.listeners]) {
    try {
      listener(event);
    } catch (error) {
      context.logger.error({ error, camera: state.options.name }, 'A viewer of a camera failed.');
    }
  }
}

/** The record by which a fragment announces itself in the camera's events stream. */
export function announcement(fragment: Fragment, path: string): Buffer {
  return Buffer.from(
    JSON.stringify({
      type: 'fragment',
      camera: fragment.camera,
      fragment: fragment.number,
      startUs: fragment.startUs,
      durationUs: fragment.durationUs,
      bytes: fragment.plainBytes,
      run: fragment.runId,
      mediaFile: fragment.mediaFileId,
      path,
      offset: fragment.offset,
      damaged: fragment.damaged,
      ...(fragment.tags === null ? {} : { tags: fragment.tags }),
    }),
  );
}
