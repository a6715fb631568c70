/** `headgate put`: records for a stream, from the command line, standard input or a file. */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { split } from '../../ingest/files/split.ts';
import { PlacesSchema, type Places } from '../api/rest/stream-schemas.ts';
import { messageOf } from '../config/substitute.ts';
import { codeOf } from '../security/access-files.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

interface PutCommandOptions extends ClientOptions {
  readonly key?: string;
  readonly file?: string;
  readonly json?: boolean;
}

/** What one request takes; its records are stored together, or none of them. */
const requestRecordsMax = 500;
const requestBytesMax = 1024 * 1024;
const recordBytesMax = 8 * 1024 * 1024;

export function addPutCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  program
    .command('put')
    .description('put records into a stream; without data, the lines of standard input')
    .argument('<stream>', 'the stream')
    .argument('[data...]', 'a record each')
    .helpOption('-h, --help', 'print this help')
    .option('-k, --key <key>', 'the partition key of all of them; random ones otherwise')
    .option('-f, --file <file>', 'the lines of a file instead')
    .option('--json', 'print where each record is, as JSON')
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (stream: string, data: readonly string[], options: PutCommandOptions) => {
      if (data.length > 0 && options.file !== undefined) {
        program.error('headgate: put takes records from its arguments or from --file, not both.');
      }
      finish(await put(context, stream, data, options));
    });
}

/** @throws UnusableConfig */
async function put(
  context: CliContext,
  stream: string,
  data: readonly string[],
  options: PutCommandOptions,
): Promise<ExitCode> {
  let count = 0;
  try {
    const client = await GatewayClient.find(context, options);
    await client.whileLoggedIn(async () => {
      for await (const records of requestsOf(recordsFrom(context, data, options.file))) {
        const places = await send(client, stream, records, options.key);
        count += places.length;
        if (options.json !== true) continue;
        for (const place of places) context.stdout.write(`${JSON.stringify(place)}\n`);
      }
    });
    if (options.json !== true) context.stdout.write(`${recordsText(count)} put into ${stream}.\n`);
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer) && !(error instanceof BadInput)) throw error;
    const stored =
      count === 0 ? '' : ` Before that, ${recordsText(count)} were put into ${stream}.`;
    context.stderr.write(`${error.message}${stored}\n`);
    return exitCodes.failed;
  }
}

function recordsText(count: number): string {
  return count === 1 ? '1 record' : `${count} records`;
}

async function send(
  client: GatewayClient,
  stream: string,
  records: readonly Buffer[],
  partitionKey: string | undefined,
): Promise<Places['places']> {
  const path = `/api/v1/streams/${encodeURIComponent(stream)}/records`;
  const body = records.map((data) => {
    const encoding = isUtf8(data) ? 'utf8' : 'base64';
    const record = { encoding, data: data.toString(encoding) };
    return partitionKey === undefined ? record : { ...record, partitionKey };
  });
  return (await client.post(path, PlacesSchema, { records: body })).places;
}

/** Input that can't be put; the message says why. */
class BadInput extends Error {
  override readonly name = 'BadInput';
}

/** Records as they become known, in lists. */
async function* recordsFrom(
  context: CliContext,
  data: readonly string[],
  file: string | undefined,
): AsyncGenerator<readonly Buffer[]> {
  if (data.length > 0) {
    yield data.map((text) => Buffer.from(text));
    return;
  }
  const input =
    file === undefined ? context.stdin() : createReadStream(resolve(context.folder, file));
  try {
    yield* linesOf(input);
  } catch (error) {
    if (error instanceof BadInput) throw error;
    const what = file ?? 'Standard input';
    throw new BadInput(`${what} can't be read: ${reasonOf(error)}.`, { cause: error });
  }
}

/** Without the name of the file, which is told already. */
function reasonOf(error: unknown): string {
  const [reason = ''] = messageOf(error).split(', ', 1);
  return codeOf(error) === undefined ? messageOf(error) : reason;
}

async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<readonly Buffer[]> {
  let rest = Buffer.alloc(0);
  const take = (endLine: boolean): readonly Buffer[] => {
    const options = {
      maxLineBytes: recordBytesMax,
      starts: null,
      recordsMax: requestRecordsMax,
      endRecord: endLine,
      endLine,
    };
    const { records, consumed, cut } = split(rest, 'nothing', options);
    if (cut.count > 0) throw new BadInput(`A line is longer than ${recordBytesMax} bytes.`);
    rest = rest.subarray(consumed);
    return records;
  };
  for await (const piece of input) {
    rest = Buffer.concat([rest, piece]);
    for (let lines = take(false); lines.length > 0; lines = take(false)) yield lines;
  }
  for (let lines = take(true); lines.length > 0; lines = take(true)) yield lines;
}

/** The same records, in lists that a request takes. */
async function* requestsOf(
  lists: AsyncIterable<readonly Buffer[]>,
): AsyncGenerator<readonly Buffer[]> {
  for await (const list of lists) {
    let request: Buffer[] = [];
    let bytes = 0;
    for (const record of list) {
      const isFull = request.length >= requestRecordsMax || bytes + record.length > requestBytesMax;
      if (request.length > 0 && isFull) {
        yield request;
        request = [];
        bytes = 0;
      }
      request.push(record);
      bytes += record.length;
    }
    if (request.length > 0) yield request;
  }
}
