/**
 * Sub-streams: the small pictures of cameras, for where many are shown at once. Each is fetched only
 * while somebody watches it, and for half a minute after that.
 *
 * A sub-stream is a camera of its own, which lists leave out; its name is one that no camera of the
 * configuration can have. Viewers over WebRTC are fed from the relay, and nothing of it is written.
 * HLS is made from the store: while somebody watches that way its newest minute lies there, as of a
 * camera with `record: off`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Publication } from '../ingest/rtsp/publication.ts';
import type { RtspPullOptions } from '../ingest/rtsp/pull-source.ts';
import { Viewers } from '../ingest/rtsp/viewers.ts';
import { watchedSource } from '../ingest/rtsp/watched-source.ts';
import { SourceError, type Source } from '../ingest/source.ts';
import type { VideoStore } from '../storage/model.ts';
import type { Clock } from '../storage/ports.ts';
import type { Config } from './config/schema.ts';
import type { SupervisedTask, Supervisor } from './supervisor.ts';

type CameraConfig = Config['cameras'][string];

/** Whoever reloads the page, or polls a playlist slowly, finds it still there. */
const lingerMs = 30_000;
/** A camera that has sent nothing by then is not waited for. */
const arriveMsMax = 15_000;
const liveMs = 60_000;
const suffix = '~sub';

export function substreamName(camera: string): string {
  return camera + suffix;
}

export function isSubstreamName(name: string): boolean {
  return name.endsWith(suffix);
}

/** Whether this is the sub-stream of one of these cameras. */
export function isSubstreamOf(cameras: Config['cameras'], name: string): boolean {
  const camera = name.slice(0, -suffix.length);
  const config = Object.hasOwn(cameras, camera) ? cameras[camera] : undefined;
  return isSubstreamName(name) && config !== undefined && config.substream.rtsp !== null;
}

/** What it is fetched with, and recorded into the camera of its name. */
export type SubstreamPull = (
  name: string,
  url: string,
  config: CameraConfig,
) => Promise<RtspPullOptions>;

interface Wanted {
  readonly url: string;
  /** Of the camera whose small picture it is. */
  readonly config: CameraConfig;
}

export interface SubstreamsOptions {
  readonly pull: SubstreamPull;
  readonly video: VideoStore;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
}

export class Substreams {
  readonly #options: SubstreamsOptions;
  readonly #running = new Map<string, Wanted & { readonly substream: Substream }>();

  constructor(options: SubstreamsOptions) {
    this.#options = options;
  }

  /** By its own name; null: there is none. */
  find(name: string): Substream | null {
    return this.#running.get(name)?.substream ?? null;
  }

  /** Brings them in line with these cameras. @throws StorageError */
  async update(cameras: Config['cameras']): Promise<void> {
    const { video } = this.#options;
    const wanted = new Map<string, Wanted>();
    for (const [camera, config] of Object.entries(cameras)) {
      const url = config.substream.rtsp;
      if (url !== null) wanted.set(substreamName(camera), { url, config });
    }
    for (const [name, { substream, ...was }] of [...this.#running]) {
      const now = wanted.get(name);
      if (now !== undefined && isDeepStrictEqual(fetchedWith(now), fetchedWith(was))) continue;
      this.#running.delete(name);
      await substream.stop();
    }
    for (const { name } of await video.cameras()) {
      if (isSubstreamName(name) && !wanted.has(name)) await video.deleteCamera(name);
    }
    for (const [name, one] of wanted) {
      if (!this.#running.has(name)) await this.#start(name, one);
    }
  }

  async #start(name: string, wanted: Wanted): Promise<void> {
    const { url, config } = wanted;
    const { pull, video, supervisor } = this.#options;
    await video.ensureCamera({
      ...{ name, retentionMs: liveMs, maxBytes: null, events: null, record: 'off' },
      encryption: config.encryption,
    });
    const options = await pull(name, url, config);
    const substream = new Substream(options, config.stallSeconds * 1000, supervisor);
    this.#running.set(name, { ...wanted, substream });
  }
}

/** What it has to be begun again for, when it changes. */
function fetchedWith({ url, config }: Wanted): unknown {
  const { transport, verifyTls, confined, encryption, stallSeconds } = config;
  return { url, transport, verifyTls, confined, encryption, stallSeconds };
}

export class Substream {
  readonly #options: RtspPullOptions;
  readonly #viewers: Viewers;
  /** Those who watch what is in the store. */
  readonly #recorded: Viewers;
  readonly #task: SupervisedTask;
  readonly #listeners = new Set<() => void>();
  /** Why it does not come just now; null: nothing speaks against it. */
  #failure: SourceError | null = null;
  /** The store has something of what is being sent. */
  #isStored = false;

