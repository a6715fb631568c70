/** Numbers inside records: which there are, and what one of them is. */
import type { LogRecord } from '../../../storage/model.ts';

/** Larger payloads are no readings, and are not parsed for a chart. */
const parsedBytesMax = 65_536;
const depthMax = 5;

/** The record's data as JSON; undefined when it is none, or large. */
export function jsonOf(record: LogRecord): unknown {
  if (record.data.length === 0 || record.data.length > parsedBytesMax) return undefined;
  try {
    return JSON.parse(record.data.toString('utf8'));
  } catch {
    return undefined;
  }
}

/**
 * The number at a dotted path; undefined when there is none. A key that itself contains dots
 * wins over a path.
 *
 * @example
 * numberAt({ air: { celsius: 21.5 } }, 'air.celsius'); // 21.5
 * numberAt(21.5, ''); // 21.5
 */
export function numberAt(value: unknown, path: string): number | undefined {
  if (path === '') return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'object' || value === null) return undefined;
  if (Object.hasOwn(value, path)) return numberAt(Reflect.get(value, path), '');
  for (let dot = path.indexOf('.'); dot !== -1; dot = path.indexOf('.', dot + 1)) {
    const key = path.slice(0, dot);
    if (!Object.hasOwn(value, key)) continue;
    return numberAt(Reflect.get(value, key), path.slice(dot + 1));
  }
  return undefined;
}

/** Adds the dotted paths of the numbers in a value, until `max` are known. */
export function collectNumberPaths(value: unknown, into: Set<string>, max: number): void {
  const visit = (part: unknown, path: string, depth: number): void => {
    if (into.size >= max) return;
    if (typeof part === 'number') into.add(path);
    if (typeof part !== 'object' || part === null || Array.isArray(part) || depth === 0) return;
    for (const [key, inner] of Object.entries(part)) {
      visit(inner, path === '' ? key : `${path}.${key}`, depth - 1);
    }
  };
  visit(value, '', depthMax);
}
