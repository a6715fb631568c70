/**
 * What every room of the house needs from outside itself, as interfaces: time, logging, metrics.
 *
 * Nothing below `gateway/` reads a clock, writes a log line or counts anything except through
 * these, so a test can drive time and look at what was said. The implementations live in
 * `gateway/observe` (logger, metrics) and `storage/clock.ts` (the system's clock).
 */

/** Stops a timer; calling it twice is harmless. */
export type CancelTimer = () => void;

/** Wall-clock and monotonic time. The two may disagree: the wall clock can be stepped. */
export interface Clock {
  /** Milliseconds since the Unix epoch, whole. May jump either way. */
  nowMs(): number;
  /** Milliseconds since an arbitrary start, never going back. Measures durations and expiries. */
  monotonicMs(): number;
  /** Calls `callback` once after `delayMs` of monotonic time. Does not keep the process alive. */
  setTimer(delayMs: number, callback: () => void): CancelTimer;
}

export type LogFields = Readonly<Record<string, unknown>>;

/** Structured logging. The message is a constant sentence; what varies goes into the fields. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
  /** A logger that adds `fields` to every line. */
  child(fields: LogFields): Logger;
}

export type Labels = Readonly<Record<string, string>>;

export interface Counter {
  /** @param amount at least 0; 1 when left out. */
  add(amount?: number, labels?: Labels): void;
}

export interface Gauge {
  set(value: number, labels?: Labels): void;
  /** What it is of is gone: it says nothing of it any more. Twice is harmless. */
  remove(labels?: Labels): void;
}

export interface Histogram {
  observe(value: number, labels?: Labels): void;
}

/**
 * Metrics by name. Asking twice for one name gives the same metric.
 * Names are Prometheus': `headgate_<what>_<unit>`, counters ending in `_total`.
 */
export interface Metrics {
  counter(name: string, help: string): Counter;
  gauge(name: string, help: string): Gauge;
  histogram(name: string, help: string, bucketsUpTo: readonly number[]): Histogram;
}
