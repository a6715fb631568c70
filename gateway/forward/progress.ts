/**
 * What one delivery has done and how it fares: counts, rates, the last error, who waits until
 * when. Its workers report here; status and metrics are read from here. An error is logged once
 * when it appears and then summed up once a minute; the recovery is logged too.
 *
 * How far behind the delivery is (its backlog) is asked of the log, in `delivery.ts`.
 */
import type { Clock, Logger, Metrics } from '../../storage/ports.ts';
import type { DeliveryMetering } from './flow/metering.ts';
import { partitionLimitExceeded } from './layout/partitioner.ts';
import { Rate } from './rate.ts';
import type { FailedRecord } from './shape/shaped-record.ts';
import type { SinkError } from './sink.ts';
import type { TransformedBatch } from './transform/transform.ts';

const summaryMs = 60_000;

export interface DeliveryFailure {
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
  /** Time alone may mend it. */
  readonly retryable: boolean;
  /** What somebody can do about it; null: nothing but to wait, or nothing is known. */
  readonly advice: string | null;
}

interface Waiting {
  readonly retryAtMs: number;
}

/** What a worker that makes plans is about. */
type Planning = 'at-work' | 'idle' | { readonly dueMs: number };

/** Why a record was put aside. */
type PutAside = Pick<FailedRecord, 'stage' | 'errorCode' | 'errorMessage'>;

export class Progress {
  /** When counting began. */
  readonly sinceMs: number;
  sentRecords = 0;
  sentBytes = 0;
  sentObjects = 0;
  failures = 0;
  lostRecords = 0;
  /** Of those put aside, that went into objects under the error prefix. */
  failedInObjects = 0;
  newestInObjects: { readonly atMs: number; readonly reason: string } | null = null;
  lastSuccessMs: number | null;
  lastFailure: DeliveryFailure | null = null;
  readonly #delivery: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #recordRate: Rate;
  readonly #byteRate: Rate;
  readonly #waiting = new Map<string, Waiting>();
  readonly #planning = new Map<string, Planning>();
  readonly #metrics: ReturnType<typeof deliveryMetrics>;
  readonly #metering: DeliveryMetering;
  readonly #advise: (advice: string) => string;
  #asideLoggedMs = -Infinity;
  #unloggedAside = new Map<string, number>();
  #failing: { key: string; loggedAtMs: number; unlogged: number } | null = null;

  constructor(options: {
    readonly delivery: string;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly metrics: Metrics;
    /** The same under Firehose's names. */
    readonly metering: DeliveryMetering;
    /** Says it in the keys of whoever configured the delivery. */
    readonly advise: (advice: string) => string;
    /** While it ran with another configuration; null: nothing had arrived. */
    readonly lastSuccessMs: number | null;
  }) {
    this.sinceMs = options.clock.nowMs();
    this.#delivery = options.delivery;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#recordRate = new Rate(options.clock);
    this.#byteRate = new Rate(options.clock);
    this.#metrics = deliveryMetrics(options.metrics);
    this.#metering = options.metering;
    this.#advise = options.advise;
    this.lastSuccessMs = options.lastSuccessMs;
  }

  get recordsPerSecond(): number {
    return this.#recordRate.perSecond();
  }

  get bytesPerSecond(): number {
    return this.#byteRate.perSecond();
  }

