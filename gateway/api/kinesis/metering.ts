/**
 * Metering: what streams take and give, since the start, for Prometheus and for our own API.
 *
 * - What comes in is counted once it is on disk, by whatever way it came; what goes out, where the
 *   Kinesis API gives it out. Deliveries and applications of our own API have their own metrics.
 * - A stream and each of its consumers have their measures; a shard has those that
 *   EnableEnhancedMonitoring asked for. What is gone is forgotten within a minute, so there is never
 *   more than the streams, consumers and monitored shards there are; Prometheus keeps at most 1,000
 *   of each measure (observe/metrics.ts). A stream of a name that was there before begins anew.
 * - Counting costs a few additions; labels and text are made when somebody asks.
 */
import type { Log, StreamDescription } from '../../../storage/model.ts';
import type {
  CancelTimer,
  Clock,
  Counter,
  Gauge,
  Labels,
  Metrics,
} from '../../../storage/ports.ts';
import {
  Measures,
  peaks,
  sums,
  type MeasureName,
  type PeakName,
  type SumName,
  type Unit,
} from './measures.ts';
import { attributeOf } from './stream-attributes.ts';

const tickMs = 60_000;
const hourMs = 3_600_000;
/** PUT payload units, as the service counts them. */
const payloadUnitBytes = 25 * 1024;

/** What a record takes, as far as it is counted. */
export interface TakenRecord {
  readonly keyBytes: number;
  readonly data: { readonly length: number };
}

/** Records that were given out. */
export interface GivenRecords {
  readonly records: number;
  /** Of their data. */
  readonly bytes: number;
  /** How far the last of them is behind. */
  readonly behindMs: number;
}

/** One measure, as somebody is told of it. */
export interface Metered {
  readonly name: MeasureName;
  readonly unit: Unit;
  /** null: of the whole stream, or of a shard. */
  readonly consumer: string | null;
  /** Its index; null: of the whole stream, or of a consumer. */
  readonly shard: number | null;
  /** Since the start; null: it does not add up. */
  readonly total: number | null;
  /** Of the last whole minute; what does not add up: the highest value of the last two, null: none. */
  readonly lastMinute: number | null;
}

/** Which stream; its name alone may have been another's. */
export type MeteredStream = Pick<StreamDescription, 'id' | 'name'>;

interface StreamMeasures {
  readonly name: string;
  readonly own: Measures;
  readonly consumers: Map<string, Measures>;
  readonly shards: Map<number, Measures>;
  /** The shard-level measures that are asked for. */
  monitored: ReadonlySet<string>;
}

