/**
 * The lanes of one source: stretches of it that are sent independently, each in order and with a
 * checkpoint and a plan of its own.
 *
 * Usually there is one lane, and it has no end. With `catchUp: live-first` a lane that is far behind
 * when its destination takes something again is given an end at the head of the source, and a new
 * lane begins there and sends what comes: at once, while the old one drains behind it. A second
 * outage while catching up adds another lane in the same way: what the live lane could not send then
 * waits its turn.
 *
 * Invariants
 * - Lanes lie one behind the other: each ends where the next begins, and the last has no end. The
 *   beginning of a lane is committed with its lease before it sends anything, and the lane before
 *   it has no plan and sends nothing meanwhile. So no record is sent by two lanes, or by none,
 *   whatever is interrupted.
 * - The oldest lane and the newest one are at work; those between wait until they are the oldest.
 * - A lane that has reached the next one is forgotten, in one fenced step: the two have joined.
 *   Reached and not yet forgotten, it has nothing to send, and is forgotten at the next start.
 * - Each lane is an application, so its required ones pin what it has not sent. There are eight at
 *   most; while all are in use the newest one falls behind in order.
 *
 * The order between lanes is given up, the order within each is kept. How a stretch is sent is the
 * business of `record-objects.ts`, `record-stream.ts` and `media-objects.ts`; who goes first when
 * the link is narrow, of `slots.ts` and `bandwidth.ts`.
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { LeaseKeeper } from './lease-keeper.ts';

/** A lane looks at most this often whether it is far behind. */
const lookEveryMs = 1_000;

/** What the worker of a lane sees of it. */
export interface Lane {
  readonly lease: LeaseKeeper;
  /** The first position that is the next lane's; null while there is no next lane. */
  readonly end: number | null;
  /** From here to its checkpoint all is sent, by this lane or by those that were before it. */
  readonly since: number;
  /** Not the newest: it drains behind it. */
  readonly behind: boolean;
  /**
   * Asked between two plans, or calls, once something was taken by the destination. May give the
   * lane its end.
   * @returns false: to be left alone until it is called for again
   */
  goOn(): Promise<boolean>;
}

/** What makes a lane leave its backlog behind; see `DeliveryOptions.catchUp`. */
export interface LiveFirst {
  /** What is unsent may be this old before a new lane begins. */
  readonly afterMs: number;
  /** The position that the source's next record, or media file, will have at least. */
  head(): Promise<number>;
  /** When the oldest thing from a position on came; null when there is none. */
  oldestMs(position: number): Promise<number | null>;
}

export interface LanesOptions {
  /** The applications that lanes may use. */
  readonly applications: readonly string[];
  /** Those of them that have a checkpoint for the source. */
  readonly known: readonly string[];
  readonly initialCheckpoint: number;
  /** null: no lane is begun; those that are there are finished. */
  readonly liveFirst: LiveFirst | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  acquire(application: string, initialCheckpoint: number): Promise<LeaseKeeper>;
  /** Sends a lane until it ends or is told not to go on. */
  send(lane: Lane, name: string, signal: AbortSignal): Promise<void>;
  /** The newest lane came to the end of the source. */
  liveEnded(): void;
}

/**
 * Runs until the source is closed and all its lanes are sent.
 * @throws the signal's reason, once it aborts; StorageError; whatever `send` throws
 */
export async function runLanes(options: LanesOptions): Promise<void> {
  const lanes = new Lanes(options);
  try {
    await lanes.open();
    await lanes.run();
  } finally {
    await lanes.close();
  }
}

interface LaneState extends Lane {
  readonly application: string;
  end: number | null;
  ended: boolean;
  /** Told not to go on. */
  suspended: boolean;
  running: Promise<void> | null;
  lookedMs: number;
}

class Lanes {
  readonly #options: LanesOptions;
  /** In the order of the source. */
  #lanes: LaneState[] = [];
  readonly #stop = new AbortController();
  #wake: () => void = () => undefined;
  readonly #onAbort: () => void;

