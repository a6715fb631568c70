/** The JSON in a record's data. */
import { isUtf8 } from 'node:buffer';
import type { Json } from '../query/query.ts';

/** Undefined: it is not JSON. */
export function parseJson(data: Buffer): Json | undefined {
  if (!isUtf8(data)) return undefined;
  try {
    return JSON.parse(data.toString('utf8')) as Json;
  } catch {
    return undefined;
  }
}
