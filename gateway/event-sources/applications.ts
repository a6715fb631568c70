/** The names of the applications that event sources read with, and keep the states of windows with. */
import { createHash } from 'node:crypto';
import type { Log, VideoStore } from '../../storage/model.ts';
import type { Logger } from '../../storage/ports.ts';
import { forgetFlow } from '../forward/flow/kept.ts';
import { keepDone } from './failed-batches.ts';

const prefix = 'function:';
const suffixes = [':state-1', ':state-2'] as const;
const replaySuffix = ':replay';
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

/** The one that its failed batches are read with, to be handed over again. */
export function replayApplicationOf(name: string): string {
  return `${applicationOf(name)}${replaySuffix}`;
}

/** The attribute of the stream that it reads which tells where its dead letters are. */
export function letterPlaceOf(application: string): string {
  return `${application}/dead-letter`;
}

/** The event source that an application is, or was, one of; a long name is not told any more. */
export function eventSourceOf(application: string): string {
  const suffix = [...suffixes, replaySuffix].find((one) => application.endsWith(one)) ?? '';
  return application.slice(prefix.length, application.length - suffix.length);
}

/** All that an event source may have. */
function applicationsOf(name: string): readonly string[] {
  return [applicationOf(name), ...stateApplicationsOf(name), replayApplicationOf(name)];
}

/**
 * Forgets how far one had come that is no longer configured. Up to where it had done what was given up
 * is kept with that. @throws StorageError
 */
export async function forgetRemoved(
  { log, video }: { readonly log: Log; readonly video: VideoStore },
  configured: readonly { readonly name: string }[],
  name: string,
): Promise<'forgotten' | 'configured' | 'unknown'> {
  if (configured.some((one) => one.name === name)) return 'configured';
  const known = new Set(log.applications.list().map((application) => application.name));
  const own = applicationsOf(name).filter((application) => known.has(application));
  await keepDone(log, replayApplicationOf(name));
  for (const application of own) await log.applications.remove(application);
  for (const key of [replayApplicationOf(name), letterPlaceOf(applicationOf(name))]) {
    for (const { name: stream, attributes } of log.streams()) {
      if (Object.hasOwn(attributes, key)) await log.setAttribute(stream, key, undefined);
    }
  }
  await forgetFlow({ log, video }, applicationOf(name));
  return own.length > 0 ? 'forgotten' : 'unknown';
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
  for (const { name, required } of removedApplications(log, configured)) {
    if (suffixes.some((suffix) => name.endsWith(suffix))) {
      await log.applications.remove(name);
    } else if (required) {
      await log.applications.ensure({ name, required: false });
      logger.info({ application: name }, 'an event source was removed: it pins nothing any more');
    }
  }
}

/** Those of event sources that are no longer configured. */
export function removedApplications(
  log: Pick<Log, 'applications'>,
  configured: readonly { readonly name: string }[],
): ReturnType<Log['applications']['list']> {
  const own = new Set(configured.flatMap(({ name }) => applicationsOf(name)));
  return log.applications.list().filter(({ name }) => name.startsWith(prefix) && !own.has(name));
}
