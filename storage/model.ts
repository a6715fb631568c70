/**
 * The words of the store: what its tables and files hold, as plain types, and the contracts of
 * its two halves (`Log`, `VideoStore`). The terms are the glossary's (ARCHITECTURE.md).
 *
 * Times: `…Ms` are milliseconds since the Unix epoch, `…Us` microseconds since the Unix epoch;
 * durations carry the same endings. Everything fits a double exactly.
 */
import type { Scratch } from './video/scratch.ts';

// ---------------------------------------------------------------- streams and records

/** What happens to new data when a stream's byte budget is used up. */
export type WhenFull = 'refuse' | 'drop-oldest';

/** How records are compressed on disk. */
export type Compression = 'none' | 'deflate';

/** How records are encrypted on disk. */
export type Encryption = 'none' | 'aes-256-gcm';

export type StreamMode = 'on-demand' | 'provisioned';

export interface StreamOptions {
  /** `[a-zA-Z0-9_.-]{1,128}`. */
  readonly name: string;
  /**
   * Shards to begin with, 1 to 10,000. They split the hash-key space evenly. Load alone never leaves
   * a stream on demand with fewer.
   */
  readonly shardCount: number;
  readonly mode: StreamMode;
  /** Records older than this may be deleted; at least one hour. */
  readonly retentionMs: number;
  /** The stream's byte budget (stored bytes); null: no limit of its own. */
  readonly maxBytes: number | null;
  readonly whenFull: WhenFull;
  /** Compresses batches when they are compacted, those to come only; `none` when left out. */
  readonly compression?: Compression;
  /**
   * Encrypts batches under a data key of the stream's own; those that are there already follow in the
   * background. When it ends, what is encrypted stays so. `none` when left out.
   */
  readonly encryption?: Encryption;
}

export interface StreamDescription extends StreamOptions {
  readonly id: number;
  readonly createdMs: number;
  readonly shards: readonly ShardDescription[];
  /** Bytes of batches stored now, all shards. */
  readonly storedBytes: number;
  /** Its budget is used up: the last append was refused, and nothing has gone since. */
  readonly refusing: boolean;
  /** What `setAttribute` keeps with the stream. */
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** What may be changed of a stream that is there. */
export type StreamChanges = Partial<
  Pick<
    StreamOptions,
    'mode' | 'retentionMs' | 'maxBytes' | 'whenFull' | 'compression' | 'encryption'
  >
>;

export interface ShardDescription {
  /** Unique on the box. */
  readonly id: number;
  readonly stream: string;
  /** Position within the stream: the number in `shardId-000000000012`. Never used twice. */
  readonly index: number;
  /** First and last hash key owned, both inclusive, 0 to 2^128 - 1. */
  readonly firstHashKey: bigint;
  readonly lastHashKey: bigint;
  /** Indexes of the shards this one was made from, in the order of the call; some may have expired. */
  readonly parents: readonly number[];
  /** In a later second than that of its parents, and when they were closed. */
  readonly createdMs: number;
  /**
   * Set once the shard was split or merged: it takes no more records. It is listed until these and
   * the stream's retention are over.
   */
  readonly closedMs: number | null;
  /** The lowest sequence number that can still be read. */
  readonly trimSequence: number;
  /** The sequence number that the next record will get. */
  readonly nextSequence: number;
}

/** A record on its way in. */
export interface RecordInput {
  /** 1 to 256 characters. */
  readonly partitionKey: string;
  readonly data: Buffer;
  /** Overrides the MD5 of the partition key, 0 to 2^128 - 1. */
  readonly explicitHashKey?: bigint;
}

/** Where an acknowledged record is. */
export interface RecordPlace {
  readonly shardId: number;
  readonly shardIndex: number;
  /** Dense within its shard: 0, 1, 2 … Below 2^53. */
  readonly sequence: number;
  /** When the gateway took it, as it will be read. */
  readonly arrivalMs: number;
}

/** A record on its way out. */
export interface LogRecord {
  readonly sequence: number;
  readonly partitionKey: string;
  readonly data: Buffer;
  /** When the gateway took it. */
  readonly arrivalMs: number;
}

export interface ReadOptions {
  readonly shardId: number;
  /** The first sequence number wanted. Below the trim horizon: reading begins at the horizon. */
  readonly fromSequence: number;
  /** Stops after this many records. */
  readonly maxRecords: number;
  /** Stops once this many bytes of data are gathered; at least one record is returned. */
  readonly maxBytes: number;
}

export interface ReadResult {
  readonly records: readonly LogRecord[];
  /** Where to read on. */
  readonly nextSequence: number;
  /** The shard is closed and this was its end: go on with its children. */
  readonly endOfShard: boolean;
  /** Records behind the newest one, after this read. */
  readonly recordsBehind: number;
  /** Arrival time of the newest record minus that of the last one returned; 0 when at the head. */
  readonly millisBehind: number;
  /** Records skipped: deleted by retention, or in a batch found to be corrupt. */
  readonly skipped: { readonly trimmed: number; readonly corrupt: number };
}

/** What a message that its source may send again is known by. */
export interface OnceKey {
  /** Who numbers its messages, e.g. a client's name. */
  readonly source: string;
  /** The source's own number; it may use it again once it has let go of it. */
  readonly number: number;
  /** Tells another message under the same number from a repetition. */
  readonly digest: string;
}

export interface OnceMessage {
  readonly records: readonly RecordInput[];
  /** null: a message that is not looked up. */
  readonly once: OnceKey | null;
}

/** Appends that survive their repetition: see `received.ts`. */
export interface OnceLog {
  /** Whether the source has numbers that it has not let go of. */
  remembers(source: string): boolean;
  /**
   * Appends the records of the messages that are no repetitions, and remembers the numbers in the
   * same transaction. A message goes to several streams by one call for each; the numbers within a
   * call differ.
   * @throws StorageError as `Log.append`; `overloaded` too when too many numbers are remembered
   */
  appendOnce(stream: string, messages: readonly OnceMessage[]): Promise<void>;
  /** Lets go of a number, on disk. One that is not there is no error. */
  forget(source: string, number: number): Promise<void>;
  /** Lets go of everything of the source. */
  forgetSource(source: string): Promise<void>;
}

/** The local sharded log: `storage/log`. */
export interface Log {
  readonly applications: Applications;