export interface MeteringOptions {
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export class Metering {
  /** Since when it counts. */
  readonly sinceMs: number;
  readonly #clock: Clock;
  readonly #prometheus: PrometheusMeasures;
  /** By the stream's id. */
  readonly #streams = new Map<number, StreamMeasures>();
  #log: Log | null = null;
  #countedMs: number;
  #cancelTick: CancelTimer | null = null;

  constructor({ clock, metrics }: MeteringOptions) {
    this.#clock = clock;
    this.#prometheus = new PrometheusMeasures(metrics);
    this.sinceMs = clock.nowMs();
    this.#countedMs = clock.monotonicMs();
  }

  /** From here on the hours of its shards count. */
  start(log: Log): void {
    this.#log = log;
    this.#tick();
  }

  /** Twice is harmless. */
  close(): void {
    this.#cancelTick?.();
    this.#log = null;
  }

  /** Records are on disk. */
  readonly took = (stream: MeteredStream, shard: number, records: readonly TakenRecord[]): void => {
    let bytes = 0;
    let units = 0;
    for (const { keyBytes, data } of records) {
      const recordBytes = keyBytes + data.length;
      bytes += recordBytes;
      units += Math.max(1, Math.ceil(recordBytes / payloadUnitBytes));
    }
    this.#add(stream, shard, 'IncomingBytes', bytes);
    this.#add(stream, shard, 'IncomingRecords', records.length);
    this.#of(stream).own.add('PutPayloadUnits', units);
  };

  /** GetRecords was answered. */
  gave(stream: MeteredStream, shard: number, { records, bytes, behindMs }: GivenRecords): void {
    const { own } = this.#of(stream);
    own.add('GetRecords.Success', 1);
    own.add('GetRecords.Bytes', bytes);
    own.add('GetRecords.Records', records);
    own.see('GetRecords.IteratorAgeMilliseconds', behindMs);
    this.#shard(stream, shard, 'IteratorAgeMilliseconds')?.see('IteratorAgeMilliseconds', behindMs);
    this.#add(stream, shard, 'OutgoingBytes', bytes);
    this.#add(stream, shard, 'OutgoingRecords', records);
  }

  /** An event was made for a consumer. */
  sent(stream: MeteredStream, shard: number, consumer: string, given: GivenRecords): void {
    const measures = this.#consumer(stream, consumer);
    measures.add('SubscribeToShardEvent.Success', 1);
    measures.add('SubscribeToShardEvent.Bytes', given.bytes);
    measures.add('SubscribeToShardEvent.Records', given.records);
    measures.see('SubscribeToShardEvent.MillisBehindLatest', given.behindMs);
    this.#add(stream, shard, 'OutgoingBytes', given.bytes);
    this.#add(stream, shard, 'OutgoingRecords', given.records);
  }

  subscribed(stream: MeteredStream, consumer: string, outcome: 'Success' | 'RateExceeded'): void {
    this.#consumer(stream, consumer).add(`SubscribeToShard.${outcome}`, 1);
  }

  /** A record was refused, or a call of GetRecords. */
  throttled(stream: MeteredStream, shard: number, direction: 'Read' | 'Write'): void {
    this.#add(stream, shard, `${direction}ProvisionedThroughputExceeded`, 1);
  }

  /** Shard-level measures were switched on or off. */
  monitor(stream: MeteredStream, names: readonly string[]): void {
    const measures = this.#of(stream);
    measures.monitored = new Set(names);
    for (const shard of measures.shards.values()) {
      for (const name of shard.sums.keys()) if (!names.includes(name)) shard.sums.delete(name);
      for (const name of shard.peaks.keys()) if (!names.includes(name)) shard.peaks.delete(name);
    }
  }

  /** Everything there is of a stream, by name. */
  of(stream: MeteredStream): readonly Metered[] {
    this.#count();
    const { own, consumers, shards } = this.#of(stream);
    return [
      ...this.#listed(own, null, null),
      ...[...consumers].flatMap(([consumer, each]) => this.#listed(each, consumer, null)),
      ...[...shards].flatMap(([shard, each]) => this.#listed(each, null, shard)),
    ].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  /** Sets the metrics of Prometheus to what holds now. */
  publish(): void {
    this.#count();
    const atMs = this.#clock.monotonicMs();
    for (const { name: stream, own, consumers, shards } of this.#streams.values()) {
      this.#prometheus.set('', own, { stream }, atMs);
      for (const [consumer, each] of consumers) {
        this.#prometheus.set('', each, { stream, consumer }, atMs);
      }
      for (const [shard, each] of shards) {
        this.#prometheus.set('shard_', each, { stream, shard: String(shard) }, atMs);
      }
    }
    this.#prometheus.endOfRound();
  }

  #listed(measures: Measures, consumer: string | null, shard: number | null): readonly Metered[] {
    const atMs = this.#clock.monotonicMs();
    const about = { consumer, shard };
    return [
      ...[...measures.sums].map(([name, sum]) => ({
        ...{ name, unit: sums[name].unit, ...about },
        ...{ total: shown(sum.total), lastMinute: shown(sum.lastMinute(atMs)) },
      })),
      ...[...measures.peaks].map(([name, peak]) => ({
        ...{ name, unit: peaks[name].unit, ...about },
        ...{ total: null, lastMinute: peak.recent(atMs) },
      })),
    ];
  }

  #of({ id, name }: MeteredStream): StreamMeasures {
    let measures = this.#streams.get(id);
    if (measures === undefined) {
      const own = new Measures(this.#clock);
      measures = { name, own, consumers: new Map(), shards: new Map(), monitored: new Set() };
      this.#streams.set(id, measures);
    }
    return measures;
  }

  #consumer(stream: MeteredStream, name: string): Measures {
    return entryOf(this.#of(stream).consumers, name, this.#clock);
  }

  /** null: nobody asked for it. */
  #shard(stream: MeteredStream, index: number, name: MeasureName): Measures | null {
    const { shards, monitored } = this.#of(stream);
    return monitored.has(name) ? entryOf(shards, index, this.#clock) : null;
  }

  #add(stream: MeteredStream, shard: number, name: SumName, amount: number): void {
    this.#of(stream).own.add(name, amount);
    this.#shard(stream, shard, name)?.add(name, amount);
  }

  #tick(): void {
    this.#count();
    const streams = this.#log?.streams() ?? [];
    this.#forgetAllBut(new Map(streams.map((stream) => [stream.id, stream])));
    this.#cancelTick = this.#clock.setTimer(tickMs, () => {
      this.#tick();
    });
  }

  /** Counts the hours of shards up to now. */
  #count(): void {
    const nowMs = this.#clock.monotonicMs();
    const hours = (nowMs - this.#countedMs) / hourMs;
    this.#countedMs = nowMs;
    for (const stream of this.#log?.streams() ?? []) {
      const open = stream.shards.filter(({ closedMs }) => closedMs === null).length;
      this.#of(stream).own.add('ShardHours', open * hours);
    }
  }

  #forgetAllBut(streams: ReadonlyMap<number, StreamDescription>): void {
    for (const [id, measures] of this.#streams) {
      const stream = streams.get(id);
      if (stream === undefined) {
        this.#streams.delete(id);
        continue;
      }
      this.monitor(stream, attributeOf(stream, 'monitoring'));
      const consumers = new Set(attributeOf(stream, 'consumers').map((consumer) => consumer.name));
      for (const known of measures.consumers.keys()) {
        if (!consumers.has(known)) measures.consumers.delete(known);
      }
      const shards = new Set(stream.shards.map(({ index }) => index));
      for (const known of measures.shards.keys()) {
        if (!shards.has(known) || measures.monitored.size === 0) measures.shards.delete(known);
      }
    }
  }
}

