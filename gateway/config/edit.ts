/**
 * Changes a configuration file as its owner would: a camera more or less, every comment and all
 * else as it was. Nothing is written that could not be loaded afterwards.
 *
 * What changes in the text is in camera-text.ts. The file is replaced in one step (written beside, synced, renamed), so that neither a power cut
 * nor a gateway that looks at that moment finds half of it. A link is followed, and the file keeps
 * its mode: it may hold passwords.
 */
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readFileText } from './files.ts';
import { parseConfig } from './load.ts';
import { ConfigError } from './problems.ts';
import type { Config } from './schema.ts';
import { messageOf, type Environment } from './substitute.ts';

export interface ConfigEdit {
  /** How the file is called in problems. */
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly env: Environment;
  /** Makes the new text of the old one. */
  readonly change: (text: string) => string;
  /** Looks at what the configuration would be; may refuse by throwing. */
  readonly accept?: (config: Config) => void;
  /** Goes through everything but writing. */
  readonly dryRun?: boolean;
}

const newFileMode = 0o600;

/** The file can't be written (or read): the message says why, for people. */
export class ConfigNotWritable extends Error {
  override readonly name = 'ConfigNotWritable';
}

/**
 * Applies a change to a configuration file; a file that is not there counts as empty, and is made.
 *
 * @returns the configuration as it is now
 * @throws ConfigError when it would not be valid afterwards, or was not before; ConfigNotWritable
 */
export async function editConfigFile({
  name,
  path,
  env,
  change,
  accept,
  dryRun,
}: ConfigEdit): Promise<Config> {
  const { text, target, mode } = await current(path);
  const changed = change(text);
  const result = parseConfig({ name, text: changed, folder: dirname(path), env });
  if (!result.ok) throw new ConfigError(result.problems);
  accept?.(result.config);
  if (changed === text || dryRun === true) return result.config;
  const beside = join(dirname(target), `.${name.replace(/\W/g, '_').slice(-64)}.new`);
  try {
    const file = await open(beside, 'w', mode);
    try {
      await file.chmod(mode);
      await file.writeFile(changed);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, target);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => undefined);
    throw new ConfigNotWritable(`${name} can't be written: ${messageOf(error)}`, { cause: error });
  }
  return result.config;
}

async function current(path: string): Promise<{ text: string; target: string; mode: number }> {
  try {
    const target = await realpath(path);
    const { mode } = await stat(target);
    return { text: await readFileText(target), target, mode: mode & 0o777 };
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return { text: '', target: path, mode: newFileMode };
    }
    throw new ConfigNotWritable(`${path} can't be read: ${messageOf(error)}`, { cause: error });
  }
}