  createStream(options: StreamOptions): Promise<StreamDescription>;
  /** Creates the stream, or changes what may be changed (retention, budget, policy) if it is there. */
  ensureStream(options: StreamOptions): Promise<StreamDescription>;
  /** @throws StorageError `not-found`, `invalid-argument` */
  updateStream(name: string, changes: StreamChanges): Promise<StreamDescription>;
  deleteStream(name: string): Promise<void>;
  streams(): readonly StreamDescription[];
  /** @throws StorageError `not-found` */
  stream(name: string): StreamDescription;
  /** @throws StorageError `not-found` */
  shard(shardId: number): ShardDescription;
  /**
   * Keeps a small fact that belongs to a stream under a key, as JSON; it is gone with the stream.
   * The log does not look at it.
   * @param value at most 256 KiB of JSON; undefined removes the attribute
   * @throws StorageError `not-found`, `invalid-argument`
   */
  setAttribute(stream: string, key: string, value: unknown): Promise<void>;

  /**
   * Closes an open shard and opens two in its place; the second begins at `newStartingHashKey`.
   * Records whose append was called before go to the parent, all later ones to the children.
   * @throws StorageError `not-found`, `invalid-argument` for a shard that is closed or a hash key
   *   that leaves one child without keys, `overloaded` past the limit of shards
   */
  splitShard(
    stream: string,
    shardIndex: number,
    newStartingHashKey: bigint,
  ): Promise<StreamDescription>;
  /**
   * Closes two open shards whose hash keys are neighbours and opens one in their place.
   * @throws StorageError `not-found`, `invalid-argument`
   */
  mergeShards(
    stream: string,
    shardIndex: number,
    adjacentIndex: number,
  ): Promise<StreamDescription>;
  /**
   * Splits and merges until `openShards` shards divide the hash keys evenly. What a split and a
   * merge need between them is opened and closed at once.
   * @throws StorageError `not-found`, `invalid-argument`, `overloaded`
   */
  resizeStream(stream: string, openShards: number): Promise<StreamDescription>;

