/**
 * What a delivery does, under the names that Firehose has for it in CloudWatch
 * (docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-metrics.html): since the start,
 * for our own API and for Prometheus. Where Firehose has no such destination, the names are made in
 * the same way. What comes in is counted with the stream (`api/kinesis/metering.ts`).
 *
 * Each measure is there from its first value on.
 */
import type { Clock, Metrics } from '../../../storage/ports.ts';
import { Sum } from '../../api/kinesis/measures.ts';
import { prometheusName } from '../../api/kinesis/metering.ts';
import type { Sink } from '../sink.ts';

/** Behind `DeliveryTo`, or `BackupTo`. */
const destinations: Readonly<Record<Sink['kind'], string>> = {
  s3: 'S3',
  http: 'HttpEndpoint',
  opensearch: 'AmazonOpenSearchService',
  splunk: 'Splunk',
  redshift: 'Redshift',
  folder: 'Folder',
  kinesis: 'Kinesis',
  'kinesis-video': 'KinesisVideo',
  dynamodb: 'DynamoDB',
  nats: 'Nats',
  kafka: 'Kafka',
};

/** Behind the name of the destination. */
const ofDestination = {
  Records: ['Count', 'Records, media files or fragments that arrived.'],
  Bytes: ['Bytes', 'Bytes that arrived, before compression.'],
  ObjectCount: ['Count', 'Objects that arrived.'],
} as const;

/** Of what is done with records on their way. */
const ofProcessing = {
  'ExecuteProcessing.Duration': [
    'Milliseconds',
    'Time that the transform took, its calls and what is between them.',
  ],
  'ExecuteProcessing.Success': ['Count', 'Calls of the transform that were answered as agreed.'],
  'SucceedProcessing.Records': ['Count', 'Records that the transform gave back.'],
  'SucceedProcessing.Bytes': ['Bytes', 'Bytes that the transform gave back.'],
  'FailedConversion.Records': ['Count', 'Records that could not be brought into another format.'],
} as const;

/** Of dynamic partitions: as it was at the latest. */
const ofPartitions = {
  PartitionCount: 'Partitions that the latest records went into.',
  PartitionCountExceeded:
    '1 where they had more partitions than there may be at once, otherwise 0.',
} as const;

export type ProcessingMeasure = keyof typeof ofProcessing;
export type DeliveryUnit = 'Count' | 'Bytes' | 'Milliseconds' | 'Seconds' | 'Ratio';

/** One measure, as somebody is told of it. */
export interface DeliveryMeasure {
  readonly name: string;
  readonly unit: DeliveryUnit;
  /** Since the start; null: it does not add up. */
  readonly total: number | null;
  /** Of the last whole minute; of what does not add up, the latest value. null: there is none. */
  readonly lastMinute: number | null;
}

interface Counted {
  readonly unit: DeliveryUnit;
  readonly sum: Sum;
  readonly count: (amount: number) => void;
}

export class DeliveryMetering {
  readonly #clock: Clock;
  readonly #metrics: Metrics;
  readonly #labels: { readonly delivery: string };
  readonly #destination: string;
  readonly #hasObjects: boolean;
  readonly #sums = new Map<string, Counted>();
  readonly #latest = new Map<string, number>();
  readonly #succeeded = new Sum();
  readonly #attempted = new Sum();
  #freshSeconds: number | null = null;

  constructor(options: {
    /** Of a backup, its owner. */
    readonly delivery: string;
    readonly isBackup?: boolean;
    readonly kind: Sink['kind'];
    readonly clock: Clock;
    readonly metrics: Metrics;
  }) {
    this.#clock = options.clock;
    this.#metrics = options.metrics;
    this.#labels = { delivery: options.delivery };
    const { kind, isBackup = false } = options;
    this.#destination = `${isBackup ? 'BackupTo' : 'DeliveryTo'}${destinations[kind]}`;
    this.#hasObjects = !isBackup && (kind === 's3' || kind === 'folder');
  }

