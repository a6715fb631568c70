/**
 * JSON without loss: a number that a double can't hold as it is written becomes an `ExactNumber`.
 * All others are what `JSON.parse` makes of them.
 *
 * `JSON.parse` does not show how a number was written. So those few are put into strings that begin
 * with a control character, one that no string of the same JSON has: there, it needs an escape.
 */

/** A number as it stood in the JSON. */
export class ExactNumber {
  readonly text: string;
  /** Its strings begin with it. */
  readonly #mark: string;

  constructor(text: string, mark = '\0') {
    this.text = text;
    this.#mark = mark;
  }

  toJSON(): string {
    printedMark = this.#mark;
    return `${this.#mark}${this.text}`;
  }
}

/** Control characters, by their codes in hexadecimal, that have one escape only. */
const marks = ['00', '01', '02', '03', '04', '05', '06', '07', '10', '11', '12', '13', '14', '15'];
const number = String.raw`-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?`;
const tokens = new RegExp(String.raw`"(?:[^"\\]|\\.)*"|${number}`, 'g');
/** Numbers that a double may not hold: of sixteen digits, or beyond 10^300. */
const lossy = /[\d.]{16}|[eE]\+?[3-9]\d\d/;
const hugeExponent = /\d[eE]\+?[3-9]\d\d/;
const digitsHeld = 15;

/** That of the last one that was printed. */
let printedMark = '';

/** @throws SyntaxError; RangeError when it is nested too deep */
export function parseExactly(text: string): unknown {
  // What is no JSON is to fail as it stands, not as it is rewritten.
  const plain: unknown = JSON.parse(text);
  if (!hasLongNumber(text) && !hugeExponent.test(text)) return plain;
  const code = marks.find((unused) => !text.includes(`\\u00${unused}`));
  if (code === undefined) return plain;
  const rewritten = text.replace(tokens, (token) =>
    token.startsWith('"') || !lossy.test(token) ? token : `"\\u00${code}${token}"`,
  );
  if (rewritten === text) return plain;
  return unmark(JSON.parse(rewritten), String.fromCharCode(Number.parseInt(code, 16)));
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

function unmark(value: unknown, mark: string): unknown {
  if (typeof value === 'string') {
    return value.startsWith(mark) ? new ExactNumber(value.slice(1), mark) : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => unmark(item, mark));
  for (const [key, inner] of Object.entries(value)) {
    (value as Record<string, unknown>)[key] = unmark(inner, mark);
  }
  return value;
}

/** Of what `parseExactly` returned, in UTF-8 as it is. @throws RangeError when it is nested too deep */
export function jsonText(value: unknown): string {
  printedMark = '';
  const text = JSON.stringify(value);
  return unquoted(text.includes(surrogate) ? text.replace(surrogates, whole) : text, printedMark);
}

/** Halves of a character, which strict readers refuse with the whole file, and backslashes. */
const surrogate = '\\ud';
const surrogates = /\\(?:\\|ud[89a-f][0-9a-f]{2})/g;

function whole(escape: string): string {
  return escape.startsWith(surrogate) ? '\ufffd' : escape;
}

function unquoted(text: string, mark: string): string {
  if (mark === '') return text;
  const code = mark.charCodeAt(0).toString(16).padStart(2, '0');
  return text.replace(new RegExp(String.raw`"\\u00${code}(${number})"`, 'g'), '$1');
}
