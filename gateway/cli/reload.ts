/** `headgate reload`: the running gateway loads its configuration again and says what it took over. */
import { ReloadSchema, type ReloadAnswer } from '../api/rest/schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface ReloadCommandOptions extends ConfigOption, ClientOptions {
  readonly json?: boolean;
}

/** @throws UnusableConfig: the file is no better for the gateway than for this command */
export async function reload(
  context: CliContext,
  options: ReloadCommandOptions,
): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  try {
    const client = new GatewayClient(context, config, options);
    const answer = await client.whileLoggedIn(() => client.post('/api/v1/reload', ReloadSchema));
    context.stdout.write(
      options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : show(answer),
    );
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}

function show({ changed, needsRestart, withoutEffect }: ReloadAnswer): string {
  const lines = [
    changed.length === 0 ? 'Nothing changed.' : `Taken over: ${changed.join(', ')}.`,
    ...(needsRestart.length === 0 ? [] : [`Needs a restart: ${needsRestart.join(', ')}.`]),
    ...withoutEffect.map((remark) => `Warning: ${remark}.`),
  ];
  return `${lines.join('\n')}\n`;
}