/** Hours come as many fractions: without what is lost in adding them up. */
function shown(sum: number): number {
  return Number.isInteger(sum) ? sum : Number(sum.toFixed(6));
}

function entryOf<K>(measures: Map<K, Measures>, key: K, clock: Clock): Measures {
  let entry = measures.get(key);
  if (entry === undefined) {
    entry = new Measures(clock);
    measures.set(key, entry);
  }
  return entry;
}

/** Hands sums on as counters and peaks as gauges, each under its name as Prometheus writes it. */
class PrometheusMeasures {
  readonly #metrics: Metrics;
  readonly #counters = new Map<string, Counter>();
  readonly #gauges = new Map<string, Gauge>();
  /** What counters have been told, of each sum. */
  readonly #told = new WeakMap<object, number>();
  /** The gauges that were set in the last round and in this one, and how to empty each. */
  #before = new Map<string, () => void>();
  #now = new Map<string, () => void>();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  set(prefix: string, measures: Measures, labels: Labels, atMs: number): void {
    for (const [name, sum] of measures.sums) {
      this.#counter(prefix, name).add(sum.total - (this.#told.get(sum) ?? 0), labels);
      this.#told.set(sum, sum.total);
    }
    for (const [name, peak] of measures.peaks) {
      // Not 0, which would say that whoever reads is up to date.
      const gauge = this.#gauge(prefix, name);
      gauge.set(peak.recent(atMs) ?? Number.NaN, labels);
      this.#now.set(JSON.stringify([prefix, name, labels]), () => {
        gauge.set(Number.NaN, labels);
      });
    }
  }

  /** What is measured no more has no value any more. */
  endOfRound(): void {
    for (const [key, empty] of this.#before) if (!this.#now.has(key)) empty();
    this.#before = this.#now;
    this.#now = new Map();
  }

  #counter(prefix: string, name: SumName): Counter {
    const key = `headgate_kinesis_${prefix}${prometheusName(name)}_total`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = this.#metrics.counter(key, `${name}: ${sums[name].help}`);
      this.#counters.set(key, counter);
    }
    return counter;
  }

  #gauge(prefix: string, name: PeakName): Gauge {
    const key = `headgate_kinesis_${prefix}${prometheusName(name)}`;
    let gauge = this.#gauges.get(key);
    if (gauge === undefined) {
      gauge = this.#metrics.gauge(key, `${name}: ${peaks[name].help}`);
      this.#gauges.set(key, gauge);
    }
    return gauge;
  }
}

/** `GetRecords.IteratorAgeMilliseconds`: `get_records_iterator_age_milliseconds`. */
export function prometheusName(name: string): string {
  return name
    .replace(/\./g, '_')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}
