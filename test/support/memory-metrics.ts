import type { Counter, Gauge, Histogram, Labels, Metrics } from '../../storage/ports.ts';

/** Keeps the latest value of every metric, keyed `name{label="value"}` as Prometheus prints it. */
export class MemoryMetrics implements Metrics {
  readonly values = new Map<string, number>();

  counter(name: string): Counter {
    return {
      add: (amount = 1, labels) => {
        const key = keyOf(name, labels);
        this.values.set(key, (this.values.get(key) ?? 0) + amount);
      },
    };
  }

  gauge(name: string): Gauge {
    return {
      set: (value, labels) => void this.values.set(keyOf(name, labels), value),
      remove: (labels) => void this.values.delete(keyOf(name, labels)),
    };
  }

  histogram(name: string): Histogram {
    return {
      observe: (value, labels) => {
        const sum = keyOf(`${name}_sum`, labels);
        const count = keyOf(`${name}_count`, labels);
        this.values.set(sum, (this.values.get(sum) ?? 0) + value);
        this.values.set(count, (this.values.get(count) ?? 0) + 1);
      },
    };
  }
}

function keyOf(name: string, labels: Labels = {}): string {
  const parts = Object.keys(labels)
    .sort()
    .map((label) => `${label}="${labels[label] ?? ''}"`);
  return parts.length === 0 ? name : `${name}{${parts.join(',')}}`;
}
