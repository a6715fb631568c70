/**
 * `headgate credentials`: how other machines get in, with what `listen: lan` made where nobody was
 * configured, for who sets up devices. What runs counts; without it, what the configuration says.
 */
import { introduceLan } from '../announcement.ts';
import { entrancesOf, loginsOf, type Entrances } from '../entrances.ts';
import { readIdentity } from '../identity.ts';
import { openingOf } from '../opening.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { findGateway } from './find-gateway.ts';

/** @throws UnusableConfig, when none runs; Error for a certificate that can't be used */
export async function showCredentials(
  context: CliContext,
  options: ConfigOption,
): Promise<ExitCode> {
  const { dataDir, running } = await findGateway(context, options);
  const entrances =
    running === null ? await configuredEntrances(context, options) : running.entrances;
  if (entrances === null) {
    context.stderr.write(
      'The gateway listens on loopback, and makes no credentials. "listen: lan" opens it.\n',
    );
    return exitCodes.failed;
  }
  const identity = await readIdentity(dataDir);
  if (identity === null) {
    context.stderr.write(`There are none in ${dataDir} before the first start.\n`);
    return exitCodes.failed;
  }
  const lines = introduceLan(entrances, loginsOf(entrances, identity.secret), null);
  context.stdout.write(`${lines.join('\n')}\n`);
  return exitCodes.done;
}

async function configuredEntrances(
  context: CliContext,
  options: ConfigOption,
): Promise<Entrances | null> {
  const { config, file } = await loadFor(context, options);
  const opening = await openingOf(config, context.clock.nowMs(), 'look');
  return entrancesOf(config, opening, file === null);
}