  constructor(options: LanesOptions) {
    this.#options = options;
    this.#onAbort = () => {
      this.#halt(options.signal.reason);
    };
    options.signal.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal.aborted) this.#onAbort();
  }

  async open(): Promise<void> {
    const { applications, known, initialCheckpoint } = this.#options;
    for (const application of known.length > 0 ? known : applications.slice(0, 1)) {
      await this.#acquire(application, initialCheckpoint);
    }
  }

  async run(): Promise<void> {
    let liveEnded = false;
    for (;;) {
      this.#stop.signal.throwIfAborted();
      await this.#join();
      const newest = this.#lanes.at(-1);
      if (newest?.ended === true && !liveEnded) {
        liveEnded = true;
        this.#options.liveEnded();
      }
      if (this.#lanes.every(({ ended }) => ended)) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        for (const lane of [this.#lanes[0], newest]) {
          if (lane?.running === null && !lane.ended) this.#start(lane);
        }
        if (this.#stop.signal.aborted) resolve();
      });
    }
  }

  async close(): Promise<void> {
    this.#halt(new Error('the lanes are closed'));
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    for (const { running } of this.#lanes) await running;
    await Promise.all(this.#lanes.map(({ lease }) => lease.release()));
  }

  #halt(reason: unknown): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(reason);
    this.#wake();
  }

  /** Lets go of the lanes that have reached the next one. */
  async #join(): Promise<void> {
    for (;;) {
      const [oldest, next] = this.#lanes;
      if (oldest?.ended !== true || next === undefined) return;
      await oldest.lease.forget();
      this.#lanes.shift();
      const left = this.#lanes.length;
      this.#options.logger.info(
        { position: next.lease.start, left },
        'a delivery joined its lanes',
      );
    }
  }

  #start(lane: LaneState): void {
    lane.suspended = false;
    const { application, lease } = lane;
    const number = 1 + this.#options.applications.indexOf(application);
    lane.running = this.#options
      .send(lane, number === 1 ? '' : `/lane-${number}`, this.#stop.signal)
      .then(
        () => {
          lane.ended = !lane.suspended;
        },
        (error: unknown) => {
          this.#halt(lease.lost.aborted ? lease.lost.reason : error);
        },
      )
      .finally(() => {
        lane.running = null;
        this.#wake();
      });
  }

  async #goOn(lane: LaneState): Promise<boolean> {
    if (lane === this.#lanes.at(-1)) await this.#leaveBehind(lane);
    return !lane.suspended;
  }

  /** Gives the newest lane its end and begins another, when it is far behind. */
  async #leaveBehind(lane: LaneState): Promise<void> {
    const { liveFirst, clock, logger, applications } = this.#options;
    const nowMs = clock.monotonicMs();
    if (liveFirst === null || nowMs - lane.lookedMs < lookEveryMs) return;
    lane.lookedMs = nowMs;
    const oldestMs = await liveFirst.oldestMs(lane.lease.checkpoint);
    if (oldestMs === null || clock.nowMs() - oldestMs <= liveFirst.afterMs) return;
    const used = new Set(this.#lanes.map(({ application }) => application));
    const free = applications.find((application) => !used.has(application));
    const head = await liveFirst.head();
    if (free === undefined || head <= lane.lease.checkpoint) return;
    await this.#acquire(free, head);
    lane.suspended = lane !== this.#lanes[0];
    logger.info(
      { from: lane.lease.checkpoint, to: head },
      'a delivery sends what is new first, and this behind it',
    );
    this.#wake();
  }

  async #acquire(application: string, initialCheckpoint: number): Promise<void> {
    const lease = await this.#options.acquire(application, initialCheckpoint);
    const lanes = this.#lanes;
    const lane: LaneState = {
      application,
      lease,
      end: null,
      ended: false,
      suspended: false,
      running: null,
      lookedMs: -Infinity,
      get since() {
        return lane === lanes[0] ? 0 : lease.start;
      },
      get behind() {
        return lane !== lanes.at(-1);
      },
      goOn: () => this.#goOn(lane),
    };
    lease.lost.addEventListener('abort', () => {
      this.#halt(lease.lost.reason);
    });
    lanes.push(lane);
    lanes.sort((a, b) => a.lease.start - b.lease.start);
    for (const [index, each] of lanes.entries()) each.end = lanes[index + 1]?.lease.start ?? null;
  }
}
