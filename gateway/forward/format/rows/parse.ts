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
    printed += 1;
    return `${mark}${this.text}`;
  }
}

/** No string of JSON holds this character but by its escape, which is looked for. */
const mark = '\0n';
const escapedMark = '\\u0000';
const number = String.raw`-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?`;
const tokens = new RegExp(String.raw`"(?:[^"\\]|\\.)*"|${number}`, 'g');
/** Numbers that a double may not hold: of sixteen digits, or beyond 10^300. */
const lossy = /[\d.]{16}|[eE]\+?[3-9]\d\d/;
const hugeExponent = /\d[eE]\+?[3-9]\d\d/;
const digitsHeld = 15;
const marked = new RegExp(String.raw`"\\u0000n(${number})"`, 'g');

/** How many of them were printed. */
let printed = 0;

/** @throws SyntaxError; RangeError when it is nested too deep */
export function parseExactly(text: string): unknown {
  const isSuspicious = hasLongNumber(text) || hugeExponent.test(text);
  if (!isSuspicious || text.includes(escapedMark)) return JSON.parse(text);
  // What is no JSON is to fail as it stands, not as it is rewritten.
  const plain: unknown = JSON.parse(text);
  const rewritten = text.replace(tokens, (token) =>
    token.startsWith('"') || !lossy.test(token) ? token : `"${escapedMark}n${token}"`,
  );
  return rewritten === text ? plain : unmark(JSON.parse(rewritten));
}

/** Or something that looks like one. Of so many digits in a row, every so many are looked at. */
function hasLongNumber(text: string): boolean {
  for (let at = digitsHeld; at < text.length; at += digitsHeld + 1) {
    if (!isOfNumber(text.charCodeAt(at))) continue;
    let from = at;
    let to = at + 1;
    while (isOfNumber(text.charCodeAt(from - 1))) from -= 1;
    while (isOfNumber(text.charCodeAt(to))) to += 1;
    if (to - from > digitsHeld) return true;
  }
  return false;
}

/** Digits and points; not NaN, which is beyond either end. */
function isOfNumber(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2e;
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
  const before = printed;
  const text = JSON.stringify(value);
  return printed === before ? text : text.replace(marked, '$1');
}