  constructor(options: RtspPullOptions, stallTimeoutMs: number, supervisor: Supervisor) {
    this.#options = options;
    this.#viewers = new Viewers(options.clock, lingerMs);
    this.#recorded = new Viewers(options.clock, lingerMs);
    this.#task = supervisor.start(this.#source(stallTimeoutMs));
  }

  /**
   * Somebody plays it from the relay, until `left` is called; twice is harmless.
   * @throws SourceError when it does not come
   */
  async watch(): Promise<{ readonly publication: Publication; readonly left: () => void }> {
    const { server, camera } = this.#options;
    const left = this.#viewers.join();
    try {
      const publication = await this.#reached(() => server.publication(camera));
      return { publication, left };
    } catch (error) {
      left();
      throw error;
    }
  }

  /**
   * Somebody plays it from the store, and will ask again soon. Resolves when there is something of
   * what is being sent.
   * @throws SourceError when it does not come
   */
  async watchStored(): Promise<void> {
    const left = [this.#viewers.join(), this.#recorded.join()];
    try {
      await this.#reached(() => (this.#isStored ? true : null));
    } finally {
      for (const leave of left) leave();
    }
  }

  /** Why it did not come when it was last wanted; null: nothing speaks against it. */
  get lastError(): string | null {
    return this.#task.status().failure?.message ?? null;
  }

  /** Twice is harmless. */
  async stop(): Promise<void> {
    this.#fail(over());
    await this.#task.stop();
  }

  #source(stallTimeoutMs: number): Source {
    const { record } = this.#options;
    const source = watchedSource({
      ...this.#options,
      ...{ viewers: this.#viewers, recorded: this.#recorded, stallTimeoutMs },
      record: async (request) => {
        const onFirstFragment = (): void => {
          request.onFirstFragment();
          this.#isStored = true;
          this.#tell();
        };
        try {
          await record({ ...request, onFirstFragment });
        } finally {
          this.#isStored = false;
        }
      },
    });
    return {
      name: source.name,
      run: async (context) => {
        this.#failure = null;
        const ready = (): void => {
          context.ready();
          this.#tell();
        };
        try {
          await source.run({ signal: context.signal, ready });
        } catch (error) {
          this.#fail(error);
          throw error;
        }
        if (context.signal.aborted) this.#fail(over());
      },
    };
  }

  async #reached<T>(look: () => T | null): Promise<T> {
    const late = new AbortController();
    const cancel = this.#options.clock.setTimer(arriveMsMax, () => {
      late.abort();
      this.#tell();
    });
    try {
      for (;;) {
        const found = look();
        if (found !== null) return found;
        if (this.#failure !== null) throw this.#failure;
        if (late.signal.aborted) throw new SourceError('stalled', 'it sends nothing');
        await new Promise<void>((resolve) => this.#listeners.add(resolve));
      }
    } finally {
      cancel();
    }
  }

  #fail(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#failure =
      error instanceof SourceError ? error : new SourceError('storage', reason, { cause: error });
    this.#tell();
  }

  #tell(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener();
  }
}

function over(): SourceError {
  return new SourceError('ended', 'it is not fetched any more');
}
