/** Looks at a running gateway from outside, again and again, and keeps what it saw. */
import { readFile } from 'node:fs/promises';
import type { GatewayProcess } from '../gateway.ts';
import type { Scope } from '../scope.ts';

export interface Sample {
  readonly atMs: number;
  /** Resident memory of the gateway's own process, in bytes. */
  readonly memoryBytes: number;
  /** CPU time of it since its start, in seconds. */
  readonly cpuSeconds: number;
  /** 99 of 100 waits for the event loop were shorter, over the last ten seconds. */
  readonly loopDelayP99Ms: number;
  readonly walBytes: number;
  readonly metrics: string;
}

const clockTicksPerSecond = 100;

export class Probe {
  readonly samples: Sample[] = [];
  readonly #gateway: GatewayProcess;
  readonly #timer: NodeJS.Timeout;
  #sampling: Promise<void> = Promise.resolve();

  constructor(scope: Scope, gateway: GatewayProcess, everyMs: number) {
    this.#gateway = gateway;
    this.#timer = setInterval(() => {
      this.#sampling = this.#sampling.then(() => this.sample());
    }, everyMs);
    scope.after(() => this.stop());
  }

  /** Resolves once the last sample is taken; rejects when one could not be. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sampling;
  }

  async sample(): Promise<void> {
    const { pid } = this.#gateway.child.process;
    const response = await this.#gateway.fetch('/metrics');
    const metrics = await response.text();
    if (!response.ok) throw new Error(`/metrics answers ${response.status}: ${metrics}`);
    const [status, stat] = await Promise.all([
      readFile(`/proc/${String(pid)}/status`, 'utf8'),
      readFile(`/proc/${String(pid)}/stat`, 'utf8'),
    ]);
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    this.samples.push({
      atMs: performance.now(),
      memoryBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024,
      cpuSeconds: (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond,
      loopDelayP99Ms:
        1000 * metricOf(metrics, 'headgate_event_loop_delay_seconds', 'quantile="0.99"'),
      walBytes: metricOf(metrics, 'headgate_store_wal_bytes'),
      metrics,
    });
  }
}

/** The sum of the metric's series that have the label (all, when none is given); 0 without any. */
export function metricOf(metrics: string, name: string, label = ''): number {
  let sum = 0;
  for (const line of metrics.split('\n')) {
    const [series = '', value] = line.split(' ');
    if (series !== name && !series.startsWith(`${name}{`)) continue;
    if (series.includes(label)) sum += Number(value);
  }
  return sum;
}
