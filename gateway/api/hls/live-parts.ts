/**
 * The parts of low-latency HLS (draft-pantos-hls-rfc8216bis): the chunks of the fragment that a
 * camera is sending now, in memory, and those of its last fragments, which are on disk by now.
 *
 * A camera's chunks are followed while somebody asks for its live playlist, and for 30 s after that.
 * A part is announced only where it is as good as its fragment will be: not of a run's first
 * fragment, whose start is an estimate until it ends, nor where the sound has stopped, for silence is
 * made up for whole fragments alone (silence.ts).
 *
 * Limits: 16 MiB of a camera are held; a fragment that is larger has no parts. 64 cameras are
 * followed; others have whole fragments.
 */
import type { LiveEvent, OpenFragment, VideoStore } from '../../../storage/model.ts';
import type { CancelTimer, Clock } from '../../../storage/ports.ts';
import { boxesIn } from '../../../storage/video/boxes.ts';

export interface PartSize {
  readonly durationUs: number;
  /** Begins with a keyframe. */
  readonly independent: boolean;
}

export interface OpenParts {
  readonly fragment: OpenFragment;
  readonly runId: number;
  /** The number of the fragment that ended before it. */
  readonly after: number;
  readonly parts: readonly PartSize[];
}

interface HeldPart extends PartSize {
  /** With the decode times of its media file. */
  readonly bytes: Buffer;
}

interface Open {
  readonly fragment: OpenFragment;
  readonly runId: number;
  /** null: nobody looked when the one before it ended, or there was none. */
  readonly after: number | null;
  readonly parts: HeldPart[];
  bytes: number;
  /** All of its chunks are parts of it. */
  isWhole: boolean;
}

const heldBytesMax = 16 * 1024 * 1024;
const followedMax = 64;
const idleMs = 30_000;
const closedKept = 8;
const leastTargetUs = 200_000;
/** Sound that is missing for longer has stopped. */
const soundlessUsMax = 600_000;

/** What is known of one camera. */
export class CameraParts {
  readonly #listeners = new Set<() => void>();
  readonly #closed = new Map<number, readonly PartSize[]>();
  readonly #stop: () => void;
  #open: Open | null = null;
  #lastClosed: number | null = null;
  /** The most that a chunk of the run had. */
  #tracks = 0;
  #soundlessUs = 0;
  #version = 0;
  #endings = 0;
  #targetUs = leastTargetUs;

