/** `headgate credentials`: what `listen: lan` made where nobody was configured, for who sets up devices. */
import { readIdentity } from '../identity.ts';
import { madeCredentials, openingOf } from '../opening.ts';
import { introduceLan } from '../announcement.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

/** @throws UnusableConfig; Error for a certificate that can't be used */
export async function showCredentials(
  context: CliContext,
  options: ConfigOption,
): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  if (config.listen !== 'lan') {
    context.stderr.write(
      'The gateway listens on loopback, and makes no credentials. "listen: lan" opens it.\n',
    );
    return exitCodes.failed;
  }
  const identity = await readIdentity(config.dataDir);
  if (identity === null) {
    context.stderr.write(`There are none in ${config.dataDir} before the first start.\n`);
    return exitCodes.failed;
  }
  const opening = await openingOf(config, context.clock.nowMs(), 'look');
  const lines = introduceLan(config, opening, madeCredentials(config, identity.secret));
  context.stdout.write(`${lines.join('\n')}\n`);
  return exitCodes.done;
}