  /**
   * Appends records, in order, to the shards that own their keys. Resolves once all of them are in
   * an fsynced commit; the places are in the order of `records`. All or none.
   * @throws StorageError `not-found`, `invalid-argument`, `stream-full`, `disk-full`, `overloaded`,
   *   `key-unavailable`, `write-failed`, `closed`
   */
  append(stream: string, records: readonly RecordInput[]): Promise<readonly RecordPlace[]>;

  /**
   * @throws StorageError `not-found`, `closed`; `wrong-key`, `key-unavailable` for records that are
   *   encrypted and whose key is not at hand
   */
  read(options: ReadOptions): Promise<ReadResult>;

  /** The lowest sequence number whose arrival is at or after `timestampMs`; the head if none is. */
  sequenceAt(shardId: number, timestampMs: number): Promise<number>;

  /**
   * Resolves when the shard holds a record at or after `fromSequence`, or is closed, or the
   * signal aborts. Never rejects for the signal's sake.
   */
  waitForRecords(shardId: number, fromSequence: number, signal: AbortSignal): Promise<void>;

  /** Bytes stored in a shard at or after a sequence number, and the oldest arrival among them. */
  backlog(
    shardId: number,
    fromSequence: number,
  ): Promise<{ records: number; bytes: number; oldestArrivalMs: number | null }>;
}

// ---------------------------------------------------------------- applications

/** What an application reads: a shard of the log, or the media files of a camera. */
export type SourceKey =
  | { readonly kind: 'shard'; readonly id: number }
  | { readonly kind: 'camera'; readonly id: number };

export interface ApplicationOptions {
  readonly name: string;
  /**
   * Pins what it has not read yet, within the source's byte budget. When a shard that it has a
   * checkpoint for is split or merged, it gets one at the beginning of the children.
   */
  readonly required: boolean;
}

/** One worker's right to read one source for one application. Every renewal raises the counter. */
export interface Lease {
  readonly application: string;
  readonly source: SourceKey;
  readonly owner: string;
  readonly counter: number;
  /** Where the application began with this source; set once, before it can send anything. */
  readonly start: number;
  /** Where to read from: the next sequence number, or the next media file. */
  readonly checkpoint: number;
}

/**
 * What one upload will contain, saved before it starts, so that after a crash exactly the same is
 * sent again. One plan at most per application and source.
 */
export interface Plan {
  /** First position contained. */
  readonly from: number;
  /** First position no longer contained. */
  readonly to: number;
  /** What the sink needs to repeat the upload exactly (key, options); JSON. */
  readonly detail: unknown;
  readonly createdMs: number;
  /** Below it, `appendForPlan` is done; `from`, or 0, before. Of no account when a plan is saved. */
  readonly appendedTo?: number;
}

/** What goes into a stream in the transaction of something else. */
export interface AlsoAppend {
  readonly stream: string;
  /** At most 32 MiB of them. */
  readonly records: readonly RecordInput[];
}

/** Named readers with leases and checkpoints, all in the same database as the log. */
export interface Applications {
  ensure(options: ApplicationOptions): Promise<void>;
  /** Forgets the application with its leases, checkpoints and plans. */
  remove(name: string): Promise<void>;
  list(): readonly (ApplicationOptions & { readonly leases: readonly Lease[] })[];

  /**
   * Says where the application begins with sources, all at once, without taking their leases. Those
   * it knows already stay as they are.
   * @throws StorageError `not-found`, `invalid-argument`
   */
  begin(
    application: string,
    starts: readonly { readonly source: SourceKey; readonly position: number }[],
  ): Promise<void>;
  /**
   * Has the application begin anew with sources, forwards or back, all at once: what it, and the
   * others of `lanes`, knew of them is forgotten, plans included.
   * @throws StorageError `lease-held` while one of these is at work on a source, `not-found`,
   *   `invalid-argument`
   */
  beginAnew(
    application: string,
    lanes: readonly string[],
    starts: readonly { readonly source: SourceKey; readonly position: number }[],
  ): Promise<void>;
  /** Milliseconds until the lease of a source, unless it is renewed, may be taken; 0: now. */
  heldForMs(application: string, source: SourceKey): number;

