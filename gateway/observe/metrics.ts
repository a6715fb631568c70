/**
 * Counters, gauges and histograms for Prometheus, behind the `Metrics` of storage/ports.ts, in a
 * prom-client registry of their own: two gateways in one process do not mix.
 *
 * prom-client writes the text and measures the process. The values of our metrics are kept here,
 * because its own want every label name in advance and grow without limit: a metric keeps at most
 * 1,000 combinations of labels; further ones are counted together, with `other` for each value.
 */
import prometheus from 'prom-client';
import type { Counter, Gauge, Histogram, Labels, Metrics } from '../../storage/ports.ts';

const seriesMax = 1000;
const labelMaxLength = 256;

/** prom-client's own, which take a timer of 10 ms; `loop-delay.ts` tells the same. */
const loopLagMetrics = ['min', 'max', 'mean', 'stddev', 'p50', 'p90', 'p99'].map(
  (which) => `nodejs_eventloop_lag_${which}_seconds`,
);
const neverMs = 2 ** 31 - 1;

interface Sample {
  readonly metricName?: string;
  readonly labels: Labels;
  readonly value: number;
}

type Kind = 'counter' | 'gauge' | 'histogram';

/**
 * @example
 * const metrics = new PrometheusMetrics({ processMetrics: true });
 * metrics.counter('headgate_mqtt_messages_total', 'Messages received').add(1, { route: 'a/#' });
 * const text = await metrics.render();
 */
export class PrometheusMetrics implements Metrics {
  /** The `Content-Type` of what `render` returns. */
  readonly contentType = prometheus.Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new prometheus.Registry();
  readonly #families = new Map<string, { kind: Kind; metric: Counter | Gauge | Histogram }>();

  /** @param options.processMetrics also memory, CPU and garbage collection of the process */
  constructor(options: { readonly processMetrics: boolean }) {
    if (!options.processMetrics) return;
    prometheus.collectDefaultMetrics({
      register: this.#registry,
      eventLoopMonitoringPrecision: neverMs,
    });
    for (const name of loopLagMetrics) this.#registry.removeSingleMetric(name);
  }

  counter(name: string, help: string): Counter {
    return this.#family(name, 'counter', () => {
      const series = new Series<{ value: number }>(() => ({ value: 0 }));
      this.#register(name, help, 'counter', () => series.samples(({ value }) => [{ value }]));
      return {
        add: (amount = 1, labels = {}) => {
          if (!(amount >= 0)) throw new RangeError(`${name} can't be changed by ${amount}`);
          series.of(labels).value += amount;
        },
      };
    }) as Counter;
  }

  gauge(name: string, help: string): Gauge {
    return this.#family(name, 'gauge', () => {
      const series = new Series<{ value: number }>(() => ({ value: 0 }));
      this.#register(name, help, 'gauge', () => series.samples(({ value }) => [{ value }]));
      return {
        set: (value, labels = {}) => {
          series.of(labels).value = value;
        },
        remove: (labels = {}) => {
          series.remove(labels);
        },
      };
    }) as Gauge;
  }

  histogram(name: string, help: string, bucketsUpTo: readonly number[]): Histogram {
    return this.#family(name, 'histogram', () => {
      const bounds = [...bucketsUpTo].sort((a, b) => a - b);
      const series = new Series(() => ({ counts: bounds.map(() => 0), count: 0, sum: 0 }));
      this.#register(name, help, 'histogram', () =>
        series.samples(({ counts, count, sum }) => [
          ...bounds.map((bound, index) => ({
            metricName: `${name}_bucket`,
            labels: { le: String(bound) },
            value: counts[index] ?? 0,
          })),
          { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count },
          { metricName: `${name}_sum`, value: sum },
          { metricName: `${name}_count`, value: count },
        ]),
      );
      return {
        observe: (value, labels = {}) => {
          const observed = series.of(labels);
          observed.count += 1;
          observed.sum += value;
          bounds.forEach((bound, index) => {
            if (value <= bound) observed.counts[index] = (observed.counts[index] ?? 0) + 1;
          });
        },
      };
    }) as Histogram;
  }

  /** All metrics in Prometheus' text format, version 0.0.4. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }

  #family(
    name: string,
    kind: Kind,
    make: () => Counter | Gauge | Histogram,
  ): Counter | Gauge | Histogram {
    const existing = this.#families.get(name);
    if (existing !== undefined) {
      if (existing.kind !== kind) throw new TypeError(`${name} is a ${existing.kind} already`);
      return existing.metric;
    }
    const metric = make();
    this.#families.set(name, { kind, metric });
    return metric;
  }

  /** The registry asks a metric for its values when it is read; see its `getMetricsAsString`. */
  #register(name: string, help: string, type: Kind, values: () => readonly Sample[]): void {
    const metric = {
      name,
      help,
      type,
      get: () => Promise.resolve({ name, help, type, values: values() }),
    };
    this.#registry.registerMetric(metric as unknown as prometheus.Metric);
  }
}

/** What is kept of a metric for each combination of labels. */
class Series<State> {
  readonly #make: () => State;
  readonly #byLabels = new Map<string, { readonly labels: Labels; readonly state: State }>();

  constructor(make: () => State) {
    this.#make = make;
  }

  remove(labels: Labels): void {
    this.#byLabels.delete(keyOf(labels, namesOf(labels)));
  }

  of(labels: Labels): State {
    const names = namesOf(labels);
    const key = keyOf(labels, names);
    const known = this.#byLabels.get(key);
    if (known !== undefined) return known.state;
    const full = this.#byLabels.size >= seriesMax && names.some((name) => labels[name] !== 'other');
    if (full) return this.of(Object.fromEntries(names.map((name) => [name, 'other'])));
    const kept = names.map((name) => [name, (labels[name] ?? '').slice(0, labelMaxLength)]);
    const state = this.#make();
    this.#byLabels.set(key, { labels: Object.fromEntries(kept) as Labels, state });
    return state;
  }

  samples(
    read: (state: State) => readonly (Omit<Sample, 'labels'> & { labels?: Labels })[],
  ): readonly Sample[] {
    return [...this.#byLabels.values()].flatMap(({ labels, state }) =>
      read(state).map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })),
    );
  }
}

function namesOf(labels: Labels): readonly string[] {
  return Object.keys(labels).sort();
}

function keyOf(labels: Labels, names: readonly string[]): string {
  return names.map((name) => `${name}\0${labels[name] ?? ''}`).join('\0');
}
