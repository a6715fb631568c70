/** `headgate tail`: prints the records of a stream as they come, a line each. */
import type { Command } from 'commander';
import {
  RecordsSchema,
  ShardsSchema,
  type Records,
  type Shard,
} from '../api/rest/stream-schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

interface TailCommandOptions extends ClientOptions {
  readonly from: string;
  readonly shard?: string;
  readonly count?: string;
  readonly json?: boolean;
}

/** Shorter than what the client waits for an answer; then it looks whether anybody reads on. */
const waitSeconds = 5;
const recordsAtOnce = 500;
/** Each shard is waited for by a request of its own. */
const shardsMax = 64;

export function addTailCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  program
    .command('tail')
    .description('print the records of a stream as they come; order holds within a partition key')
    .argument('<stream>', 'the stream')
    .helpOption('-h, --help', 'print this help')
    .allowExcessArguments(false)
    .option('--from <where>', 'latest, earliest, or a time such as 2026-01-31T09:30:00Z', 'latest')
    .option('--shard <index>', 'one shard only')
    .option('-n, --count <count>', 'end after this many records')
    .option('--json', 'the whole record on each line, as JSON')
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (stream: string, options: TailCommandOptions) => {
      for (const [name, value] of Object.entries({ shard: options.shard, count: options.count })) {
        if (value === undefined || /^\d{1,9}$/.test(value)) continue;
        program.error(`headgate: --${name} takes a whole number, not "${value}".`);
      }
      finish(await tail(context, stream, options));
    });
}

/** @throws UnusableConfig */
async function tail(
  context: CliContext,
  stream: string,
  options: TailCommandOptions,
): Promise<ExitCode> {
  const stop = new AbortController();
  const stopListening = context.onSignal(() => {
    stop.abort();
  });
  try {
    const client = await GatewayClient.find(context, options);
    await client.whileLoggedIn(() => new Tail(context, client, stream, options, stop).run());
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  } finally {
    stopListening();
  }
}

class Tail {
  readonly #context: CliContext;
  readonly #client: GatewayClient;
  readonly #path: string;
  readonly #options: TailCommandOptions;
  readonly #stop: AbortController;
  /** Indexes of the shards that were begun, and those that were read to their end. */
  readonly #begun = new Set<number>();
  readonly #ended = new Set<number>();
  readonly #reading = new Set<Promise<void>>();
  #left: number;

  constructor(
    context: CliContext,
    client: GatewayClient,
    stream: string,
    options: TailCommandOptions,
    stop: AbortController,
  ) {
    this.#context = context;
    this.#client = client;
    this.#path = `/api/v1/streams/${encodeURIComponent(stream)}/shards`;
    this.#options = options;
    this.#stop = stop;
    this.#left = Number(options.count ?? Infinity);
  }

  async run(): Promise<void> {
    if (this.#left === 0) return;
    const { shards } = await this.#client.get(this.#path, ShardsSchema);
    const wanted = this.#wanted(shards);
    if (this.#options.from === 'latest') {
      // What is closed gets nothing new.
      for (const { index, closedTime } of shards) if (closedTime !== null) this.#ended.add(index);
    }
    this.#beginReady(wanted, 'start');
    while (this.#reading.size > 0) await Promise.race(this.#reading);
  }

  /** @throws NoAnswer when there is no such shard, or there are too many */
  #wanted(shards: readonly Shard[]): readonly Shard[] {
    const { shard } = this.#options;
    const wanted = shards.filter(({ index }) => shard === undefined || index === Number(shard));
    if (wanted.length === 0) throw new NoAnswer(`The stream has no shard ${shard ?? 0}.`);
    if (wanted.filter(({ closedTime }) => closedTime === null).length > shardsMax) {
      throw new NoAnswer(`The stream has more than ${shardsMax} open shards: give one by --shard.`);
    }
    return wanted;
  }

  /** Begins the shards whose parents were read to their end. */
  #beginReady(shards: readonly Shard[], at: 'start' | 'child'): void {
    const listed = new Set(shards.map(({ index }) => index));
    for (const { index, parents } of shards) {
      if (this.#begun.has(index) || this.#ended.has(index)) continue;
      if (parents.some((parent) => listed.has(parent) && !this.#ended.has(parent))) continue;
      this.#begun.add(index);
      const reading = this.#follow(index, at).catch((error: unknown) => {
        const stopped = this.#stop.signal.aborted;
        this.#stop.abort();
        if (!stopped) throw error;
      });
      this.#reading.add(reading);
      void reading.then(
        () => this.#reading.delete(reading),
        () => undefined,
      );
    }
  }

  async #follow(index: number, at: 'start' | 'child'): Promise<void> {
    let query = at === 'child' ? 'position=earliest' : await this.#beginning(index);
    while (!this.#stop.signal.aborted) {
      const answer = await this.#get(
        `${this.#path}/${index}/records?${query}&limit=${recordsAtOnce}&waitSeconds=${waitSeconds}`,
      );
      this.#print(index, answer);
      query = `sequence=${answer.nextSequence}`;
      if (!answer.endOfShard) continue;
      this.#ended.add(index);
      if (this.#options.shard !== undefined) return;
      const { shards } = await this.#client.get(this.#path, ShardsSchema);
      this.#beginReady(shards, 'child');
      return;
    }
  }

  async #beginning(index: number): Promise<string> {
    const { from } = this.#options;
    if (from === 'earliest') return 'position=earliest';
    if (from !== 'latest') return `time=${encodeURIComponent(from)}`;
    const { nextSequence, behind } = await this.#get(
      `${this.#path}/${index}/records?position=latest&limit=1`,
    );
    return `sequence=${nextSequence + behind.records}`;
  }

  #get(path: string): Promise<Records> {
    return this.#client.get(path, RecordsSchema, this.#stop.signal);
  }

  #print(shard: number, { records, skipped }: Records): void {
    const { stdout, stderr, stdoutIsTerminal } = this.#context;
    const missing = skipped.trimmed + skipped.corrupt;
    if (missing > 0) {
      stderr.write(`${missing} records of shard ${shard} are gone: expired, or damaged.\n`);
    }
    for (const record of records) {
      if (this.#left <= 0) break;
      this.#left -= 1;
      const text =
        this.#options.json === true
          ? JSON.stringify({ shard, ...record })
          : Buffer.from(record.data, record.encoding).toString();
      stdout.write(`${stdoutIsTerminal ? harmless(text) : text}\n`, (error) => {
        if (error !== null && error !== undefined) this.#stop.abort();
      });
    }
    if (this.#left <= 0) this.#stop.abort();
  }
}

/** Without what would give commands to a terminal. */
function harmless(text: string): string {
  return text.replace(/[^\P{Cc}\t\n]/gu, '\uFFFD');
}
