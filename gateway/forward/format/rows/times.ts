/**
 * The times that Firehose takes from JSON (its OpenX deserializer): ISO 8601 with `T` and a zone,
 * `yyyy-M-d HH:mm:ss` in UTC, both with up to nine digits behind the second, and seconds or
 * milliseconds since 1970, as a number or a string of one.
 */
import { ExactNumber } from './parse.ts';

const iso =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s?(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?$/i;
/** What is less is in seconds: as seconds, the year 5138; as milliseconds, 1973. */
const millisecondsFrom = 1e11;
/** The years that all readers know. */
const earliestMs = Date.parse('0001-01-01T00:00:00Z');
const latestMs = Date.parse('9999-12-31T23:59:59.999Z');
const dayMs = 86_400_000;
/** 0 for any digit. */
const plainPattern = '0000-00-00T00:00:00.000Z';
const zero = 0x30;
const nine = 0x39;

/** Microseconds since 1970, UTC; null: it is no time. */
export function timestampOf(value: unknown): bigint | null {
  if (typeof value === 'string') return fromText(value.trim());
  const number = value instanceof ExactNumber ? Number(value.text) : value;
  return typeof number === 'number' ? fromNumber(number) : null;
}

/** Days since 1970; null: it is no date. The time of a time is left out. */
export function dateOf(value: unknown): number | null {
  if (typeof value !== 'string') return null;
  const micros = fromText(value.trim());
  return micros === null ? null : Math.floor(Number(micros / 1000n) / dayMs);
}

function fromNumber(number: number): bigint | null {
  const ms = Math.abs(number) < millisecondsFrom ? number * 1000 : number;
  return inRange(ms) ? BigInt(Math.round(ms * 1000)) : null;
}

function fromText(text: string): bigint | null {
  const plain = plainTime(text);
  if (plain !== null) return plain;
  const match = iso.exec(text);
  if (match === null) return /^-?\d+(?:\.\d+)?$/.test(text) ? fromNumber(Number(text)) : null;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone] = match;
  const date = new Date(0);
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const exists = date.getUTCMonth() === Number(month) - 1 && date.getUTCDate() === Number(day);
  if (!exists || Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return null;
  const seconds = (Number(hour) * 60 + Number(minute)) * 60 + Number(second);
  const ms = date.getTime() + seconds * 1000 - offsetMs(zone);
  if (!inRange(ms)) return null;
  return BigInt(ms) * 1000n + BigInt(fraction.padEnd(6, '0').slice(0, 6));
}

/** Of `2026-01-02T03:04:05Z` and `…05.123Z`, as most are; null: it is another, or none. */
function plainTime(text: string): bigint | null {
  if (text.length !== 20 && text.length !== 24) return null;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const expected = plainPattern.charCodeAt(at === text.length - 1 ? plainPattern.length - 1 : at);
    if (expected === zero ? code < zero || code > nine : code !== expected) return null;
  }
  const [month, day] = [digitsAt(text, 5, 2), digitsAt(text, 8, 2)];
  const [hour, minute, second] = [
    digitsAt(text, 11, 2),
    digitsAt(text, 14, 2),
    digitsAt(text, 17, 2),
  ];
  // What is on the edge of what there is goes the longer way.
  if (month < 1 || month > 12 || day < 1 || day > 28) return null;
  if (hour > 23 || minute > 59 || second > 59) return null;
  const year = digitsAt(text, 0, 4);
  if (year < 1970) return null;
  const days = Date.UTC(year, month - 1, day) / dayMs;
  const seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
  const ms = text.length === 24 ? digitsAt(text, 20, 3) : 0;
  return BigInt(seconds * 1000 + ms) * 1000n;
}

function digitsAt(text: string, at: number, count: number): number {
  let number = 0;
  for (let index = at; index < at + count; index += 1) {
    number = number * 10 + text.charCodeAt(index) - zero;
  }
  return number;
}

function offsetMs(zone: string | undefined): number {
  const match = /^([+-])(\d{2}):?(\d{2})$/.exec(zone ?? '');
  if (match === null) return 0;
  const minutes = Number(match[2]) * 60 + Number(match[3]);
  return (match[1] === '-' ? -minutes : minutes) * 60_000;
}

function inRange(ms: number): boolean {
  return ms >= earliestMs && ms <= latestMs;
}

/** ISO 8601 with microseconds. */
export function printTimestamp(micros: bigint): string {
  const within = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = new Date(Number((micros - within) / 1000n)).toISOString().slice(0, 19);
  const fraction = within === 0n ? '' : `.${String(within).padStart(6, '0')}`;
  return `${seconds}${fraction}Z`;
}

export function printDate(days: number): string {
  return new Date(days * dayMs).toISOString().slice(0, 10);
}
