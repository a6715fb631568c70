/** Which configuration a command works with: --config, HEADGATE_CONFIG, ./headgate.yaml, none. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { loadConfig, type ConfigResult } from '../config/load.ts';
import { showProblem, type Problem } from '../config/problems.ts';
import type { CliContext } from './context.ts';

export const defaultFile = 'headgate.yaml';

export interface ConfigOption {
  readonly config?: string;
}

export type LoadedConfig = Extract<ConfigResult, { ok: true }> & {
  /** As it was named; null: there is none. */
  readonly file: string | null;
  /** What its relative paths start from; absolute. */
  readonly folder: string;
  /** Loads the same file, under the same environment, once more. */
  readonly load: () => Promise<ConfigResult>;
};

/** The configuration that can't be used; what is wrong with it is told in the message. */
export class UnusableConfig extends Error {
  override readonly name = 'UnusableConfig';
  readonly problems: readonly Problem[];

  constructor(file: string | null, problems: readonly Problem[]) {
    const what = file ?? 'The environment';
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    super(
      [`${what} has ${count}:`, ...problems.map((problem) => `  ${showProblem(problem)}`)].join(
        '\n',
      ),
    );
    this.problems = problems;
  }
}

/** The file, as it was named; null: there is none. */
export function fileFor(context: CliContext, option: ConfigOption): string | null {
  const named = option.config ?? nonEmpty(context.env['HEADGATE_CONFIG']);
  return named ?? (isThere(context, defaultFile) ? defaultFile : null);
}

/** Whether a file is there, as it was named. */
export function isThere({ folder }: CliContext, file: string): boolean {
  return existsSync(resolve(folder, file));
}

/** The demonstration leaves nothing in the folder of the gateway that is set up after it. */
export const demonstrationFolder = 'data/demonstration';

/** @throws UnusableConfig */
export async function loadFor(context: CliContext, option: ConfigOption): Promise<LoadedConfig> {
  const { env, folder } = context;
  const file = fileFor(context, option);
  const load = (): Promise<ConfigResult> => loadConfig({ file, folder, env });
  const result = await load();
  if (!result.ok) throw new UnusableConfig(file, result.problems);
  const isDemonstration = file === null && result.originOf(['dataDir']).kind === 'default';
  const config = isDemonstration
    ? { ...result.config, dataDir: join(folder, demonstrationFolder) }
    : result.config;
  return {
    ...result,
    config,
    load,
    file,
    folder: file === null ? folder : dirname(resolve(folder, file)),
  };
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