  /** An attempt at the destination succeeded. */
  sent(amount: {
    readonly records: number;
    readonly bytes: number;
    readonly objects: number;
  }): void {
    this.#ofDestination('Records', amount.records);
    this.#ofDestination('Bytes', amount.bytes);
    if (this.#hasObjects) this.#ofDestination('ObjectCount', amount.objects);
    this.#attempt(true);
  }

  /** An attempt at the destination failed. */
  failed(): void {
    this.#attempt(false);
  }

  /** The age of the oldest thing that was not sent; everything older has arrived. */
  fresh(seconds: number): void {
    this.#freshSeconds = seconds;
    const name = `${this.#destination}.DataFreshness`;
    const help = `${name}: Age of the oldest thing not sent yet, in seconds.`;
    this.#metrics.gauge(`${prometheusOf(name)}_seconds`, help).set(seconds, this.#labels);
  }

  /** Something was done with records on their way. */
  processed(name: ProcessingMeasure, amount: number): void {
    this.#add(name, ofProcessing[name], amount);
  }

  /** Records went into objects by what is in them. */
  partitioned(partitions: number, isExceeded: boolean): void {
    const values = { PartitionCount: partitions, PartitionCountExceeded: isExceeded ? 1 : 0 };
    for (const [name, help] of Object.entries(ofPartitions)) {
      const value = values[name as keyof typeof values];
      this.#latest.set(name, value);
      this.#metrics.gauge(prometheusOf(name), `${name}: ${help}`).set(value, this.#labels);
    }
  }

  /** Everything there is, by name. */
  list(): readonly DeliveryMeasure[] {
    const atMs = this.#clock.monotonicMs();
    const measures = [...this.#sums].map(([name, { unit, sum }]): DeliveryMeasure => ({
      ...{ name, unit, total: sum.total, lastMinute: sum.lastMinute(atMs) },
    }));
    for (const [name, lastMinute] of this.#latest) {
      measures.push({ name, unit: 'Count', total: null, lastMinute });
    }
    if (this.#attempted.total > 0) {
      const attempted = this.#attempted.lastMinute(atMs);
      measures.push({
        name: `${this.#destination}.Success`,
        ...{ unit: 'Ratio', total: null },
        lastMinute: attempted === 0 ? null : this.#succeeded.lastMinute(atMs) / attempted,
      });
    }
    if (this.#freshSeconds !== null) {
      measures.push({
        name: `${this.#destination}.DataFreshness`,
        ...{ unit: 'Seconds', total: null, lastMinute: this.#freshSeconds },
      });
    }
    return measures.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #ofDestination(which: keyof typeof ofDestination, amount: number): void {
    this.#add(`${this.#destination}.${which}`, ofDestination[which], amount);
  }

  #attempt(isSuccess: boolean): void {
    const atMs = this.#clock.monotonicMs();
    this.#attempted.add(1, atMs);
    this.#succeeded.add(isSuccess ? 1 : 0, atMs);
    const name = `${this.#destination}.Success`;
    const help = `${name}: Attempts that succeeded; divided by the attempts it is what Firehose shows.`;
    this.#metrics.counter(`${prometheusOf(name)}_total`, help).add(isSuccess ? 1 : 0, this.#labels);
    const attempts = `${prometheusOf(`${this.#destination}.Attempts`)}_total`;
    this.#metrics.counter(attempts, 'Attempts, as Success counts them.').add(1, this.#labels);
  }

  #add(name: string, [unit, help]: readonly [DeliveryUnit, string], amount: number): void {
    let counted = this.#sums.get(name);
    if (counted === undefined) {
      const counter = this.#metrics.counter(`${prometheusOf(name)}_total`, `${name}: ${help}`);
      counted = {
        ...{ unit, sum: new Sum() },
        count: (more) => {
          counter.add(more, this.#labels);
        },
      };
      this.#sums.set(name, counted);
    }
    counted.sum.add(amount, this.#clock.monotonicMs());
    counted.count(amount);
  }
}

function prometheusOf(name: string): string {
  return `headgate_firehose_${prometheusName(name)}`;
}
