/** `headgate delivery replay`: sends the records of a delivery again that could not go on. */
import type { Command } from 'commander';
import { ReplaySchema } from '../api/rest/schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export function addReplayCommand(
  delivery: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  delivery
    .command('replay')
    .description('send the records again that failed by now, which are in the stream failed.<name>')
    .argument('<name>', 'its name; "headgate status" tells')
    .helpOption('-h, --help', 'print this help')
    .allowExcessArguments(false)
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (name: string, options: ClientOptions) => {
      finish(await replay(context, name, options));
    });
}

/** @throws UnusableConfig */
async function replay(
  context: CliContext,
  name: string,
  options: ClientOptions,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    const path = `/api/v1/deliveries/${encodeURIComponent(name)}/replay`;
    const { records } = await client.whileLoggedIn(() => client.post(path, ReplaySchema));
    context.stdout.write(
      records === 0
        ? `${name} has no failed records.\n`
        : `${name} sends ${records} failed records again; those that fail once more are kept.\n`,
    );
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}
