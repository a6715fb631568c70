/**
 * How much leaves the box in a second: a cap for all deliveries together, and one for each.
 *
 * Whoever sends takes the bytes it is about to send, in small grants, and waits until there is room
 * for the next one: so a long upload is spread out evenly instead of only begun late. Counted is
 * what is handed to the connection: content as it goes out (compressed, base64), again for every
 * attempt; the protocols' own headers are not.
 *
 * Who goes first
 * - A delivery of higher priority before all others, whatever it sends.
 * - What is new before a backlog.
 * - Among equals the delivery that had its turn longest ago, however many uploads it has under way.
 * - Nobody waits longer than `patienceMs` for a grant while others get theirs, of whatever priority:
 *   an upload that stood still would be hung up on by its server. So the lowest gets through too, a
 *   grant (an eighth of a second's worth) every five seconds for each of its uploads.
 *
 * The caps hold over every stretch of time, but for a quarter of a second's worth and one grant.
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';
import { defaultPriority } from './options.ts';
import { SinkError } from './sink.ts';

/** `live`: what is sent is as new as can be; `backlog`: it should have gone long ago. */
export type Urgency = 'live' | 'backlog';

const burstMs = 250;
const patienceMs = 5_000;
const smallestGrantBytes = 1024;
const largestGrantBytes = 64 * 1024;

/** One delivery's part of what there is. */
export interface Share {
  /** What it can have at most, its own cap and that of all; null: as much as there is. */
  readonly maxBytesPerSecond: number | null;
  /** No more than this is granted at a time. */
  readonly grantBytes: number;
  /**
   * Resolves when the bytes may be sent.
   * @throws SinkError `aborted`
   */
  take(bytes: number, urgency: Urgency, signal: AbortSignal): Promise<void>;
}

/** What a cap still allows. */
class Bucket {
  readonly #bytesPerMs: number;
  /** When all that was granted has been paid for. */
  #paidMs = -Infinity;

  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000;
  }

  /** When the next grant may be given. */
  get readyMs(): number {
    return this.#paidMs;
  }

  spend(bytes: number, nowMs: number): void {
    this.#paidMs = Math.max(this.#paidMs, nowMs - burstMs) + bytes / this.#bytesPerMs;
  }
}

interface Member {
  readonly bucket: Bucket | null;
  readonly priority: number;
  /** Counts grants; the lowest had its turn longest ago. */
  turn: number;
}

interface Waiting {
  readonly member: Member;
  readonly bytes: number;
  readonly urgency: Urgency;
  readonly sinceMs: number;
  readonly granted: () => void;
}

export class Bandwidth {
  readonly #clock: Clock;
  #maxBytesPerSecond: number | null;
  #bucket: Bucket | null;
  readonly #waiting: Waiting[] = [];
  #turns = 0;
  #cancelTimer: CancelTimer = () => undefined;

  /** @param maxBytesPerSecond of all shares together; null: no limit */
  constructor(options: { readonly clock: Clock; readonly maxBytesPerSecond: number | null }) {
    this.#clock = options.clock;
    this.#maxBytesPerSecond = options.maxBytesPerSecond;
    this.#bucket = bucketOf(options.maxBytesPerSecond);
  }

  /**
   * @param ownMaxBytesPerSecond null: no limit of its own
   * @param priority the higher goes first
   * @example
   * const bandwidth = new Bandwidth({ clock, maxBytesPerSecond: 1_000_000 });
   * await bandwidth.share(200_000).take(1400, 'live', signal);
   */
  share(ownMaxBytesPerSecond: number | null, priority: number = defaultPriority): Share {
    const member: Member = { bucket: bucketOf(ownMaxBytesPerSecond), priority, turn: 0 };
    const cap = (): number | null => {
      const caps = [ownMaxBytesPerSecond, this.#maxBytesPerSecond].filter((one) => one !== null);
      return caps.length === 0 ? null : Math.min(...caps);
    };
    return {
      get maxBytesPerSecond() {
        return cap();
      },
      get grantBytes() {
        return grantBytesOf(cap());
      },
      take: async (bytes, urgency, signal) => {
        for (let left = bytes; left > 0;) {
          const limit = cap();
          if (limit === null) return;
          const granted = Math.min(left, grantBytesOf(limit));
          await this.#take(member, granted, urgency, signal);
          left -= granted;
        }
      },
    };
  }

  /** Changes the cap of all; who waits already goes by the new one. */
  limit(maxBytesPerSecond: number | null): void {
    if (maxBytesPerSecond === this.#maxBytesPerSecond) return;
    this.#maxBytesPerSecond = maxBytesPerSecond;
    this.#bucket = bucketOf(maxBytesPerSecond);
    this.#grant();
  }

  #take(member: Member, bytes: number, urgency: Urgency, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        const place = this.#waiting.indexOf(mine);
        if (place >= 0) this.#waiting.splice(place, 1);
        reject(new SinkError('aborted', 'called off'));
      };
      const mine: Waiting = {
        member,
        bytes,
        urgency,
        sinceMs: this.#clock.monotonicMs(),
        granted: () => {
          signal.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      if (signal.aborted) {
        onAbort();
        return;
      }
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(mine);
      this.#grant();
    });
  }

  #grant(): void {
    this.#cancelTimer();
    while (this.#waiting.length > 0) {
      const nowMs = this.#clock.monotonicMs();
      const readyMs = Math.max(
        this.#bucket?.readyMs ?? -Infinity,
        Math.min(...this.#waiting.map(({ member }) => member.bucket?.readyMs ?? -Infinity)),
      );
      if (readyMs > nowMs) {
        // Whole milliseconds: a timer that fires a fraction too early would be set again and again.
        this.#cancelTimer = this.#clock.setTimer(Math.ceil(readyMs - nowMs), () => {
          this.#grant();
        });
        return;
      }
      const next = this.#next(nowMs);
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#bucket?.spend(next.bytes, nowMs);
      next.member.bucket?.spend(next.bytes, nowMs);
      this.#turns += 1;
      next.member.turn = this.#turns;
      next.granted();
    }
  }

  #next(nowMs: number): Waiting {
    // The lower goes first.
    const rank = ({ member, urgency, sinceMs }: Waiting): number => {
      if (nowMs - sinceMs >= patienceMs) return -Infinity;
      return (urgency === 'live' ? 0 : 1) - 2 * member.priority;
    };
    return this.#waiting
      .filter(({ member }) => (member.bucket?.readyMs ?? -Infinity) <= nowMs)
      .reduce((first, other) => {
        const [one, two] = [rank(first), rank(other)];
        if (one !== two) return two < one ? other : first;
        return other.member.turn < first.member.turn ? other : first;
      });
  }
}

/** An eighth of a second's worth. */
function grantBytesOf(cap: number | null): number {
  if (cap === null) return largestGrantBytes;
  return Math.min(largestGrantBytes, Math.max(smallestGrantBytes, Math.floor(cap / 8)));
}

function bucketOf(bytesPerSecond: number | null): Bucket | null {
  return bytesPerSecond === null ? null : new Bucket(bytesPerSecond);
}
