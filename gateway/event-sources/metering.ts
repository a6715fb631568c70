/** What an event source did: for Prometheus under our names, and under those of Lambda. */
import type { Clock, Metrics } from '../../storage/ports.ts';

/** Of Lambda's metrics those of event source mappings (…/lambda/latest/dg/monitoring-metrics-types.html). */
export interface LambdaMetrics {
  readonly Invocations: number;
  readonly Errors: number;
  readonly Throttles: number;
  /** Milliseconds. */
  readonly Duration: { readonly Average: number; readonly Maximum: number };
  /** Milliseconds from the arrival of the last record of the last batch to its end. */
  readonly IteratorAge: number;
  readonly DeadLetterErrors: number;
  readonly FilteredOutEventCount: number;
  readonly DroppedEventCount: number;
}

/** Each time that it is given up: what fails again after a replay counts again. */
export interface GivenUpCount {
  readonly batches: number;
  /** A last call of a window has none. */
  readonly records: number;
}

const none: GivenUpCount = { batches: 0, records: 0 };
const secondsUpTo = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 900];

export class Metering {
  /** When counting began. */
  readonly sinceMs: number;
  readonly #labels: { readonly function: string };
  readonly #clock: Clock;
  readonly #parts;
  #invocations = 0;
  #errors = 0;
  #throttles = 0;
  #durationMs = 0;
  #longestMs = 0;
  #iteratorAgeMs = 0;
  #deadLetterErrors = 0;
  #filtered = 0;
  #kept = none;
  #gone = none;
  #records = 0;

  constructor(name: string, clock: Clock, metrics: Metrics) {
    this.sinceMs = clock.nowMs();
    this.#labels = { function: name };
    this.#clock = clock;
    const counter = (what: string, help: string) =>
      metrics.counter(`headgate_function_${what}_total`, help);
    this.#parts = {
      invocations: counter('invocations', 'Calls of functions with batches.'),
      errors: counter('errors', 'Calls that the function failed.'),
      throttles: counter('throttles', 'Calls that did not reach the function or were put off.'),
      records: counter('records', 'Records that are done, or given up.'),
      filtered: counter('filtered_records', 'Records that fit no pattern.'),
      droppedBatches: counter('dropped_batches', 'Batches that were given up, kept or not.'),
      dropped: counter('dropped_records', 'Records that were given up, kept or not.'),
      lost: counter('lost_records', 'Records that were gone before a function got them.'),
      deadLetterErrors: counter('dead_letter_errors', 'Failed attempts to keep what is given up.'),
      age: metrics.gauge(
        'headgate_function_iterator_age_seconds',
        'Age of the last record of the last batch.',
      ),
      duration: metrics.histogram(
        'headgate_function_duration_seconds',
        'How long calls of functions took.',
        secondsUpTo,
      ),
    };
  }

  /** Records that are done, or given up. */
  get records(): number {
    return this.#records;
  }

  /** Times a call. */
  async called<T>(call: Promise<T>): Promise<T> {
    const startMs = this.#clock.monotonicMs();
    this.#invocations += 1;
    this.#parts.invocations.add(1, this.#labels);
    try {
      return await call;
    } finally {
      const tookMs = this.#clock.monotonicMs() - startMs;
      this.#durationMs += tookMs;
      this.#longestMs = Math.max(this.#longestMs, tookMs);
      this.#parts.duration.observe(tookMs / 1000, this.#labels);
    }
  }

  failed(): void {
    this.#errors += 1;
    this.#parts.errors.add(1, this.#labels);
  }

  throttled(): void {
    this.#throttles += 1;
    this.#parts.throttles.add(1, this.#labels);
  }

  done(records: number, lastArrivalMs: number): void {
    this.#records += records;
    this.#iteratorAgeMs = Math.max(0, this.#clock.nowMs() - lastArrivalMs);
    this.#parts.age.set(this.#iteratorAgeMs / 1000, this.#labels);
    this.#parts.records.add(records, this.#labels);
  }

  filtered(records: number): void {
    this.#filtered += records;
    this.#parts.filtered.add(records, this.#labels);
  }

  /** A batch. @param isKept in the dead letter */
  gaveUp(records: number, isKept: boolean): void {
    const before = isKept ? this.#kept : this.#gone;
    const after = { batches: before.batches + 1, records: before.records + records };
    if (isKept) this.#kept = after;
    else this.#gone = after;
    const labels = { ...this.#labels, kept: isKept ? 'yes' : 'no' };
    this.#parts.droppedBatches.add(1, labels);
    this.#parts.dropped.add(records, labels);
  }

  get givenUp(): { readonly kept: GivenUpCount; readonly gone: GivenUpCount } {
    return { kept: this.#kept, gone: this.#gone };
  }

  lost(records: number): void {
    this.#parts.lost.add(records, this.#labels);
  }

  deadLetterFailed(): void {
    this.#deadLetterErrors += 1;
    this.#parts.deadLetterErrors.add(1, this.#labels);
  }

  lambda(): LambdaMetrics {
    const average = this.#invocations === 0 ? 0 : this.#durationMs / this.#invocations;
    return {
      Invocations: this.#invocations,
      Errors: this.#errors,
      Throttles: this.#throttles,
      Duration: { Average: average, Maximum: this.#longestMs },
      IteratorAge: this.#iteratorAgeMs,
      DeadLetterErrors: this.#deadLetterErrors,
      FilteredOutEventCount: this.#filtered,
      DroppedEventCount: this.#kept.records + this.#gone.records,
    };
  }
}