  /**
   * Takes the lease of a source for `owner` for `durationMs` of monotonic time. `initialCheckpoint`
   * counts when the application has none for this source yet.
   * @param outlivesRestart the worker lives outside of this process: after a restart the lease
   *   stands for `durationMs` once more; otherwise it ends with the process
   * @throws StorageError `lease-held` while another owner's lease has not expired
   */
  acquire(
    application: string,
    source: SourceKey,
    owner: string,
    durationMs: number,
    initialCheckpoint: number,
    outlivesRestart?: boolean,
  ): Promise<Lease>;
  /** @throws StorageError `lease-lost` */
  renew(lease: Lease, durationMs: number): Promise<Lease>;
  release(lease: Lease): Promise<void>;
  /**
   * Forgets what the application knows of the source, checkpoint and plan, fenced: it no longer pins
   * anything there, and begins anew if it comes back. @throws `lease-lost`
   */
  forget(lease: Lease): Promise<void>;

  /** Moves the checkpoint, fenced by the lease in the same transaction. @throws `lease-lost` */
  checkpoint(lease: Lease, position: number): Promise<Lease>;
  /** Saves the plan, fenced. @throws `lease-lost`, `already-exists` */
  savePlan(lease: Lease, plan: Plan): Promise<void>;
  plan(lease: Lease): Promise<Plan | null>;
  /**
   * Deletes the plan and moves the checkpoint to its end, in one transaction; and appends, if told.
   * @throws `lease-lost`; as `Log.append`
   */
  completePlan(lease: Lease, append?: AlsoAppend): Promise<Lease>;
  /**
   * Lets the plan end earlier: what is behind that is planned anew.
   * @throws `lease-lost`, `not-found`, `invalid-argument`
   */
  shortenPlan(lease: Lease, to: number): Promise<void>;
  /**
   * Appends records of a plan before it is complete, and notes with it up to where that is done.
   * @throws `lease-lost`, `not-found`; as `Log.append`
   */
  appendForPlan(lease: Lease, append: AlsoAppend, to: number): Promise<void>;
  /**
   * Keeps a piece of what the plan of a shard was made into, encrypted as the shard's stream is, until
   * the plan is complete. The first piece, 0, takes the place of all that were kept before; only with
   * the last do they count.
   * @param bytes at most 1 MiB
   * @throws `lease-lost`, `not-found`, `key-unavailable`, `disk-full`
   */
  savePlanOutput(
    lease: Lease,
    piece: { readonly index: number; readonly bytes: Buffer; readonly isLast: boolean },
  ): Promise<void>;
  /**
   * The pieces in their order; null: they are not all there.
   * @throws while they are read: `corrupt`, `wrong-key`, `key-unavailable`
   */
  planOutput(lease: Lease): Promise<AsyncIterable<Buffer> | null>;
}

// ---------------------------------------------------------------- video

export interface CameraOptions {
  /** `[a-zA-Z0-9_.~-]{1,132}`. */
  readonly name: string;
  /** Fragments older than this may be deleted; null: only the other limits count. */
  readonly retentionMs: number | null;
  /** Media bytes kept for this camera; the oldest go first. null: no limit of its own. */
  readonly maxBytes: number | null;
  /** The data stream in which each fragment announces itself, or null. */
  readonly events: string | null;
  /**
   * Encrypts what is recorded from now on, under a data key of the camera's own; what is there already
   * stays as it is. `none` when left out.
   */
  readonly encryption?: Encryption;
  /**
   * What is kept of what comes: all of it; what events touch; nothing but the newest minute, which
   * those who watch it live need. What events hold is kept in any case. `continuous` when left out.
   */
  readonly record?: RecordMode;
  /** How much footage before and after an event belongs to it; 0 when left out. */
  readonly preRollMs?: number;
  readonly postRollMs?: number;
}

export type RecordMode = 'continuous' | 'events' | 'off';

/** What is noted of a fragment: at most 10, names of up to 128 bytes with up to 256 bytes each. */
export type Tags = Readonly<Record<string, string>>;

export interface NewVideoEvent {
  readonly camera: string;
  /** `[a-zA-Z0-9_.:-]{1,64}`. */
  readonly kind: string;
  readonly startUs: number;
  /** The same as `startUs` for an instant. */
  readonly endUs: number;
  /** Anything that JSON can say, in at most 16 KiB; null when left out. */
  readonly data?: unknown;
  /** Keeps the footage that it touches from being deleted by age and bytes; false when left out. */
  readonly hold?: boolean;
}

/** What happened before a camera. */
export interface VideoEvent extends Required<NewVideoEvent> {
  readonly id: number;
  readonly createdMs: number;
}

export interface EventChange {
  readonly endUs?: number;
  readonly hold?: boolean;
}

export interface EventQuery {
  readonly camera: string;
  /** Events that overlap [fromUs, toUs]. */
  readonly fromUs: number;
  readonly toUs: number;
  readonly kind?: string;
  /** Those that hold their footage, or those that do not. */
  readonly hold?: boolean;
  readonly limit: number;
}

export interface CameraDescription extends CameraOptions {
  readonly id: number;
  readonly storedBytes: number;
  /** The earliest and the latest instant of its footage, whatever was recorded first. */
  readonly firstStartUs: number | null;
  readonly lastEndUs: number | null;
  /** 0: unknown, as it was made long ago and has recorded nothing. */
  readonly createdMs: number;
  /** Small facts that the store keeps and does not look at, by key. */
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** A stretch of time in which a camera has no footage. */
export interface FreeTime {
  readonly fromUs: number;
  /** null: no footage is dated later. */
  readonly untilUs: number | null;
}

/** One uninterrupted session of a camera's source. */
export interface Run {
  readonly id: number;
  readonly camera: string;
  readonly startUs: number;
  /** Where its footage begins by now: retention takes it away from the beginning. */
  readonly keptFromUs: number;
  /** null while it goes on. */
  readonly endUs: number | null;
  /** Why it ended: `ended`, `failed: …`, `gateway stopped`, `gateway crashed`. */
  readonly endReason: string | null;
}

export interface TrackDescription {
  readonly trackId: number;
  readonly kind: 'video' | 'audio';
  /** RFC 6381, e.g. `avc1.64001f`, `hvc1.1.6.L93.B0`, `mp4a.40.2`. */
  readonly codec: string;
  /** Ticks per second of decode times and durations. */
  readonly timescale: number;
  readonly width?: number;
  readonly height?: number;
  readonly sampleRate?: number;
  readonly channels?: number;
}

/** A codec configuration: the `ftyp` and `moov` that come before a run's fragments. */
export interface Init {
  readonly id: number;
  /** SHA-256 of `bytes`, hex. */
  readonly hash: string;
  readonly tracks: readonly TrackDescription[];
  readonly bytes: Buffer;
}

/** A part of a fragment: one moof with its mdat, at most about 200 ms. */
export interface Chunk {
  /** Box bytes as stored; decode times are relative to the media file. */
  readonly bytes: Buffer;
  readonly durationUs: number;
  /** Begins with a keyframe. */
  readonly keyframe: boolean;
}

/** One row of the fragment index. */
export interface Fragment {
  /** Unique on the box, rising in the order of recording. */
  readonly number: number;
  readonly camera: string;
  readonly runId: number;
  readonly initId: number;
  readonly mediaFileId: number;
  /** On the camera's timeline, wall-clock time. No two fragments of a camera overlap. */
  readonly startUs: number;
  readonly durationUs: number;
  /** The camera's own clock for the first frame, when it told one. */
  readonly producerMs: number | null;
  /** When its first byte arrived here. */
  readonly serverMs: number;
  /** Decode time of the first video frame relative to the media file, in the video track's ticks. */
  readonly decodeTime: number;
  readonly offset: number;
  /** Bytes in the media file, with its header and what encryption adds. */
  readonly storedBytes: number;
  /** Bytes of its boxes. */
  readonly plainBytes: number;
  /** Sizes and durations of its chunks, in order: what low-latency HLS serves as parts. */
  readonly chunks: readonly { readonly bytes: number; readonly durationUs: number }[];
  /** Something of it was lost or arrived broken. */
  readonly damaged: boolean;
  /**
   * A measure of motion that costs no decoding: the mean size in bytes of its coded video frames,
   * keyframes left out. It means something beside the same camera's other fragments.
   */
  readonly activity: number;
  /** null: none. */
  readonly tags: Tags | null;
}

/** As much of a fragment as a playlist says. */
export type FragmentSpan = Pick<
  Fragment,
  'number' | 'runId' | 'initId' | 'startUs' | 'durationUs' | 'plainBytes' | 'damaged'
>;

/** About a minute of one run under one init: an MP4 file that plays on its own. */
export interface MediaFile {
  readonly id: number;
  readonly camera: string;
  readonly runId: number;
  readonly initId: number;
  /** Relative to the media folder. */
  readonly path: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly bytes: number;
  /** No more fragments will be added. */
  readonly closed: boolean;
}

export interface FragmentQuery {
  readonly camera: string;
  /** Fragments that overlap [fromUs, toUs). */
  readonly fromUs: number;
  readonly toUs: number;
  /** Only those whose first byte arrived within this time, both ends included. */
  readonly arrivedMs?: readonly [from: number, to: number];
  readonly limit: number;
}

/** A fragment to which chunks are added. */
export interface OpenFragment {
  readonly number: number;
  readonly initId: number;
  /** Of the first fragment of a run an estimate. */
  readonly startUs: number;
  /** As `Fragment.decodeTime`; null before its first video frame. */
  readonly decodeTime: number | null;
}

/** What viewers of a live camera are told, in order. */
export type LiveEvent =
  | { readonly type: 'run-started'; readonly run: Run }
  /** Whoever keeps the chunk's bytes copies them at once. */
  | {
      readonly type: 'chunk';
      readonly runId: number;
      readonly chunk: Chunk;
      /** The fragment that it is of, as it was opened. */
      readonly fragment: OpenFragment;
    }
  | { readonly type: 'fragment'; readonly fragment: Fragment }
  | { readonly type: 'run-ended'; readonly run: Run };

/** The time-indexed store of footage: `storage/video`. */
export interface VideoStore {
  ensureCamera(options: CameraOptions): Promise<CameraDescription>;
  /** Deletes the camera with all its footage. */
  deleteCamera(name: string): Promise<void>;
  cameras(): Promise<readonly CameraDescription[]>;
  /** @throws StorageError `not-found` */
  camera(name: string): Promise<CameraDescription>;
  /**
   * @param value at most 64 KiB of JSON; undefined removes the attribute
   * @throws StorageError `not-found`, `invalid-argument`
   */
  setCameraAttribute(camera: string, key: string, value: unknown): Promise<void>;

