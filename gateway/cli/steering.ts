/** What `headgate delivery` and `headgate function` share: commands about one that a gateway runs. */
import type { Command } from 'commander';
import type { z } from 'zod';
import { RemovedDeliverySchema } from '../api/rest/delivery-schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface SteeringOptions extends ClientOptions {
  /** Of a rewind. */
  readonly to?: string;
  /** Of forgetting. */
  readonly force?: boolean;
}

/** What may be held back. */
interface Steered {
  readonly name: string;
  readonly held: { readonly reason: string } | null;
}

export interface SteeringCommands<T extends Steered, R> {
  /** `delivery`, as it is typed. */
  readonly what: string;
  /** The part of paths that it is called in the API. */
  readonly path: 'deliveries' | 'functions';
  readonly schema: z.ZodType<T>;
  readonly replaySchema: z.ZodType<R>;
  readonly description: string;
  readonly about: Readonly<Record<'pause' | 'rewind' | 'replay' | 'forget', string>>;
  /** What forgetting with force does besides; left out: it takes none. */
  readonly forced?: string;
  /** What waits, in a sentence. */
  readonly waiting: (one: T) => string;
  /** What comes of a replay, in a sentence. */
  readonly replayed: (answer: R) => string;
}

export function addSteeringCommands<T extends Steered, R>(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
  commands: SteeringCommands<T, R>,
): void {
  const { what, about, description } = commands;
  const group = program
    .command(what)
    .description(description)
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false);
  const add = (
    command: string,
    text: string,
    ask: (client: GatewayClient, path: string, options: SteeringOptions) => Promise<string>,
  ): Command =>
    group
      .command(command)
      .description(text)
      .argument('<name>', `the name of a ${what}; "headgate status" tells`)
      .helpOption('-h, --help', 'print this help')
      .allowExcessArguments(false)
      .option('-c, --config <file>', 'the configuration file')
      .option('--url <url>', 'where the gateway is; the configured address otherwise')
      .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
      .action(async (name: string, options: SteeringOptions) => {
        const path = `/api/v1/${commands.path}/${encodeURIComponent(name)}/${command}`;
        finish(await asked(context, options, (client) => ask(client, path, options)));
      });
  const change = (command: 'pause' | 'resume' | 'rewind', text: string): Command =>
    add(command, text, async (client, path, { to }) => {
      const body = command === 'rewind' ? { to } : undefined;
      const one = await client.whileLoggedIn(() => client.post(path, commands.schema, body));
      return `${said[command](one)} ${commands.waiting(one)}`;
    });
  change('pause', about.pause);
  change('resume', 'go on where it was paused');
  change('rewind', about.rewind).requiredOption(
    '--to <time>',
    'earliest, latest, or a time such as 2026-01-31T09:30:00Z',
  );
  add('replay', about.replay, async (client, path) =>
    commands.replayed(await client.whileLoggedIn(() => client.post(path, commands.replaySchema))),
  );
  const forget = add('forget', about.forget, async (client, path, { force = false }) => {
    const schema = RemovedDeliverySchema.pick({ name: true });
    const query = force ? '?force=true' : '';
    const { name } = await client.whileLoggedIn(() => client.post(`${path}${query}`, schema));
    return `${name} is forgotten: should it come back, it begins anew.`;
  });
  if (commands.forced !== undefined) forget.option('--force', commands.forced);
}

const said = {
  pause: ({ name }: Steered) => `${name} is paused.`,
  resume: ({ name, held }: Steered) =>
    held === null ? `${name} goes on.` : `${name} is no longer paused, and waits: ${held.reason}.`,
  rewind: ({ name, held }: Steered) =>
    held === null ? `${name} begins anew.` : `${name} will begin anew, and waits: ${held.reason}.`,
} as const;

/** Prints what came of it, or why nothing did. @throws UnusableConfig */
async function asked(
  context: CliContext,
  options: ClientOptions,
  ask: (client: GatewayClient) => Promise<string>,
): Promise<ExitCode> {
  try {
    context.stdout.write(`${await ask(await GatewayClient.find(context, options))}\n`);
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}
