/**
 * What differs between two configurations, and whether a running gateway can take it over.
 *
 * The entries of streams, files, cameras, deliveries, functions and hooks are named one by one (`cameras.front`),
 * anything else by its key (`http.port`). Applying the changes is gateway/reload.ts.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Config } from './schema.ts';

/** Sections that are maps by name. */
const maps: ReadonlySet<string> = new Set([
  'streams',
  'files',
  'cameras',
  'deliveries',
  'functions',
  'hooks',
]);

/** Keys that a running gateway takes over, besides the entries of the maps. */
const live: ReadonlySet<string> = new Set([
  'auth.keys',
  'mqtt.users',
  'mqtt.routes',
  'mqtt.rates',
  'rtsp.readers',
  'firehose.enabled',
  'firehose.maxDeliveryStreams',
  'firehose.allowed',
  'firehose.s3',
  'firehose.opensearch',
  'firehose.lambda',
  'logging.level',
  'uplink.maxBytesPerSecond',
]);

/** Whether a change of this key takes a restart. */
export function needsRestart(key: string): boolean {
  return !maps.has(key.split('.')[0] ?? '') && !live.has(key);
}

/** The keys that differ, in the order of the schema. */
export function changedKeys(before: Config, after: Config): readonly string[] {
  const changed: string[] = [];
  for (const section of keysOf(before, after)) {
    const [old, now] = [valueOf(before, section), valueOf(after, section)];
    if (isDeepStrictEqual(old, now)) continue;
    if (!isMap(old) || !isMap(now)) {
      changed.push(section);
      continue;
    }
    for (const key of keysOf(old, now)) {
      if (!isDeepStrictEqual(valueOf(old, key), valueOf(now, key)))
        changed.push(`${section}.${key}`);
    }
  }
  return changed;
}

function keysOf(one: object, other: object): readonly string[] {
  return [...new Set([...Object.keys(one), ...Object.keys(other)])];
}

function valueOf(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

function isMap(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
