/** `headgate export`: footage of a piece of time into a file, an MP4 or, of several cameras, a zip. */
import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import { ErrorSchema } from '../api/rest/error-schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

interface ExportOptions extends ClientOptions {
  readonly from: string;
  readonly to: string;
  readonly output?: string;
}

export function addExportCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  program
    .command('export')
    .description('write footage into a file: an MP4, or a zip where several cameras are named')
    .argument('<camera...>', 'the cameras')
    .helpOption('-h, --help', 'print this help')
    .requiredOption('--from <time>', 'the beginning, such as 2026-01-31T09:30:00Z')
    .requiredOption('--to <time>', 'the end')
    .option('-o, --output <file>', 'the file; otherwise one named after camera and time, here')
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (cameras: readonly string[], options: ExportOptions) => {
      finish(await exportFootage(context, cameras, options));
    });
}

/** @throws UnusableConfig */
async function exportFootage(
  context: CliContext,
  cameras: readonly string[],
  options: ExportOptions,
): Promise<ExitCode> {
  const stop = new AbortController();
  const stopListening = context.onSignal(() => {
    stop.abort();
  });
  try {
    const client = await GatewayClient.find(context, options);
    const file = await client.whileLoggedIn(() =>
      download(context, client, cameras, options, stop.signal),
    );
    context.stdout.write(`${file}\n`);
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  } finally {
    stopListening();
  }
}

/** @returns the file @throws NoAnswer */
async function download(
  context: CliContext,
  client: GatewayClient,
  cameras: readonly string[],
  { from, to, output }: ExportOptions,
  signal: AbortSignal,
): Promise<string> {
  const { url, headers } = client.access;
  const response = await context
    .fetch(new URL(pathOf(cameras, from, to), url), { headers, signal })
    .catch((error: unknown) => {
      throw new NoAnswer(`The gateway does not answer: ${String(error)}`, { cause: error });
    });
  if (!response.ok || response.body === null) throw await refusal(response);
  const named = /filename="([\w.-]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1];
  const file = resolve(context.folder, output ?? named ?? 'export.mp4');
  // Whatever is there already stays.
  const target = createWriteStream(file, { flags: 'wx' });
  try {
    await pipeline(Readable.fromWeb(response.body), target);
    return file;
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST';
    if (!isThere) await rm(file, { force: true });
    const why = error instanceof Error ? error.message : String(error);
    throw new NoAnswer(isThere ? `${file} is there already.` : `The export broke off: ${why}`, {
      cause: error,
    });
  }
}

function pathOf(cameras: readonly string[], from: string, to: string): string {
  const [first = '', ...others] = cameras;
  const range = new URLSearchParams({ from, to });
  const one = `/api/v1/cameras/${encodeURIComponent(first)}/export.mp4`;
  if (others.length === 0) return `${one}?${range.toString()}`;
  for (const camera of cameras) range.append('camera', camera);
  return `/api/v1/export.zip?${range.toString()}`;
}

async function refusal(response: Response): Promise<NoAnswer> {
  const body = ErrorSchema.safeParse(await response.json().catch(() => null));
  if (!body.success) return new NoAnswer(`The gateway answered with ${response.status}.`);
  const { code, message } = body.data.error;
  return new NoAnswer(message, { code });
}
