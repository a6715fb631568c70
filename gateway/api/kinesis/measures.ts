/**
 * What is measured of streams, under the names that Kinesis has for it in CloudWatch, and the
 * numbers kept of each. PutPayloadUnits and ShardHours are what the service bills by; CloudWatch
 * has no name for them.
 */
import type { Clock } from '../../../storage/ports.ts';

export type Unit = 'Bytes' | 'Count' | 'Milliseconds' | 'Hours';

interface Measured {
  readonly unit: Unit;
  readonly help: string;
}

/** What adds up. */
export const sums = {
  IncomingBytes: { unit: 'Bytes', help: 'Data and partition keys of records taken.' },
  IncomingRecords: { unit: 'Count', help: 'Records taken, by whatever way.' },
  PutPayloadUnits: { unit: 'Count', help: 'Units of 25 KB, each record rounded up.' },
  OutgoingBytes: { unit: 'Bytes', help: 'Data given out by GetRecords and SubscribeToShard.' },
  OutgoingRecords: { unit: 'Count', help: 'Records given out by GetRecords and SubscribeToShard.' },
  'GetRecords.Bytes': { unit: 'Bytes', help: 'Data given out by GetRecords.' },
  'GetRecords.Records': { unit: 'Count', help: 'Records given out by GetRecords.' },
  'GetRecords.Success': { unit: 'Count', help: 'Calls of GetRecords that were answered.' },
  ReadProvisionedThroughputExceeded: { unit: 'Count', help: 'Calls of GetRecords throttled.' },
  WriteProvisionedThroughputExceeded: { unit: 'Count', help: 'Records refused by throttling.' },
  'SubscribeToShard.Success': { unit: 'Count', help: 'Subscriptions begun.' },
  'SubscribeToShard.RateExceeded': {
    unit: 'Count',
    help: 'Subscriptions refused because there was another, or because there were too many.',
  },
  'SubscribeToShardEvent.Success': { unit: 'Count', help: 'Events sent to subscribers.' },
  'SubscribeToShardEvent.Bytes': { unit: 'Bytes', help: 'Data sent to subscribers.' },
  'SubscribeToShardEvent.Records': { unit: 'Count', help: 'Records sent to subscribers.' },
  ShardHours: { unit: 'Hours', help: 'Hours of open shards.' },
} as const satisfies Readonly<Record<string, Measured>>;

/** What has a highest value. */
export const peaks = {
  'GetRecords.IteratorAgeMilliseconds': {
    unit: 'Milliseconds',
    help: 'Age of the last record of a call of GetRecords, 0 when it reached the newest.',
  },
  'SubscribeToShardEvent.MillisBehindLatest': {
    unit: 'Milliseconds',
    help: 'How far an event is behind the newest record.',
  },
  IteratorAgeMilliseconds: {
    unit: 'Milliseconds',
    help: 'Of a shard: as GetRecords.IteratorAgeMilliseconds.',
  },
} as const satisfies Readonly<Record<string, Measured>>;

export type SumName = keyof typeof sums;
export type PeakName = keyof typeof peaks;
export type MeasureName = SumName | PeakName;

const minuteMs = 60_000;

/** A number that grows, and how much it grew in the last whole minute. */
export class Sum {
  total = 0;
  #minute = 0;
  #current = 0;
  #last = 0;

  add(amount: number, atMs: number): void {
    this.#roll(atMs);
    this.total += amount;
    this.#current += amount;
  }

  lastMinute(atMs: number): number {
    this.#roll(atMs);
    return this.#last;
  }

  #roll(atMs: number): void {
    const minute = Math.floor(atMs / minuteMs);
    if (minute === this.#minute) return;
    this.#last = minute === this.#minute + 1 ? this.#current : 0;
    this.#current = 0;
    this.#minute = minute;
  }
}

/** The highest value of this minute and the last. */
export class Peak {
  #minute = 0;
  #current: number | null = null;
  #last: number | null = null;

  see(value: number, atMs: number): void {
    this.#roll(atMs);
    this.#current = Math.max(this.#current ?? value, value);
  }

  /** null: nothing was seen. */
  recent(atMs: number): number | null {
    this.#roll(atMs);
    if (this.#current === null || this.#last === null) return this.#current ?? this.#last;
    return Math.max(this.#current, this.#last);
  }

  #roll(atMs: number): void {
    const minute = Math.floor(atMs / minuteMs);
    if (minute === this.#minute) return;
    this.#last = minute === this.#minute + 1 ? this.#current : null;
    this.#current = null;
    this.#minute = minute;
  }
}

/** What is measured of one stream, consumer or shard; each measure from its first value on. */
export class Measures {
  readonly #clock: Clock;
  readonly sums = new Map<SumName, Sum>();
  readonly peaks = new Map<PeakName, Peak>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(name: SumName, amount: number): void {
    let sum = this.sums.get(name);
    if (sum === undefined) {
      sum = new Sum();
      this.sums.set(name, sum);
    }
    sum.add(amount, this.#clock.monotonicMs());
  }

  see(name: PeakName, value: number): void {
    let peak = this.peaks.get(name);
    if (peak === undefined) {
      peak = new Peak();
      this.peaks.set(name, peak);
    }
    peak.see(value, this.#clock.monotonicMs());
  }
}