  /** When the next attempt of a waiting worker begins; null when none waits. */
  get retryAtMs(): number | null {
    if (this.#waiting.size === 0) return null;
    return Math.min(...[...this.#waiting.values()].map((waiting) => waiting.retryAtMs));
  }

  /**
   * When what is gathered goes at the latest, while nothing is sent; null: something is, or nothing is
   * gathered.
   */
  get gatheringUntilMs(): number | null {
    const all = [...this.#planning.values()];
    if (all.includes('at-work')) return null;
    const due = all.flatMap((one) => (typeof one === 'string' ? [] : [one.dueMs]));
    return due.length === 0 ? null : Math.min(...due);
  }

  /** The worker reads what goes into its next plan, or carries one out. */
  works(worker: string): void {
    this.#planning.set(worker, 'at-work');
  }

  /**
   * The worker waits for more records.
   * @param dueInMs when what it has goes all the same; null: it has nothing
   */
  awaitsMore(worker: string, dueInMs: number | null): void {
    const dueMs = this.#clock.nowMs() + (dueInMs ?? 0);
    this.#planning.set(worker, dueInMs === null ? 'idle' : { dueMs });
  }

  /** Something arrived at the destination and was acknowledged. */
  sent(amount: { records: number; bytes: number; objects: number }): void {
    const labels = { delivery: this.#delivery };
    this.sentRecords += amount.records;
    this.sentBytes += amount.bytes;
    this.sentObjects += amount.objects;
    this.#recordRate.add(amount.records);
    this.#byteRate.add(amount.bytes);
    this.#metrics.records.add(amount.records, labels);
    this.#metrics.bytes.add(amount.bytes, labels);
    this.#metrics.objects.add(amount.objects, labels);
    this.#metering.sent(amount);
    this.lastSuccessMs = this.#clock.nowMs();
    this.#metrics.lastSuccess.set(this.lastSuccessMs / 1000, labels);
  }

  /** The worker has nothing left that failed. */
  recovered(worker: string): void {
    this.#waiting.delete(worker);
    if (this.#failing !== null && this.#waiting.size === 0) {
      this.#failing = null;
      this.#logger.info({ failures: this.failures }, 'a delivery works again');
    }
  }

  /** An attempt failed; the next one begins in `delayMs`. */
  failed(worker: string, error: SinkError, delayMs: number): void {
    const atMs = this.#clock.nowMs();
    this.failures += 1;
    this.#metrics.failures.add(1, { delivery: this.#delivery, code: error.code });
    this.#metering.failed();
    this.#waiting.set(worker, { retryAtMs: atMs + delayMs });
    this.lastFailure = {
      code: error.code,
      message: error.message,
      atMs,
      retryable: error.retryable,
      advice: error.advice && this.#advise(error.advice),
    };
    this.#log(worker, this.lastFailure, delayMs);
  }

  /** No attempt follows at what failed: the worker goes on without. */
  attemptsEnded(worker: string): void {
    this.#waiting.delete(worker);
  }

  /** The worker is gone, and with it its wait. */
  left(worker: string): void {
    this.#waiting.delete(worker);
    this.#planning.delete(worker);
  }

  /** What could not be sent because it is no longer there, or is refused for good. */
  lost(
    worker: string,
    records: number,
    why: 'trimmed' | 'corrupt' | 'deleted' | 'refused',
    reason: string | null = null,
  ): void {
    if (records <= 0) return;
    this.lostRecords += records;
    this.#metrics.lost.add(records, { delivery: this.#delivery, why });
    this.#logger.error(
      { worker, records, why, ...(reason !== null && { reason }) },
      'a delivery lost what was gone before it was sent, or is refused for good',
    );
  }

  /** A function was through with a batch, after so long. */
  transformed({ records, failed }: TransformedBatch, tookMs: number): void {
    this.#metering.processed('ExecuteProcessing.Duration', tookMs);
    const isSuccess = records.length > 0 || failed.length === 0;
    this.#metering.processed('ExecuteProcessing.Success', isSuccess ? 1 : 0);
    const bytes = records.reduce((sum, { data }) => sum + data.length, 0);
    this.#metering.processed('SucceedProcessing.Records', records.length);
    this.#metering.processed('SucceedProcessing.Bytes', bytes);
  }

  /**
   * Records of a plan that can't go on were put aside.
   * @param inObjects those of them that went under the error prefix
   */
  setAside(worker: string, failures: readonly PutAside[], inObjects: readonly PutAside[]): void {
    const newest = failures.at(-1);
    if (newest === undefined) return;
    this.#inObjects(inObjects);
    const unconverted = failures.filter(({ stage }) => stage === 'format-conversion-failed').length;
    if (unconverted > 0) this.#metering.processed('FailedConversion.Records', unconverted);
    for (const { stage, errorCode } of failures) {
      this.#metrics.setAside.add(1, { delivery: this.#delivery, stage });
      this.#unloggedAside.set(errorCode, (this.#unloggedAside.get(errorCode) ?? 0) + 1);
    }
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#asideLoggedMs < summaryMs) return;
    const { stage, errorCode: code, errorMessage: reason } = newest;
    const recordsByCode = Object.fromEntries(this.#unloggedAside);
    const records = [...this.#unloggedAside.values()].reduce((sum, count) => sum + count, 0);
    this.#logger.warn(
      { worker, records, recordsByCode, newest: { stage, code, reason } },
      'a delivery put records aside',
    );
    this.#asideLoggedMs = nowMs;
    this.#unloggedAside = new Map();
  }

  #inObjects(failures: readonly PutAside[]): void {
    const newest = failures.at(-1);
    if (newest === undefined) return;
    this.failedInObjects += failures.length;
    this.newestInObjects = { atMs: this.#clock.nowMs(), reason: newest.errorMessage };
  }

  /** A plan's records went into objects by what is in them. */
  partitioned(partitions: number, failures: readonly PutAside[]): void {
    const isExceeded = failures.some(({ errorCode }) => errorCode === partitionLimitExceeded);
    this.#metering.partitioned(partitions, isExceeded);
  }

  backlog(backlog: { records: number; bytes: number; seconds: number }): void {
    const labels = { delivery: this.#delivery };
    this.#metrics.backlogRecords.set(backlog.records, labels);
    this.#metrics.backlogBytes.set(backlog.bytes, labels);
    this.#metrics.backlogSeconds.set(backlog.seconds, labels);
    this.#metering.fresh(backlog.seconds);
  }

  #log(worker: string, failure: DeliveryFailure, delayMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    const same = this.#failing?.key === failure.code;
    if (this.#failing !== null && same && nowMs - this.#failing.loggedAtMs < summaryMs) {
      this.#failing.unlogged += 1;
      return;
    }
    const unlogged = same ? (this.#failing?.unlogged ?? 0) : 0;
    this.#failing = { key: failure.code, loggedAtMs: nowMs, unlogged: 0 };
    const { code, message: reason, retryable, advice } = failure;
    this.#logger.warn(
      { worker, code, reason, retryable, delayMs, unlogged, ...(advice !== null && { advice }) },
      'a delivery fails',
    );
  }
}

function deliveryMetrics(metrics: Metrics) {
  return {
    records: metrics.counter(
      'headgate_delivery_sent_records_total',
      'Records, media files or fragments that arrived at the destination.',
    ),
    bytes: metrics.counter(
      'headgate_delivery_sent_bytes_total',
      'Bytes that arrived, before compression.',
    ),
    objects: metrics.counter('headgate_delivery_sent_objects_total', 'Objects that arrived.'),
    failures: metrics.counter('headgate_delivery_failures_total', 'Attempts that failed, by code.'),
    lost: metrics.counter(
      'headgate_delivery_lost_records_total',
      'Records, media files or fragments gone before they were sent, or refused for good.',
    ),
    setAside: metrics.counter(
      'headgate_delivery_failed_records_total',
      'Records that could not go on and were put aside, by stage.',
    ),
    lastSuccess: metrics.gauge(
      'headgate_delivery_last_success_timestamp_seconds',
      'When something last arrived.',
    ),
    backlogRecords: metrics.gauge(
      'headgate_delivery_backlog_records',
      'Records, or media files, not sent yet.',
    ),
    backlogBytes: metrics.gauge('headgate_delivery_backlog_bytes', 'Stored bytes not sent yet.'),
    backlogSeconds: metrics.gauge(
      'headgate_delivery_backlog_seconds',
      'Age of the oldest thing not sent yet.',
    ),
  };
}
