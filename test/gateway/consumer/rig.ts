/**
 * A store with the REST API of streams and applications over a real HTTP server on the machine's
 * clocks, and a sink that judges what workers emit.
 */
import { Hono } from 'hono';
import { getRequestListener } from '@hono/node-server';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { applicationRoutes } from '../../../gateway/api/rest/applications.ts';
import { createRouter } from '../../../gateway/api/rest/router.ts';
import { streamRoutes } from '../../../gateway/api/rest/streams.ts';
import { Waiting } from '../../../gateway/api/rest/waiting.ts';
import type { Batch } from '../../../gateway/consumer/consumer.ts';
import { errorResponse, toHttpError } from '../../../gateway/http/errors.ts';
import { createHttpServer, type HttpServer } from '../../../gateway/http/server.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { Log } from '../../../storage/model.ts';
import { openTestStore, streamOptions } from '../../storage/support/open.ts';
import { within } from '../../support/deadline.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import type { Scope } from '../../support/scope.ts';

/** Something that happens once, and who waits for it. */
export class Occasion<T> {
  happens: (value: T) => void = () => undefined;
  readonly happened = new Promise<T>((resolve) => {
    this.happens = resolve;
  });
}

export class ConsumerRig {
  /** The log of the store as it is open now. */
  log: Log;
  readonly #reopen: () => Promise<Log>;
  #port = 0;
  #server: HttpServer | null = null;
  #closing = new AbortController();
  #appended = 0;

  private constructor(log: Log, reopen: () => Promise<Log>) {
    this.log = log;
    this.#reopen = reopen;
  }

  static async start(context: Scope, shardCount: number): Promise<ConsumerRig> {
    const store = await openTestStore(context, { clock: systemClock });
    const rig = new ConsumerRig(store.store.log, async () => (await store.reopen()).log);
    await rig.log.createStream(streamOptions({ shardCount }));
    await rig.#serve();
    context.after(() => rig.#stop());
    return rig;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Closes everything, lets `meanwhile` happen, and starts again at the same address. */
  async restart(meanwhile: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    await this.#stop();
    await meanwhile();
    this.log = await this.#reopen();
    await this.#serve();
  }

  async #stop(): Promise<void> {
    this.#closing.abort();
    await this.#server?.close();
  }

  async #serve(): Promise<void> {
    this.#closing = new AbortController();
    const options = { log: this.log, clock: systemClock };
    const router = createRouter();
    const waiting = new Waiting({ ...options, closing: this.#closing.signal });
    streamRoutes(router, { ...options, waiting });
    applicationRoutes(router, options);
    const app = new Hono();
    app.onError((error) => errorResponse(toHttpError(error)));
    app.route('/api/v1', router);
    this.#server = await createHttpServer({
      host: '127.0.0.1',
      port: this.#port,
      fetch: (request, env) => app.fetch(request, env),
      limits: { drainMs: 200 },
      clock: systemClock,
      logger: new MemoryLogger(),
      metrics: new MemoryMetrics(),
    });
    this.#port = this.#server.address.port;
  }

  /** Appends records over 40 keys; each key counts its own from 0. Returns how many there are now. */
  async append(count: number): Promise<number> {
    const records = Array.from({ length: count }, (_, index) => {
      const number = this.#appended + index;
      const data = Buffer.from(String(Math.floor(number / 40)));
      return { partitionKey: `key-${number % 40}`, data };
    });
    this.#appended += count;
    await this.log.append('readings', records);
    return this.#appended;
  }
}

export interface Emission {
  readonly owner: string;
  readonly shard: number;
  readonly fence: number;
  readonly records: readonly { sequence: number; key: string; value: number }[];
}

export function emissionOf(owner: string, { shard, fence, records }: Batch): Emission {
  return {
    ...{ owner, shard, fence },
    records: records.map(({ sequence, partitionKey, data }) => ({
      sequence,
      key: partitionKey,
      value: Number(data.toString()),
    })),
  };
}

/**
 * Takes emissions and refuses those that carry a lower fence than was seen for the shard. Fails on
 * a gap within a shard, and on a record that comes before an earlier one of its key.
 */
export class Sink {
  readonly accepted: Emission[] = [];
  readonly refused: Emission[] = [];
  /** Records seen for the first time. */
  seen = 0;
  readonly #fences = new Map<number, number>();
  readonly #next = new Map<number, number>();
  readonly #values = new Map<string, number>();
  readonly #watchers = new Set<() => void>();

  /** Whether the emission counts. */
  judge(emission: Emission): boolean {
    const { shard, fence, records } = emission;
    const isOutdated = fence < (this.#fences.get(shard) ?? 0);
    (isOutdated ? this.refused : this.accepted).push(emission);
    if (!isOutdated) {
      this.#fences.set(shard, fence);
      for (const record of records) this.#count(shard, record);
    }
    for (const watcher of [...this.#watchers]) watcher();
    return !isOutdated;
  }

  #count(shard: number, { sequence, key, value }: Emission['records'][number]): void {
    const next = this.#next.get(shard) ?? 0;
    assert.ok(sequence <= next, `shard ${shard}: ${sequence} came where ${next} is the next`);
    if (sequence < next) return;
    this.#next.set(shard, next + 1);
    assert.equal(value, this.#values.get(key) ?? 0, `${key}: in order`);
    this.#values.set(key, value + 1);
    this.seen += 1;
  }

  /** Resolves as soon as the condition holds, looked at after each emission. */
  until(condition: () => boolean): Promise<void> {
    const met = new Promise<void>((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#watchers.delete(look);
        resolve();
      };
      this.#watchers.add(look);
      look();
    });
    return within(met, () => `not ${String(condition)}, with ${this.seen} records seen`);
  }
}

/** A sink behind HTTP, for workers that are processes of their own. */
export class SinkServer {
  readonly sink = new Sink();
  /** What the sink found wrong; empty at the end of a good test. */
  readonly failures: unknown[] = [];
  /** Resolves before an emission is judged; a test may hold one back here. */
  beforeJudging: (emission: Emission) => Promise<void> = () => Promise.resolve();
  readonly #server: Server;
  readonly #reports = new Map<string, (report: unknown) => void>();

  private constructor() {
    const app = new Hono();
    app.post('/emit', async (c) => {
      const emission = await c.req.json<Emission>();
      await this.beforeJudging(emission);
      try {
        return this.sink.judge(emission) ? c.text('taken') : c.text('outdated', 409);
      } catch (error) {
        this.failures.push(error);
        throw error;
      }
    });
    app.post('/report/:owner', async (c) => {
      this.#reports.get(c.req.param('owner'))?.(await c.req.json());
      return c.text('heard');
    });
    const listener = getRequestListener((request) => app.fetch(request));
    this.#server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  }

  static async start(context: Scope): Promise<SinkServer> {
    const server = new SinkServer();
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    context.after(() => {
      server.#server.closeAllConnections();
      server.#server.close();
    });
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** What the worker says of a checkpoint that it tried behind the library's back. */
  report(owner: string): Promise<unknown> {
    return new Promise((resolve) => this.#reports.set(owner, resolve));
  }
}
