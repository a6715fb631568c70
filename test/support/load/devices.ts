/** Devices that publish readings with QoS 1 at a steady pace, some of them with a bad connection. */
import { connect, type MqttClient } from 'mqtt';
import type { Scope } from '../scope.ts';

export interface DeviceOptions {
  readonly port: number;
  readonly name: string;
  readonly username: string;
  readonly password: string;
  readonly everyMs: number;
  /** Padding: what a reading weighs beside its names and numbers. */
  readonly paddingBytes: number;
  /** null: a good connection; else how long one lasts, anew for each. */
  readonly connectionMs: (() => number) | null;
}

/** What a reading is, as JSON. */
export interface Reading {
  readonly device: string;
  readonly number: number;
}

/** Publishes `{device, number: 0, 1, 2 …}` to `site/<name>`; what breaks off is published again. */
export class Device {
  readonly name: string;
  /** The numbers that PUBACK was sent for. */
  readonly acknowledged = new Set<number>();
  /** From publishing to PUBACK, in milliseconds, in the order of the acknowledgements. */
  readonly latenciesMs: number[] = [];
  connections = 0;
  readonly #client: MqttClient;
  readonly #padding: string;
  readonly #timers = new Set<NodeJS.Timeout>();
  #next = 0;
  #waiting = 0;
  #onIdle: (() => void) | null = null;

  constructor(scope: Scope, options: DeviceOptions) {
    this.name = options.name;
    this.#padding = 'x'.repeat(options.paddingBytes);
    this.#client = connect(`mqtt://127.0.0.1:${options.port}`, {
      clientId: options.name,
      username: options.username,
      password: options.password,
      reconnectPeriod: 50,
      connectTimeout: 30_000,
    });
    // Broken connections are the point; what counts is what was acknowledged.
    this.#client.on('error', () => undefined);
    this.#client.on('connect', () => {
      this.connections += 1;
      if (options.connectionMs === null || this.#onIdle !== null) return;
      this.#later(options.connectionMs(), () => this.#client.stream.destroy());
    });
    const publishing = setInterval(() => this.#publish(), options.everyMs);
    this.#timers.add(publishing);
    scope.after(() => {
      this.#stopTimers();
      this.#client.end(true);
    });
  }

  /** Stops publishing; resolves when all that was published is acknowledged. */
  async finish(): Promise<void> {
    this.#stopTimers();
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      if (this.#waiting === 0) resolve();
    });
    await this.#client.endAsync();
  }

  #publish(): void {
    const reading: Reading & { padding: string } = {
      device: this.name,
      number: this.#next++,
      padding: this.#padding,
    };
    this.#waiting += 1;
    const publishedMs = performance.now();
    this.#client.publish(`site/${this.name}`, JSON.stringify(reading), { qos: 1 }, (error) => {
      this.#waiting -= 1;
      if (error == null) {
        this.acknowledged.add(reading.number);
        this.latenciesMs.push(performance.now() - publishedMs);
      }
      if (this.#waiting === 0) this.#onIdle?.();
    });
  }

  #later(delayMs: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, delayMs);
    this.#timers.add(timer);
  }

  #stopTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