  /**
   * Begins a run. One at a time per camera.
   * @param atUs when it would begin, as far as is known; where that is taken by footage, or 10 s
   *   before it, the run gets the next free time (`RunRecording.free`)
   * @throws StorageError `already-exists`; `key-unavailable`, `wrong-key` when it is encrypted and its
   *   data key can't be had
   */
  startRun(camera: string, atUs: number): Promise<RunRecording>;

  /** Runs that overlap [fromUs, toUs), in order of start: the first 10,000 unless `limit` says less. */
  runs(camera: string, fromUs: number, toUs: number, limit?: number): Promise<readonly Run[]>;
  /** In order of start. */
  fragments(query: FragmentQuery): Promise<readonly Fragment[]>;
  /** As `fragments`, for lists of many: less is said of each, in a fraction of the time. */
  spans(query: FragmentQuery): Promise<readonly FragmentSpan[]>;
  /** The `count` fragments recorded last, in order of recording. */
  latestFragments(camera: string, count: number): Promise<readonly Fragment[]>;
  /** Those recorded after a fragment, which may be gone by now; in order of recording. */
  fragmentsAfter(camera: string, number: number, limit: number): Promise<readonly Fragment[]>;
  /** @throws StorageError `not-found` */
  fragment(number: number): Promise<Fragment>;
  /** @throws StorageError `not-found` */
  init(id: number): Promise<Init>;
  /**
   * The plain boxes of a fragment, with the decode times of its media file.
   * @param scratch where they are then, until it is used again; left out: in memory of their own
   * @throws StorageError `not-found`, `corrupt`, `wrong-key`, `key-unavailable`
   */
  readFragment(fragment: Fragment, scratch?: Scratch): Promise<Buffer>;

