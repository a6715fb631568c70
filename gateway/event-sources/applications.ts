/** The names of the applications that event sources read with, and keep the states of windows with. */
import { createHash } from 'node:crypto';
import type { Log } from '../../storage/model.ts';
import type { Logger } from '../../storage/ports.ts';

const prefix = 'function:';
const suffixes = [':state-1', ':state-2'] as const;
const longestName = 128;

/** The name of an event source's application. */
export function applicationOf(name: string): string {
  const whole = `${prefix}${name}`;
  if (whole.length + suffixes[0].length <= longestName) return whole;
  return `${prefix}${createHash('sha256').update(name).digest('hex')}`;
}

/** Those of the states of its windows. */
export function stateApplicationsOf(name: string): readonly string[] {
  return suffixes.map((suffix) => `${applicationOf(name)}${suffix}`);
}

/**
 * Stops event sources that are no longer configured from holding back what nobody will get. They go
 * on where they were when they are configured again, but with new windows.
 */
export async function unpinRemoved(
  log: Log,
  configured: readonly { readonly name: string }[],
  logger: Logger,
): Promise<void> {
  const own = new Set(
    configured.flatMap(({ name }) => [applicationOf(name), ...stateApplicationsOf(name)]),
  );
  for (const { name, required } of log.applications.list()) {
    if (!name.startsWith(prefix) || own.has(name)) continue;
    if (suffixes.some((suffix) => name.endsWith(suffix))) {
      await log.applications.remove(name);
    } else if (required) {
      await log.applications.ensure({ name, required: false });
      logger.info({ application: name }, 'an event source was removed: it pins nothing any more');
    }
  }
}
