/** `headgate config`: the configuration in force, secrets masked; or the reference file. */
import { printConfig } from '../config/print.ts';
import { showOrigin } from '../config/problems.ts';
import { printReference } from '../config/reference.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface ConfigCommandOptions extends ConfigOption {
  readonly reference?: boolean;
}

/** @throws UnusableConfig */
export async function showConfig(
  context: CliContext,
  options: ConfigCommandOptions,
): Promise<ExitCode> {
  if (options.reference === true) {
    context.stdout.write(printReference());
    return exitCodes.done;
  }
  const { config, originOf, file } = await loadFor(context, options);
  context.stdout.write(`# ${file ?? 'No configuration file'}; secrets are masked.\n`);
  context.stdout.write(printConfig(config, (path) => showOrigin(originOf(path))));
  return exitCodes.done;
}