  /**
   * Adds tags to a fragment, in the place of those of the same name.
   * @throws StorageError `not-found`, `invalid-argument`
   */
  tagFragment(number: number, tags: Tags): Promise<Fragment>;

  /** @throws StorageError `not-found`, `invalid-argument`, also past 1,000 holds of a camera */
  addEvent(event: NewVideoEvent): Promise<VideoEvent>;
  /**
   * Lets an event end later, hold its footage, or release it.
   * @throws StorageError `not-found`, `invalid-argument`
   */
  changeEvent(id: number, change: EventChange): Promise<VideoEvent>;
  /** Releases what it holds, too. @throws StorageError `not-found` */
  deleteEvent(id: number): Promise<void>;
  /** @throws StorageError `not-found` */
  event(id: number): Promise<VideoEvent>;
  /** In order of start. @throws StorageError `not-found` */
  events(query: EventQuery): Promise<readonly VideoEvent[]>;

  /**
   * Closed media files of a camera with an id of at least `fromId`, in order of id. Of a camera
   * that does not keep everything: those that are kept for sure.
   */
  closedMediaFiles(cameraId: number, fromId: number, limit: number): Promise<readonly MediaFile[]>;
  /** The id of the media file that a camera is recorded into, once it has a fragment. */
  openMediaFile(cameraId: number): Promise<number | null>;
  /** Those recorded so far, in order of recording. */
  mediaFileFragments(mediaFileId: number): Promise<readonly Fragment[]>;
  /**
   * The whole file, plain, playable on its own, with as many bytes as it has on disk.
   * @throws StorageError `not-found`, `wrong-key`, `key-unavailable`
   */
  readMediaFile(mediaFileId: number): AsyncIterable<Buffer>;

