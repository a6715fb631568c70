/**
 * `headgate consume`: one worker of an application. Records go to stdout, a line of JSON each, or
 * batch by batch into a command's stdin; what has been taken there is checkpointed.
 *
 * SIGTERM or SIGINT finishes what is under way and hands the shards over; a second one leaves at
 * once, and what was under way comes again.
 */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { spawn } from 'node:child_process';
import { z } from 'zod';
import { startConsumer, type Batch, type Consumer, type Start } from '../consumer/consumer.ts';
import { ConsumerError } from '../consumer/client.ts';
import { createLogger } from '../observe/logger.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

/** After it was told to end, a command has so long to do so. */
const killAfterMs = 5_000;

interface ConsumeOptions extends ClientOptions {
  readonly application: string;
  readonly exec?: string;
  readonly from: Start;
  readonly maxShards?: number;
  readonly batch: number;
  readonly leaseSeconds: number;
}

export function addConsumeCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  program
    .command('consume')
    .description("read a stream as one of an application's workers, from its checkpoints on")
    .argument('<stream>', 'its name')
    .requiredOption('-a, --application <name>', 'whose checkpoints; made if it is not there')
    .option('--exec <command>', 'give each batch to a command; 0 as its exit code: it is done')
    .addOption(
      new Option('--from <where>', 'earliest, latest or a time, when it is new to the stream')
        .argParser(startOf)
        .default('TRIM_HORIZON', 'earliest'),
    )
    .option('--max-shards <count>', 'how many shards at once', whole(1, 10_000))
    .option('--batch <count>', 'how many records at once', whole(1, 1_000), 1_000)
    .option(
      '--lease-seconds <count>',
      'until others take over what this one had',
      whole(1, 300),
      30,
    )
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .helpOption('-h, --help', 'print this help')
    .allowExcessArguments(false)
    .addHelpText('after', help)
    .action(async (stream: string, options: ConsumeOptions) => {
      finish(await consume(context, stream, options));
    });
}

const help = `
A line is {"shard":0,"sequence":7,"arrivalTime":"…","partitionKey":"…","encoding":"utf8","data":"…"};
data that is no UTF-8 has the encoding base64. Every record comes at least once, in order per
partition key. A command also gets HEADGATE_STREAM, HEADGATE_SHARD and HEADGATE_FENCE, a number that
rises with every worker that has the shard: what comes with a lower one than before is outdated.`;

function startOf(text: string): Start {
  if (text === 'earliest') return 'TRIM_HORIZON';
  if (text === 'latest') return 'LATEST';
  const atMs = z.iso.datetime({ offset: true }).safeParse(text).success ? Date.parse(text) : -1;
  if (atMs >= 0) return { atMs };
  throw new InvalidArgumentError('It is earliest, latest, or a time such as 2026-01-31T09:30:00Z.');
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : -1;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is a whole number from ${min} to ${max}.`);
  };
}

/** @throws UnusableConfig */
async function consume(
  context: CliContext,
  stream: string,
  options: ConsumeOptions,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    return await client.whileLoggedIn(() => work(context, stream, options, client));
  } catch (error) {
    if (!(error instanceof NoAnswer || error instanceof ConsumerError)) throw error;
    context.stderr.write(`headgate: ${error.message}\n`);
    return exitCodes.failed;
  }
}

/** @throws ConsumerError */
async function work(
  context: CliContext,
  stream: string,
  { application, exec, from, maxShards, batch, leaseSeconds }: ConsumeOptions,
  client: GatewayClient,
): Promise<ExitCode> {
  const logger = createLogger({
    level: 'warn',
    format: 'text',
    output: (line) => void context.stderr.write(`${line}\n`),
    color: false,
  });
  const gone = new AbortController();
  const atOnce = new AbortController();
  const consumer = await startConsumer({
    ...client.access,
    ...{ stream, application, start: from, batchRecords: batch, leaseMs: leaseSeconds * 1_000 },
    ...(maxShards === undefined ? {} : { shardsMax: maxShards }),
    emit:
      exec === undefined
        ? (one) => print(context, one, gone)
        : (one) => run(context, exec, one, atOnce.signal),
    fetch: context.fetch,
    clock: context.clock,
    logger,
  });
  const forget = closeOnSignals(context, consumer, gone.signal, atOnce);
  const left = new Promise<void>((resolve) => {
    atOnce.signal.addEventListener('abort', () => resolve());
  });
  try {
    await Promise.race([consumer.ended, left]);
    return gone.signal.aborted || atOnce.signal.aborted ? exitCodes.failed : exitCodes.done;
  } finally {
    forget();
    logger.flush();
  }
}

/**
 * Closes the consumer on the first signal, and when nobody reads what it prints any more; on the
 * second signal `atOnce` aborts. Returns how to stop listening.
 */
function closeOnSignals(
  context: CliContext,
  consumer: Consumer,
  gone: AbortSignal,
  atOnce: AbortController,
): () => void {
  let signals = 0;
  // Whether it fails says `ended`.
  const close = (): void => void consumer.close().catch(() => undefined);
  gone.addEventListener('abort', close);
  return context.onSignal((signal) => {
    if (signal === 'SIGHUP') return;
    signals += 1;
    if (signals === 1) close();
    else atOnce.abort();
  });
}

function linesOf({ shard, records }: Batch): string {
  const lines = records.map(({ sequence, arrivalMs, partitionKey, data }) => {
    const text = data.toString('utf8');
    const encoding = Buffer.from(text, 'utf8').equals(data) ? 'utf8' : 'base64';
    const arrivalTime = new Date(arrivalMs).toISOString();
    return JSON.stringify({
      ...{ shard, sequence, arrivalTime, partitionKey, encoding },
      data: encoding === 'utf8' ? text : data.toString('base64'),
    });
  });
  return `${lines.join('\n')}\n`;
}

/** Resolves when the lines are out. Nobody reads them any more: that is the end of the consumer. */
function print({ stdout }: CliContext, batch: Batch, gone: AbortController): Promise<void> {
  return new Promise((resolve, reject) => {
    stdout.write(linesOf(batch), (error) => {
      if (error === null || error === undefined) {
        resolve();
        return;
      }
      gone.abort();
      reject(error);
    });
  });
}

/**
 * Resolves when the command has ended with 0. It is told to end when the batch is not ours any more,
 * and waited for, so that two never work on one shard.
 */
function run(
  context: CliContext,
  command: string,
  batch: Batch,
  atOnce: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      shell: true,
      cwd: context.folder,
      env: {
        ...context.env,
        HEADGATE_STREAM: batch.stream,
        HEADGATE_SHARD: String(batch.shard),
        HEADGATE_FENCE: String(batch.fence),
      },
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    let cancelKill = (): void => undefined;
    const end = (): void => {
      child.kill('SIGTERM');
      cancelKill = context.clock.setTimer(killAfterMs, () => child.kill('SIGKILL'));
    };
    for (const signal of [batch.signal, atOnce]) signal.addEventListener('abort', end);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      cancelKill();
      for (const one of [batch.signal, atOnce]) one.removeEventListener('abort', end);
      if (code === 0) resolve();
      else reject(new Error(`the command ended with ${signal ?? String(code)}`));
    });
    // A command need not read everything; whether it is done says its exit code.
    child.stdin.on('error', () => undefined);
    child.stdin.end(linesOf(batch));
  });
}
