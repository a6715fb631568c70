/**
 * JSON without loss: a number that a double can't hold as it is written becomes an `ExactNumber`.
 * All others are what `JSON.parse` makes of them.
 */

/** A number as it stood in the JSON. */
export class ExactNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  toJSON(): string {
    printed = true;
    return `${mark}${this.text}`;
  }
}

/** No string of JSON holds this character but by its escape, which is looked for. */
const mark = '\0n';
const escapedMark = '\\u0000';
const number = String.raw`-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?`;
/** Might have a number that a double can't hold: sixteen digits, or an exponent of three. */
const suspicious = /[\d.]{16}|\d[eE][+-]?\d{3}/;
const tokens = new RegExp(String.raw`"(?:[^"\\]|\\.)*"|${number}`, 'g');
const lossy = /[\d.]{16}|[eE][+-]?\d{3}/;
const marked = new RegExp(String.raw`"\\u0000n(${number})"`, 'g');

/** Whether `jsonText` has met an `ExactNumber`. */
let printed = false;

/** @throws SyntaxError; RangeError when it is nested too deep */
export function parseExactly(text: string): unknown {
  if (!suspicious.test(text) || text.includes(escapedMark)) return JSON.parse(text);
  // What is no JSON is to fail as it stands, not as it is rewritten.
  const plain: unknown = JSON.parse(text);
  let found = false;
  const rewritten = text.replace(tokens, (token) => {
    if (token.startsWith('"') || !lossy.test(token)) return token;
    found = true;
    return `"${escapedMark}n${token}"`;
  });
  return found ? unmark(JSON.parse(rewritten)) : plain;
}

function unmark(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.startsWith(mark) ? new ExactNumber(value.slice(mark.length)) : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(unmark);
  for (const [key, inner] of Object.entries(value)) {
    (value as Record<string, unknown>)[key] = unmark(inner);
  }
  return value;
}

/** Of what `parseExactly` returned. @throws RangeError when it is nested too deep */
export function jsonText(value: unknown): string {
  printed = false;
  const text = JSON.stringify(value);
  return printed ? text.replace(marked, '$1') : text;
}