  /** Resolves when a media file with an id of at least `fromId` is closed, or the signal aborts. */
  waitForMediaFile(cameraId: number, fromId: number, signal: AbortSignal): Promise<void>;
  /** Calls back for what happens on a camera from now on; returns how to stop. */
  watch(camera: string, listener: (event: LiveEvent) => void): () => void;
}

/** The writing end of one run. Calls are made one after the other, each awaited. */
export interface RunRecording {
  readonly run: Run;
  /** All of the run's fragments lie in it. */
  readonly free: FreeTime;
  /** Sets the codec configuration; a changed one starts a new media file. */
  setInit(bytes: Buffer, tracks: readonly TrackDescription[]): Promise<Init>;
  /**
   * Opens a fragment at a first estimate of its start. The chunks that follow belong to it until
   * `closeFragment`; the first of them begins with a keyframe.
   * @returns the number that the fragment will have
   */
  openFragment(start: {
    readonly startUs: number;
    readonly producerMs: number | null;
    readonly serverMs: number;
  }): Promise<number>;
  /**
   * Appends a chunk as the source made it, with the source's own decode times; the store makes them
   * relative to the media file, in those bytes, which are the caller's again when it resolves. Not
   * yet durable.
   */
  appendChunk(chunk: Chunk): Promise<void>;
  /**
   * Fsyncs the bytes, then commits the row (and the announcement, in the same transaction).
   * @param end.startUs the start, when it is known better than at opening.
   * @throws StorageError `invalid-argument` when it would overlap other footage, or for its tags
   */
  closeFragment(end: {
    readonly startUs?: number;
    readonly durationUs: number;
    readonly damaged: boolean;
    readonly tags?: Tags;
  }): Promise<Fragment>;
  /** Takes back the fragment that is open, if one is, with its chunks. */
  discardFragment(): Promise<void>;
  /** Closes what is open, and the run. */
  end(reason: string): Promise<Run>;
}
