/** `headgate reload`: the running gateway loads its configuration again and says what it took over. */
import { ReloadSchema, type ReloadAnswer } from '../api/rest/operation-schemas.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface ReloadCommandOptions extends ClientOptions {
  readonly json?: boolean;
}

/** @throws UnusableConfig, when none runs; a file that the gateway can't use is its answer */
export async function reload(
  context: CliContext,
  options: ReloadCommandOptions,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    const answer = await client.whileLoggedIn(() => client.post('/api/v1/reload', ReloadSchema));
    context.stdout.write(
      options.json === true ? `${JSON.stringify(answer, null, 2)}\n` : show(answer),
    );
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    const isRefused = error.code === 'invalid-configuration';
    const told = isRefused ? 'The configuration stays as it was. The file has problems:\n' : '';
    context.stderr.write(`${told}${error.message}\n`);
    return isRefused ? exitCodes.configuration : exitCodes.failed;
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
