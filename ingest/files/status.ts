/** What is counted about the files of a source, for people and for Prometheus. */
import { StorageError } from '../../storage/errors.ts';
import type { Clock, Counter, Gauge, Logger, Metrics } from '../../storage/ports.ts';
import type { Converted } from './convert.ts';
import type { Registry } from './registry.ts';

export interface FilesStatus {
  readonly name: string;
  readonly path: string;
  readonly stream: string;
  /** Followed now. */
  readonly files: number;
  /** Since the start. */
  readonly records: number;
  readonly bytes: number;
  /** In the files, and not stored yet. */
  readonly backlogBytes: number;
  /** Stored as they were, as they did not fit the conversion; since the start. */
  readonly unconverted: number;
  /** Records cut at maxLineBytes; since the start. */
  readonly cut: number;
  /** Files truncated or written anew; since the start. */
  readonly truncations: number;
  /** When a record was stored last; null: none since the start. */
  readonly lastRecordMs: number | null;
  /** Why the log does not take what is read; null when it does. */
  readonly refusal: string | null;
  /** Files that can't be read, and why. */
  readonly troubles: readonly { readonly path: string; readonly reason: string }[];
}

const troublesMax = 20;
const refusalLogMs = 60_000;

export interface FileCountsOptions {
  readonly name: string;
  readonly path: string;
  readonly stream: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export class FileCounts {
  readonly #options: FileCountsOptions;
  readonly #recordCounter: Counter;
  readonly #byteCounter: Counter;
  readonly #unconvertedCounter: Counter;
  readonly #cutCounter: Counter;
  readonly #refusalCounter: Counter;
  readonly #filesGauge: Gauge;
  readonly #backlogGauge: Gauge;
  #records = 0;
  #bytes = 0;
  #unconverted = 0;
  #cut = 0;
  #lastRecordMs: number | null = null;
  #refusal: string | null = null;
  #refusalLoggedMs = -Infinity;

  constructor(options: FileCountsOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#recordCounter = metrics.counter('headgate_files_records_total', 'Records from files.');
    this.#byteCounter = metrics.counter('headgate_files_bytes_total', 'Bytes of those records.');
    this.#unconvertedCounter = metrics.counter(
      'headgate_files_unconverted_total',
      'Records that did not fit their conversion and were stored as they were.',
    );
    this.#cutCounter = metrics.counter('headgate_files_cut_total', 'Records cut, as too long.');
    this.#refusalCounter = metrics.counter(
      'headgate_files_append_refusals_total',
      'Appends that the log refused, by code; they are tried again.',
    );
    this.#filesGauge = metrics.gauge('headgate_files_followed', 'Files that are followed.');
    this.#backlogGauge = metrics.gauge(
      'headgate_files_backlog_bytes',
      'Bytes in the files that are not stored yet.',
    );
  }

  stored(converted: readonly Converted[], cut: { readonly count: number }): void {
    const labels = { source: this.#options.name };
    const bytes = converted.reduce((sum, { data }) => sum + data.length, 0);
    const unconverted = converted.filter(({ fits }) => !fits).length;
    this.#records += converted.length;
    this.#bytes += bytes;
    this.#unconverted += unconverted;
    this.#cut += cut.count;
    this.#recordCounter.add(converted.length, labels);
    this.#byteCounter.add(bytes, labels);
    this.#unconvertedCounter.add(unconverted, labels);
    this.#cutCounter.add(cut.count, labels);
    if (converted.length > 0) this.#lastRecordMs = this.#options.clock.nowMs();
    this.#refusal = null;
  }

  /** Notes an error of the log; whether waiting may help. */
  refused(error: unknown): boolean {
    if (!(error instanceof StorageError) || !error.retryable) return false;
    const { name, stream, clock, logger } = this.#options;
    const { code, message } = error;
    this.#refusalCounter.add(1, { source: name, code });
    const nowMs = clock.monotonicMs();
    if (this.#refusal !== message && nowMs - this.#refusalLoggedMs >= refusalLogMs) {
      this.#refusalLoggedMs = nowMs;
      logger.warn(
        { stream, code, reason: message },
        'the log takes no lines: they wait in their files',
      );
    }
    this.#refusal = message;
    return true;
  }

  update(registry: Registry): void {
    const labels = { source: this.#options.name };
    const { files, backlogBytes } = totals(registry);
    this.#filesGauge.set(files, labels);
    this.#backlogGauge.set(backlogBytes, labels);
  }

  status(registry: Registry | null): FilesStatus {
    const { name, path, stream } = this.#options;
    const troubles = [...(registry?.troubles ?? [])].map(([where, reason]) => ({
      path: where,
      reason,
    }));
    if (registry?.tooMany === true) {
      troubles.unshift({ path, reason: 'more files match than are followed' });
    }
    return {
      ...{ name, path, stream },
      ...totals(registry),
      records: this.#records,
      bytes: this.#bytes,
      unconverted: this.#unconverted,
      cut: this.#cut,
      truncations: registry?.truncations ?? 0,
      lastRecordMs: this.#lastRecordMs,
      refusal: this.#refusal,
      troubles: troubles.slice(0, troublesMax),
    };
  }
}

function totals(registry: Registry | null): { files: number; backlogBytes: number } {
  const followed = [...(registry?.files.values() ?? [])].filter(({ isLost }) => !isLost);
  return {
    files: followed.length,
    backlogBytes: followed.reduce((sum, { backlogBytes }) => sum + backlogBytes, 0),
  };
}
