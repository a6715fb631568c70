/**
 * Looks whether bytes are one JSON text (RFC 8259) without making anything of it: of every record
 * that leaves, `JSON.parse` would make an object to be thrown away.
 */
import { isUtf8 } from 'node:buffer';

export type JsonText =
  /** It is none, or not UTF-8, or nested deeper than those who read it may go. */
  | 'none'
  | 'one-line'
  /** It has line breaks; JSON allows them only between tokens. */
  | 'several-lines';

const tab = 0x09;
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const quote = 0x22;
const plus = 0x2b;
const comma = 0x2c;
const minus = 0x2d;
const point = 0x2e;
const digit0 = 0x30;
const digit9 = 0x39;
const colon = 0x3a;
const upperE = 0x45;
const beginArray = 0x5b;
const backslash = 0x5c;
const endArray = 0x5d;
const lowerE = 0x65;
const lowerU = 0x75;
const beginObject = 0x7b;
const endObject = 0x7d;
const escapes = Buffer.from('"\\/bfnrt');
const words = ['true', 'false', 'null'].map((word) => Buffer.from(word));

/** What common parsers go to at least by default. */
const depthMax = 1_000;

type Expected = 'value' | 'value or end' | 'key' | 'key or end' | 'colon' | 'comma or end';

/** Of what is open, whether it is an object; one for all calls, as none of them waits. */
const open: boolean[] = [];

export function jsonText(bytes: Buffer): JsonText {
  if (!isUtf8(bytes)) return 'none';
  let expected: Expected = 'value';
  let hasBreaks = false;
  let depth = 0;
  for (let at = 0; ;) {
    let byte = bytes[at];
    while (byte === space || byte === lineFeed || byte === carriageReturn || byte === tab) {
      if (byte === lineFeed || byte === carriageReturn) hasBreaks = true;
      at += 1;
      byte = bytes[at];
    }
    if (byte === undefined) {
      if (depth > 0 || expected !== 'comma or end') return 'none';
      return hasBreaks ? 'several-lines' : 'one-line';
    }
    if (byte === endObject || byte === endArray) {
      if (expected === 'value' || expected === 'key' || expected === 'colon') return 'none';
      if (depth === 0 || open[depth - 1] !== (byte === endObject)) return 'none';
      depth -= 1;
      at += 1;
      expected = 'comma or end';
    } else if (expected === 'comma or end') {
      if (byte !== comma || depth === 0) return 'none';
      at += 1;
      expected = open[depth - 1] === true ? 'key' : 'value';
    } else if (expected === 'colon') {
      if (byte !== colon) return 'none';
      at += 1;
      expected = 'value';
    } else if (expected === 'key' || expected === 'key or end') {
      at = byte === quote ? afterString(bytes, at) : -1;
      if (at < 0) return 'none';
      expected = 'colon';
    } else if (byte === beginObject || byte === beginArray) {
      if (depth === depthMax) return 'none';
      open[depth] = byte === beginObject;
      depth += 1;
      at += 1;
      expected = byte === beginObject ? 'key or end' : 'value or end';
    } else {
      at = byte === quote ? afterString(bytes, at) : afterScalar(bytes, at);
      if (at < 0) return 'none';
      expected = 'comma or end';
    }
  }
}

/** Behind the string whose quote is at a place; -1: it is none. */
function afterString(bytes: Buffer, from: number): number {
  for (let at = from + 1; ;) {
    const byte = bytes[at];
    if (byte === quote) return at + 1;
    if (byte === undefined || byte < space) return -1;
    if (byte !== backslash) {
      at += 1;
    } else if (bytes[at + 1] === lowerU) {
      for (let digit = at + 2; digit < at + 6; digit += 1) if (!isHex(bytes[digit])) return -1;
      at += 6;
    } else {
      if (!escapes.includes(bytes[at + 1] ?? 0)) return -1;
      at += 2;
    }
  }
}

/** Behind the number, or the word, at a place; -1: there is none. */
function afterScalar(bytes: Buffer, from: number): number {
  const first = bytes[from];
  if (first !== minus && !isDigit(first)) return afterWord(bytes, from);
  let at = first === minus ? from + 1 : from;
  at = bytes[at] === digit0 ? at + 1 : afterDigits(bytes, at);
  if (at >= 0 && bytes[at] === point) at = afterDigits(bytes, at + 1);
  if (at >= 0 && (bytes[at] === lowerE || bytes[at] === upperE)) {
    const isSigned = bytes[at + 1] === plus || bytes[at + 1] === minus;
    at = afterDigits(bytes, isSigned ? at + 2 : at + 1);
  }
  return at;
}

function afterWord(bytes: Buffer, from: number): number {
  for (const word of words) {
    if (word[0] !== bytes[from]) continue;
    for (let index = 1; index < word.length; index += 1) {
      if (bytes[from + index] !== word[index]) return -1;
    }
    return from + word.length;
  }
  return -1;
}

/** Behind the digits at a place; -1: there are none. */
function afterDigits(bytes: Buffer, from: number): number {
  let at = from;
  while (isDigit(bytes[at])) at += 1;
  return at > from ? at : -1;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= digit0 && byte <= digit9;
}

function isHex(byte: number | undefined): boolean {
  return /^[0-9a-f]$/i.test(String.fromCharCode(byte ?? 0));
}
