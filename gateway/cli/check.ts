/** `headgate check`: verifies the store (storage/check.ts) and prints what it finds, as it does. */
import { checkStore } from '../../storage/check.ts';
import type { Finding } from '../../storage/finding.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface CheckCommandOptions extends ConfigOption {
  readonly json?: boolean;
}

/** @throws UnusableConfig; StorageError when there is no store to check */
export async function check(context: CliContext, options: CheckCommandOptions): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  const count = { error: 0, warning: 0 };
  const findings = checkStore({
    folder: config.dataDir,
    ...(config.mediaDir === null ? {} : { mediaFolder: config.mediaDir }),
  });
  for await (const finding of findings) {
    count[finding.severity] += 1;
    context.stdout.write(
      options.json === true ? `${JSON.stringify(finding)}\n` : showFinding(finding),
    );
  }
  const clean = count.error + count.warning === 0;
  if (options.json !== true) {
    context.stdout.write(
      clean
        ? `${config.dataDir} is sound.\n`
        : `${config.dataDir}: ${count.error} errors, ${count.warning} warnings.\n`,
    );
  }
  return clean ? exitCodes.done : exitCodes.failed;
}

export function showFinding({ severity, code, where, what, advice }: Finding): string {
  return `${severity} ${code}: ${where}: ${what}\n    ${advice}\n`;
}
