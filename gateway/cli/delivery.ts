/** `headgate delivery forget`: lets go of what a delivery that is no longer configured left behind. */
import type { Command } from 'commander';
import { RemovedDeliverySchema } from '../api/rest/schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { addReplayCommand } from './delivery-replay.ts';

export function addDeliveryCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  const delivery = program
    .command('delivery')
    .description('send failed records again, or let go of a delivery that is no longer configured')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false);
  delivery
    .command('forget')
    .description('forget how far a removed delivery had come, and what it still holds')
    .argument('<name>', 'its name; "headgate status" tells')
    .helpOption('-h, --help', 'print this help')
    .allowExcessArguments(false)
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (name: string, options: ClientOptions) => {
      finish(await forget(context, name, options));
    });
  addReplayCommand(delivery, context, finish);
}

/** @throws UnusableConfig */
async function forget(
  context: CliContext,
  name: string,
  options: ClientOptions,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    const path = `/api/v1/deliveries/${encodeURIComponent(name)}/forget`;
    await client.whileLoggedIn(() => client.post(path, RemovedDeliverySchema.pick({ name: true })));
    context.stdout.write(`${name} is forgotten: should it come back, it begins anew.\n`);
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}
