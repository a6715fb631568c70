/**
 * Log lines about peers that are turned away: the first of a kind from an address at once, its
 * repetitions counted and said once a minute. A camera with a wrong password asks every second.
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { RtspError } from './errors.ts';

const summaryMs = 60_000;
/** Addresses and kinds remembered; the one not heard of for longest is forgotten. */
const remembered = 256;

export class Refusals {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #seen = new Map<string, { saidMs: number; unsaid: number }>();

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  note(remote: string, error: RtspError): void {
    const address = remote.slice(0, remote.lastIndexOf(':'));
    const key = `${error.code} ${address}`;
    const nowMs = this.#clock.monotonicMs();
    const before = this.#seen.get(key);
    this.#seen.delete(key);
    if (before !== undefined && nowMs - before.saidMs < summaryMs) {
      this.#seen.set(key, { saidMs: before.saidMs, unsaid: before.unsaid + 1 });
      return;
    }
    this.#seen.set(key, { saidMs: nowMs, unsaid: 0 });
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > remembered && oldest !== undefined) this.#seen.delete(oldest);
    const { code, message: reason, status } = error;
    const fields = { remote, code, status, reason, repeated: before?.unsaid ?? 0 };
    this.#logger.warn(fields, 'an RTSP client was refused');
  }
}