  constructor(video: VideoStore, camera: string) {
    this.#stop = video.watch(camera, (event) => {
      this.#take(event);
      this.#wake();
    });
  }

  /**
   * The fragment that is being sent, as far as it may be announced; null: none is.
   * @param tracks of its init
   */
  open(tracks: number): OpenParts | null {
    const open = this.#open;
    if (open?.after == null || this.#tracks < tracks) return null;
    const { fragment, runId, after, parts } = open;
    return { fragment, runId, after, parts };
  }

  /** The parts of a fragment that has ended; null: it is not known to have any. */
  closed(number: number): readonly PartSize[] | null {
    return this.#closed.get(number) ?? null;
  }

  /** A part of the fragment that is being sent. */
  held(
    number: number,
    index: number,
  ): { bytes: Buffer; fragment: OpenFragment; runId: number } | null {
    const open = this.#open;
    const part = open?.fragment.number === number ? open.parts[index] : undefined;
    if (open === null || part === undefined) return null;
    return { bytes: part.bytes, fragment: open.fragment, runId: open.runId };
  }

  /** Whether a part is the next one of the fragment that is being sent. */
  isNext(number: number, index: number): boolean {
    const open = this.#open;
    return open?.fragment.number === number && open.isWhole && open.parts.length === index;
  }

  /** Raised by everything that happens. */
  get version(): number {
    return this.#version;
  }

  get isWaitedFor(): boolean {
    return this.#listeners.size > 0;
  }

  /** How many fragments have ended. */
  get endings(): number {
    return this.#endings;
  }

  /** The longest part that there was, rounded up to hundredths of a second. */
  get targetUs(): number {
    return this.#targetUs;
  }

  /** Resolves when the version is another one, or when the signal aborts. */
  async changedSince(version: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#version !== version) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#listeners.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#listeners.add(done);
      signal.addEventListener('abort', done);
    });
  }

  close(): void {
    this.#stop();
    this.#open = null;
    this.#wake();
  }

  #wake(): void {
    this.#version += 1;
    for (const listener of [...this.#listeners]) listener();
  }

  #take(event: LiveEvent): void {
    if (event.type === 'chunk') this.#takeChunk(event);
    else if (event.type === 'fragment') this.#close(event.fragment.number);
    else {
      this.#open = null;
      this.#lastClosed = null;
      this.#tracks = 0;
      this.#soundlessUs = 0;
    }
  }

  #takeChunk({ fragment, runId, chunk }: Extract<LiveEvent, { type: 'chunk' }>): void {
    const tracks = tracksIn(chunk.bytes);
    this.#tracks = Math.max(this.#tracks, tracks);
    this.#soundlessUs = tracks < this.#tracks ? this.#soundlessUs + chunk.durationUs : 0;
    if (this.#open?.fragment.number !== fragment.number) {
      const after = this.#lastClosed;
      this.#open = { ...{ fragment, runId, after }, parts: [], bytes: 0, isWhole: true };
    }
    const open = this.#open;
    open.bytes += chunk.bytes.length;
    const { durationUs, keyframe: independent } = chunk;
    const isSoundless = this.#soundlessUs > soundlessUsMax;
    // One without pictures lasts no time that could be announced.
    if (open.bytes > heldBytesMax || isSoundless || durationUs === 0) open.isWhole = false;
    if (!open.isWhole) return;
    this.#targetUs = Math.max(this.#targetUs, Math.ceil(durationUs / 10_000) * 10_000);
    open.parts.push({ durationUs, independent, bytes: Buffer.from(chunk.bytes) });
  }

  #close(number: number): void {
    const open = this.#open;
    this.#open = null;
    this.#lastClosed = number;
    this.#endings += 1;
    if (open?.fragment.number !== number || !open.isWhole || open.after === null) return;
    const parts = open.parts.map(({ durationUs, independent }) => ({ durationUs, independent }));
    this.#closed.set(number, parts);
    for (const oldest of this.#closed.keys()) {
      if (this.#closed.size <= closedKept) return;
      this.#closed.delete(oldest);
    }
  }
}

/** The cameras that are followed. */
export class LiveParts {
  readonly #video: VideoStore;
  readonly #clock: Clock;
  readonly #followed = new Map<string, { parts: CameraParts; cancel: CancelTimer }>();

  constructor(video: VideoStore, clock: Clock) {
    this.#video = video;
    this.#clock = clock;
  }

  /** Follows a camera from now on. null: too many are followed. */
  of(camera: string): CameraParts | null {
    const known = this.#followed.get(camera);
    known?.cancel();
    if (known === undefined && this.#followed.size >= followedMax) return null;
    const parts = known?.parts ?? new CameraParts(this.#video, camera);
    const cancel = this.#clock.setTimer(idleMs, () => {
      if (parts.isWaitedFor) {
        this.of(camera);
        return;
      }
      this.#followed.delete(camera);
      parts.close();
    });
    this.#followed.set(camera, { parts, cancel });
    return parts;
  }

  /** As `of`, of one that is followed already. */
  known(camera: string): CameraParts | null {
    return this.#followed.get(camera)?.parts ?? null;
  }
}

/** How many tracks have samples in a chunk. */
function tracksIn(bytes: Buffer): number {
  let tracks = 0;
  for (const moof of boxesIn(bytes)) {
    if (moof.type !== 'moof') continue;
    for (const box of boxesIn(bytes, moof.bodyStart, moof.end))
      if (box.type === 'traf') tracks += 1;
  }
  return tracks;
}
