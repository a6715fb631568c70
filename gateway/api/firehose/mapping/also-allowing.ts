/**
 * Places with those of a destination among them that are allowed, whether they still are or not: to see
 * whether another destination asks for more than it has already.
 */
import type { GivenDestination } from '../destination-shapes.ts';
import { bucketOf, functionOf, type Places } from './places.ts';

export function alsoAllowing({ configuration }: GivenDestination, places: Places): Places {
  const { allowed } = places;
  const texts = textsIn(configuration);
  return {
    ...places,
    allowed: {
      buckets: [...allowed.buckets, ...texts.flatMap((text) => bucketOf(text) ?? [])],
      hosts: [...allowed.hosts, ...texts.flatMap(hostsOf)],
      functions: [...allowed.functions, ...texts.flatMap((text) => functionOf(text) ?? [])],
    },
  };
}

/** All texts of a value, however deep. */
function textsIn(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

/** Of a URL, with its port. */
function hostsOf(text: string): readonly string[] {
  const address = text.replace(/^jdbc:redshift:/, 'https:');
  if (!/^https?:/.test(address) || !URL.canParse(address)) return [];
  const { protocol, hostname, port } = new URL(address);
  const ofProtocol = protocol === 'https:' ? '443' : '80';
  return [`${hostname}:${port === '' ? ofProtocol : port}`];
}
