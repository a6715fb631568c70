/**
 * `headgate check`: verifies the store (storage/check.ts) and prints what it finds, as it does.
 * `--repair` mends it (storage/repair.ts), says what it does, and verifies again.
 */
import { join } from 'node:path';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import type { Finding } from '../../storage/finding.ts';
import { StoreLock } from '../../storage/lock.ts';
import { repairStore } from '../../storage/repair.ts';
import { mediaFolderName } from '../../storage/store.ts';
import type { Config } from '../config/schema.ts';
import { findMasterKey } from '../security/master-key.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { counted } from './table.ts';

export interface CheckCommandOptions extends ConfigOption {
  readonly json?: boolean;
  readonly repair?: boolean;
}

/** @throws UnusableConfig; StorageError when there is no store to check, or it is in use */
export async function check(context: CliContext, options: CheckCommandOptions): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  const clean = await verify(context, config, options);
  if (clean || options.repair !== true) return clean ? exitCodes.done : exitCodes.failed;
  await repair(context, config, options);
  return (await verify(context, config, options)) ? exitCodes.done : exitCodes.failed;
}

/** Prints what is wrong; answers whether nothing is. */
async function verify(
  context: CliContext,
  config: Config,
  { json }: CheckCommandOptions,
): Promise<boolean> {
  const count = { error: 0, warning: 0 };
  const findings = checkStore({
    folder: config.dataDir,
    ...(config.mediaDir === null ? {} : { mediaFolder: config.mediaDir }),
    masterKey: () => findMasterKey({ config, clock: context.clock, fetch: context.fetch }),
  });
  for await (const finding of findings) {
    count[finding.severity] += 1;
    context.stdout.write(json === true ? `${JSON.stringify(finding)}\n` : showFinding(finding));
  }
  const clean = count.error + count.warning === 0;
  if (json !== true) {
    context.stdout.write(
      clean
        ? `${config.dataDir} is sound.\n`
        : `${config.dataDir}: ${counted(count.error, 'error')}, ${counted(count.warning, 'warning')}.\n`,
    );
  }
  return clean;
}

async function repair(
  context: CliContext,
  { dataDir, mediaDir }: Config,
  { json }: CheckCommandOptions,
): Promise<void> {
  const nowMs = context.clock.nowMs();
  const holder = `headgate check, process ${context.pid}`;
  const lock = await StoreLock.take(dataDir, holder, nowMs).catch((error: unknown) => {
    if (!(error instanceof StorageError) || error.code !== 'already-exists') throw error;
    const message = `${error.message}: stop it first, then repair; nothing was changed`;
    throw new StorageError(error.code, message, { cause: error });
  });
  try {
    const mediaFolder = mediaDir ?? join(dataDir, mediaFolderName);
    for await (const done of repairStore({ folder: dataDir, mediaFolder, nowMs })) {
      context.stdout.write(
        json === true ? `${JSON.stringify({ repaired: done })}\n` : `repaired: ${done}\n`,
      );
    }
  } finally {
    await lock.release();
  }
}

export function showFinding({ severity, code, where, what, advice }: Finding): string {
  return `${severity} ${code}: ${where}: ${what}\n    ${advice}\n`;
}
