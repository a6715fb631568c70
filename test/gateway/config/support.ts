import { parseConfig, type ConfigResult } from '../../../gateway/config/load.ts';
import { showProblem } from '../../../gateway/config/problems.ts';
import type { Config } from '../../../gateway/config/schema.ts';

type Variables = Readonly<Record<string, string>>;

export function parse(text: string, env: Variables = {}): ConfigResult {
  return parseConfig({ name: 'headgate.yaml', text, folder: '/etc/headgate', env });
}

/** The configuration of a text that has no problems. */
export function configOf(text: string, env: Variables = {}): Config {
  const result = parse(text, env);
  if (!result.ok) throw new Error(result.problems.map(showProblem).join('\n'));
  return result.config;
}

/** The problems of a text, as people read them. */
export function problemsOf(text: string, env: Variables = {}): readonly string[] {
  const result = parse(text, env);
  return result.ok ? [] : result.problems.map(showProblem);
}
