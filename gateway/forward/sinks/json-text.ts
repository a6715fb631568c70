/** Records as JSON for destinations that take nothing else. */
import type { Json } from '../query/query.ts';

const strict = new TextDecoder('utf-8', { fatal: true });

/** The text of bytes, without a byte order mark; null: they are not UTF-8. */
export function utf8Of(data: Buffer): string | null {
  try {
    return strict.decode(data);
  } catch {
    return null;
  }
}

export type JsonObject = Readonly<Record<string, Json>>;

/** The value of a text that is a JSON object; null: it is not one. */
export function objectIn(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}

/** A text that is JSON, on one line: its line breaks lie between tokens, where a space will do. */
export function onOneLine(json: string): string {
  return json.replace(/[\r\n]+/g, ' ');
}
