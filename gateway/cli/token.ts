/** `headgate token`: another login token, or all of them taken away. */
import { accessFolder } from '../security/access-files.ts';
import { Tokens } from '../security/tokens.ts';
import type { ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { findGateway } from './find-gateway.ts';
import { counted } from './table.ts';

export interface TokenCommandOptions extends ConfigOption {
  readonly revokeAll?: boolean;
}

/** @throws UnusableConfig, TooManyTokensError */
export async function makeToken(
  context: CliContext,
  options: TokenCommandOptions,
): Promise<ExitCode> {
  const { dataDir } = await findGateway(context, options);
  const tokens = await Tokens.open({ folder: accessFolder(dataDir), clock: context.clock });
  if (options.revokeAll === true) {
    const count = await tokens.revokeAll();
    context.stderr.write(`Revoked ${counted(count, 'token')} and every login.\n`);
    return exitCodes.done;
  }
  const token = await tokens.createToken();
  // The token alone on stdout, for scripts.
  context.stderr.write('A new login token. It is shown only now:\n');
  context.stdout.write(`${token}\n`);
  return exitCodes.done;
}
