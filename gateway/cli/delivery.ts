/**
 * `headgate delivery`: holds a delivery back, lets it go on, puts it elsewhere, and lets go of what one
 * that is no longer configured left behind.
 */
import type { Command } from 'commander';
import {
  DeliverySchema,
  RemovedDeliverySchema,
  ReplaySchema,
  type Delivery,
} from '../api/rest/schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { counted, formatBytes } from './table.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export function addDeliveryCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  const delivery = program
    .command('delivery')
    .description(
      'pause, resume or rewind a delivery, send its failed records again, or forget one that is no longer configured',
    )
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false);
  addCommand(delivery, 'pause', {
    description:
      'begin nothing any more, also after restarts; a required delivery keeps what it has not sent, within the byte limit of its source',
    run: async (name, options) => finish(await change(context, name, 'pause', options)),
  });
  addCommand(delivery, 'resume', {
    description: 'go on where it was paused',
    run: async (name, options) => finish(await change(context, name, 'resume', options)),
  });
  addCommand(delivery, 'rewind', {
    description:
      'begin anew elsewhere: what came since then is sent, again where it was before, in objects of the next version',
    run: async (name, options) => finish(await change(context, name, 'rewind', options)),
  }).requiredOption('--to <time>', 'earliest, latest, or a time such as 2026-01-31T09:30:00Z');
  addCommand(delivery, 'replay', {
    description: 'send the records again that failed by now, which are in the stream failed.<name>',
    run: async (name, options) => finish(await replay(context, name, options)),
  });
  addCommand(delivery, 'forget', {
    description: 'forget how far a removed delivery had come, and what it still holds',
    run: async (name, options) => finish(await forget(context, name, options)),
  });
}

interface DeliveryCommandOptions extends ClientOptions {
  /** Of a rewind. */
  readonly to?: string;
}

function addCommand(
  delivery: Command,
  name: string,
  command: {
    readonly description: string;
    readonly run: (name: string, options: DeliveryCommandOptions) => Promise<void>;
  },
): Command {
  return delivery
    .command(name)
    .description(command.description)
    .argument('<name>', 'the name of a delivery; "headgate status" tells')
    .helpOption('-h, --help', 'print this help')
    .allowExcessArguments(false)
    .option('-c, --config <file>', 'the configuration file')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(command.run);
}

/** @throws UnusableConfig */
function change(
  context: CliContext,
  name: string,
  what: 'pause' | 'resume' | 'rewind',
  options: DeliveryCommandOptions,
): Promise<ExitCode> {
  return asked(context, async () => {
    const client = await GatewayClient.find(context, options);
    const path = `/api/v1/deliveries/${encodeURIComponent(name)}/${what}`;
    const body = what === 'rewind' ? { to: options.to } : undefined;
    const delivery = await client.whileLoggedIn(() => client.post(path, DeliverySchema, body));
    return `${said[what](delivery)} ${waitingText(delivery)}\n`;
  });
}

const said = {
  pause: ({ name }: Delivery) => `${name} is paused.`,
  resume: ({ name, held }: Delivery) =>
    held === null ? `${name} goes on.` : `${name} is no longer paused, and waits: ${held.reason}.`,
  rewind: ({ name, held }: Delivery) =>
    held === null ? `${name} begins anew.` : `${name} will begin anew, and waits: ${held.reason}.`,
} as const;

function waitingText({ backlog, from, required }: Delivery): string {
  if (backlog.records === 0) return 'Nothing waits to be sent.';
  const what = counted(backlog.records, from.kind === 'camera' ? 'file' : 'record');
  const kept = required ? ', kept within the byte limit of its source' : '';
  return `${what} (${formatBytes(backlog.bytes)}) to send${kept}.`;
}

/** @throws UnusableConfig */
function replay(context: CliContext, name: string, options: ClientOptions): Promise<ExitCode> {
  return asked(context, async () => {
    const client = await GatewayClient.find(context, options);
    const path = `/api/v1/deliveries/${encodeURIComponent(name)}/replay`;
    const { records } = await client.whileLoggedIn(() => client.post(path, ReplaySchema));
    return records === 0
      ? `${name} has no failed records.\n`
      : `${name} sends ${counted(records, 'failed record')} again; what fails once more is kept.\n`;
  });
}

/** @throws UnusableConfig */
function forget(context: CliContext, name: string, options: ClientOptions): Promise<ExitCode> {
  return asked(context, async () => {
    const client = await GatewayClient.find(context, options);
    const path = `/api/v1/deliveries/${encodeURIComponent(name)}/forget`;
    await client.whileLoggedIn(() => client.post(path, RemovedDeliverySchema.pick({ name: true })));
    return `${name} is forgotten: should it come back, it begins anew.\n`;
  });
}

/** Prints what came of it, or why nothing did. @throws UnusableConfig */
async function asked(context: CliContext, ask: () => Promise<string>): Promise<ExitCode> {
  try {
    context.stdout.write(await ask());
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}
