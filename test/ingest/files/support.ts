/** A real store, real files, and a source between them. */
import { appendFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { FileSource, type FileSourceOptions } from '../../../ingest/files/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import type { LogRecord } from '../../../storage/model.ts';
import { openStore, type Store } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export const streamName = 'lines';

/** So short that no test waits; what is promised does not depend on them. */
export const quickTiming = {
  gatherMs: 1,
  scanMs: 50,
  unwatchedScanMs: 50,
  rotatedQuietMs: 200,
  refusedMs: 5,
};

export const plain = {
  name: 'app',
  stream: streamName,
  from: 'beginning',
  multiline: { startPattern: null, flushSeconds: 0.2 },
  convert: 'none',
  csv: { delimiter: ',', fields: [] },
  regex: { pattern: null, fields: [] },
  partitionKey: '{path}',
  maxLineBytes: 1024,
} as const satisfies Partial<FileSourceOptions>;

/** A store with a stream of one shard, so that the order of all records shows. */
export async function openLineStore(folder: string): Promise<Store> {
  const store = await openStore({
    folder,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  });
  await store.log.ensureStream({
    name: streamName,
    shardCount: 1,
    mode: 'on-demand',
    retentionMs: 24 * 3_600_000,
    maxBytes: null,
    whenFull: 'refuse',
  });
  return store;
}

export async function readRecords(store: Store): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  const shard = store.log.stream(streamName).shards[0]!;
  for (let fromSequence = 0; ;) {
    const read = { fromSequence, maxRecords: 10_000, maxBytes: 10 * 1024 * 1024 };
    const result = await store.log.read({ shardId: shard.id, ...read });
    if (result.records.length === 0) return records;
    records.push(...result.records);
    fromSequence = result.nextSequence;
  }
}

/** Everything stored, once there are so many records. */
export async function untilRecords(
  store: Store,
  count: number,
  signal: AbortSignal,
): Promise<readonly LogRecord[]> {
  const shard = store.log.stream(streamName).shards[0]!;
  for (;;) {
    const records = await readRecords(store);
    if (records.length >= count || signal.aborted) return records;
    await store.log.waitForRecords(shard.id, records.length, signal);
  }
}

export interface RunningSource {
  readonly source: FileSource;
  /** It has looked once. */
  readonly ready: Promise<unknown>;
  readonly ended: Promise<void>;
  stop(): Promise<void>;
}

export function startSource(
  options: Partial<FileSourceOptions> & Pick<FileSourceOptions, 'path' | 'places'>,
): RunningSource {
  const source = new FileSource({
    ...plain,
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
    random: Math.random,
    timing: quickTiming,
    ...options,
  });
  const abort = new AbortController();
  let isReady: () => void = () => undefined;
  const ready = new Promise<void>((resolve) => (isReady = resolve));
  const ended = source.run({ signal: abort.signal, ready: isReady });
  const stop = (): Promise<void> => {
    abort.abort();
    return ended;
  };
  return { source, ready: Promise.race([ready, ended]), ended, stop };
}

export type RigOptions = Partial<FileSourceOptions>;

/** What a test does: write files in `logs`, and wait for lines. */
export class Rig {
  readonly logs: string;
  readonly logger = new MemoryLogger();
  readonly metrics = new MemoryMetrics();
  store: Store;
  readonly #context: TestContext;
  readonly #dataFolder: string;
  #running: RunningSource | null = null;

  private constructor(context: TestContext, logs: string, dataFolder: string, store: Store) {
    this.#context = context;
    this.logs = logs;
    this.#dataFolder = dataFolder;
    this.store = store;
  }

  static async make(context: TestContext): Promise<Rig> {
    keepAlive(context);
    const [logs, data] = [await temporaryFolder(context), await temporaryFolder(context)];
    const rig = new Rig(context, logs, data, await openLineStore(data));
    context.after(async () => {
      await rig.stop();
      await rig.store.close();
    });
    return rig;
  }

  path(name: string): string {
    return join(this.logs, name);
  }

  /** Appends to a file, as programs that log do. */
  async write(name: string, text: string | Buffer): Promise<void> {
    await appendFile(this.path(name), text);
  }

  get source(): FileSource {
    if (this.#running === null) throw new Error('no source runs');
    return this.#running.source;
  }

  /** Starts a source; resolves when it has looked once. */
  async start(options: RigOptions = {}): Promise<FileSource> {
    const { logger, metrics } = this;
    const parts = { logger, metrics, places: this.store.places };
    const running = startSource({ path: this.path('*.log'), ...parts, ...options });
    this.#running = running;
    await running.ready;
    return running.source;
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.stop();
  }

  /** How it ended by itself. */
  async ended(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    await running?.ended;
  }

  /** As after a restart of the gateway. */
  async reopen(): Promise<void> {
    await this.stop();
    await this.store.close();
    this.store = await openLineStore(this.#dataFolder);
  }

  async lines(count: number): Promise<readonly string[]> {
    const records = await untilRecords(this.store, count, this.#context.signal);
    return records.map(({ data }) => data.toString());
  }

  /** All lines, once another one, written after whatever the test did, has come too. */
  async linesBehind(name: string): Promise<readonly string[]> {
    const fence = `fence ${Math.random()}`;
    await this.write(name, `${fence}\n`);
    for (let count = 1; ; count += 1) {
      const lines = await this.lines(count);
      if (lines.includes(fence) || this.#context.signal.aborted) {
        return lines.filter((line) => !line.startsWith('fence '));
      }
      count = lines.length;
    }
  }
}

/** The clock's timers do not keep a process alive; in a gateway its sockets do. */
export function keepAlive(context: TestContext): void {
  const timer = setInterval(() => undefined, 60_000);
  context.after(() => {
    clearInterval(timer);
  });
}

/** Empties a file in place, as logrotate's copytruncate does after copying. */
export async function truncate(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.truncate(0);
  await handle.close();
}
