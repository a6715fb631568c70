/**
 * jq's times, always in UTC: seconds since 1970, or broken down as C has it, `[year, month from 0,
 * day, hour, minute, second, weekday from Sunday, day of the year from 0]`. Formats are those of
 * `strftime` and `strptime` in the C locale.
 */
import type { Json } from '../query.ts';
import { isArray } from '../values.ts';
import { JqError } from './filter.ts';

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December'],
];
/** Characters of their longest. */
const nameMax = 9;
const daySeconds = 86_400;
/** Milliseconds that a date of JavaScript can be away from 1970. */
const dateMax = 8.64e15;

/** As numbers, the seconds with their fraction. */
export function gmtime(value: Json): readonly number[] {
  if (typeof value !== 'number') throw new JqError('gmtime() requires a number');
  if (Math.abs(value * 1000) > dateMax)
    throw new JqError('gmtime() takes no number as large as that');
  // Toward 1970, and the fraction added whatever the sign: as jq has it.
  const broken = brokenDown(new Date(Math.trunc(value) * 1000));
  return broken.with(5, (broken[5] ?? 0) + (value - Math.floor(value)));
}

/** Seconds since 1970. */
export function mktime(value: Json): number {
  const time = timeOf(value, 'mktime requires array of 6 numbers');
  return time.getTime() / 1000;
}

/** @param value seconds since 1970, or broken down */
export function strftime(value: Json, format: Json): string {
  if (typeof format !== 'string') throw new JqError('strftime/1 requires a string format');
  const parsed = typeof value === 'number' ? gmtime(value) : value;
  const time = timeOf(parsed, 'strftime/1 requires parsed datetime inputs');
  return strftimeOf(time, format);
}

/** Broken down. */
export function strptime(value: Json, format: Json): readonly number[] {
  if (typeof value !== 'string')
    throw new JqError('strptime/1 requires string inputs and arguments');
  if (typeof format !== 'string')
    throw new JqError('strptime/1 requires string inputs and arguments');
  const parsed = new Parsing(value);
  if (!parsed.takes(format) || !/^(?:\s|$)/.test(parsed.rest)) {
    throw new JqError(`date "${value}" does not match format "${format}"`);
  }
  return brokenDown(parsed.time);
}

function timeOf(value: Json, complaint: string): Date {
  const numbers = isArray(value) ? value.slice(0, 6) : [];
  if (numbers.length < 6 || !numbers.every((each) => typeof each === 'number')) {
    throw new JqError(complaint);
  }
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = numbers.map(Math.trunc);
  const time = utc(year, month, day, hour, minute, second);
  if (Number.isNaN(time.getTime())) throw new JqError(complaint);
  return time;
}

/** `Date.UTC` takes years below 100 for those of the last century. */
function utc(
  year: number,
  month: number,
  day: number,
  hour: number,
  minute: number,
  second: number,
) {
  const time = new Date(0);
  time.setUTCFullYear(year, month, day);
  time.setUTCHours(hour, minute, second);
  return time;
}

function brokenDown(time: Date): readonly number[] {
  return [
    time.getUTCFullYear(),
    time.getUTCMonth(),
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
    time.getUTCDay(),
    dayOfYear(time),
  ];
}

function dayOfYear(time: Date): number {
  const newYear = utc(time.getUTCFullYear(), 0, 1, 0, 0, 0);
  return Math.floor((time.getTime() - newYear.getTime()) / 1000 / daySeconds);
}

function written(time: Date, letter: string): string {
  const shorthand = shorthands[letter];
  if (shorthand !== undefined) return strftimeOf(time, shorthand);
  return fields[letter]?.(time) ?? `%${letter}`;
}

const fields: Readonly<Record<string, (time: Date) => string>> = {
  '%': () => '%',
  A: (time) => weekdays[time.getUTCDay()] ?? '',
  a: (time) => (weekdays[time.getUTCDay()] ?? '').slice(0, 3),
  B: (time) => months[time.getUTCMonth()] ?? '',
  b: (time) => (months[time.getUTCMonth()] ?? '').slice(0, 3),
  C: (time) => two(Math.floor(time.getUTCFullYear() / 100)),
  d: (time) => two(time.getUTCDate()),
  e: (time) => two(time.getUTCDate(), ' '),
  G: (time) => String(isoWeek(time).year),
  g: (time) => two(lastTwo(isoWeek(time).year)),
  H: (time) => two(time.getUTCHours()),
  I: (time) => two(time.getUTCHours() % 12 || 12),
  j: (time) => String(dayOfYear(time) + 1).padStart(3, '0'),
  k: (time) => two(time.getUTCHours(), ' '),
  l: (time) => two(time.getUTCHours() % 12 || 12, ' '),
  M: (time) => two(time.getUTCMinutes()),
  m: (time) => two(time.getUTCMonth() + 1),
  n: () => '\n',
  P: (time) => (time.getUTCHours() < 12 ? 'am' : 'pm'),
  p: (time) => (time.getUTCHours() < 12 ? 'AM' : 'PM'),
  S: (time) => two(time.getUTCSeconds()),
  s: (time) => String(time.getTime() / 1000),
  t: () => '\t',
  U: (time) => two(Math.floor((dayOfYear(time) + 7 - time.getUTCDay()) / 7)),
  u: (time) => String(time.getUTCDay() || 7),
  V: (time) => two(isoWeek(time).week),
  W: (time) => two(Math.floor((dayOfYear(time) + 7 - ((time.getUTCDay() + 6) % 7)) / 7)),
  w: (time) => String(time.getUTCDay()),
  Y: (time) => String(time.getUTCFullYear()),
  y: (time) => two(lastTwo(time.getUTCFullYear())),
  Z: () => 'UTC',
  z: () => '+0000',
};

function two(value: number, fill = '0'): string {
  return String(value).padStart(2, fill);
}

function lastTwo(year: number): number {
  return ((year % 100) + 100) % 100;
}

const shorthands: Readonly<Record<string, string>> = {
  c: '%a %b %e %H:%M:%S %Y',
  D: '%m/%d/%y',
  F: '%Y-%m-%d',
  h: '%b',
  R: '%H:%M',
  r: '%I:%M:%S %p',
  T: '%H:%M:%S',
  X: '%H:%M:%S',
  x: '%m/%d/%y',
};

/** Flags of glibc: `-` does not pad, `_` pads with spaces, `0` with zeros, `^` makes capitals. */
function strftimeOf(time: Date, format: string): string {
  return format.replace(/%([-_0^]?)[EO]?([A-Za-z%])/g, (_whole, flag: string, letter: string) => {
    const field = written(time, letter);
    if (flag === '-') return field.replace(/^[0 ]+(?=.)/, '');
    if (flag === '_') return field.replace(/^0+(?=.)/, (zeros) => ' '.repeat(zeros.length));
    if (flag === '0') return field.replace(/^ /, '0');
    return flag === '^' ? field.toUpperCase() : field;
  });
}

/** The week of ISO 8601, and the year that it is of: that of its Thursday. */
function isoWeek(time: Date): { readonly year: number; readonly week: number } {
  const thursday = new Date(time.getTime());
  thursday.setUTCDate(time.getUTCDate() + 4 - (time.getUTCDay() || 7));
  return { year: thursday.getUTCFullYear(), week: Math.floor(dayOfYear(thursday) / 7) + 1 };
}

/** A text that a format is compared with, from its beginning on. */
class Parsing {
  #rest: string;
  #year = 1900;
  #month = 0;
  #day = 0;
  #hour = 0;
  #minute = 0;
  #second = 0;
  #isAfternoon = false;
  #dayOfYear: number | null = null;

  constructor(text: string) {
    this.#rest = text;
  }

  get rest(): string {
    return this.#rest;
  }

  get time(): Date {
    const hour = (this.#hour % 24) + (this.#isAfternoon ? 12 : 0);
    if (this.#dayOfYear !== null) {
      return utc(this.#year, 0, this.#dayOfYear, hour, this.#minute, this.#second);
    }
    return utc(this.#year, this.#month, this.#day, hour, this.#minute, this.#second);
  }

  /** Whether the text begins as the format says. */
  takes(format: string): boolean {
    for (const [, letter, other = ''] of format.matchAll(/%[EO]?([A-Za-z%])|(\s+|[^\s])/gs)) {
      const fits =
        letter !== undefined
          ? this.#field(letter)
          : other.trim() === ''
            ? this.#space()
            : this.#text(other);
      if (!fits) return false;
    }
    return true;
  }

  #field(letter: string): boolean {
    const shorthand = shorthands[letter];
    if (shorthand !== undefined && letter !== 'h') return this.takes(shorthand);
    switch (letter) {
      case '%':
        return this.#text('%');
      case 'Y':
        return this.#number(4, 0, 9999, (value) => (this.#year = value));
      case 'y':
        return this.#number(2, 0, 99, (value) => (this.#year = value + (value < 69 ? 2000 : 1900)));
      case 'm':
        return this.#number(2, 1, 12, (value) => (this.#month = value - 1));
      case 'd':
      case 'e':
        return this.#number(2, 1, 31, (value) => (this.#day = value));
      case 'j':
        return this.#number(3, 1, 366, (value) => (this.#dayOfYear = value));
      case 'H':
      case 'k':
        return this.#number(2, 0, 23, (value) => (this.#hour = value));
      case 'I':
      case 'l':
        return this.#number(2, 1, 12, (value) => (this.#hour = value % 12));
      case 'M':
        return this.#number(2, 0, 59, (value) => (this.#minute = value));
      case 'S':
        return this.#number(2, 0, 61, (value) => (this.#second = value));
      case 's':
        return this.#number(15, 0, dateMax / 1000, (value) => {
          this.#setTime(value);
        });
      default:
        return this.#named(letter);
    }
  }

  #named(letter: string): boolean {
    switch (letter) {
      case 'b':
      case 'B':
      case 'h':
        return this.#name(months, (index) => (this.#month = index));
      case 'a':
      case 'A':
        return this.#name(weekdays, () => undefined);
      case 'p':
        return this.#matches(/^[AP]M/i, (found) => {
          this.#isAfternoon = found.toUpperCase() === 'PM';
        });
      // Zones are read over, as jq does: the time is taken for UTC.
      case 'Z':
        return this.#matches(/^\S*/, () => undefined);
      case 'z':
        return this.#matches(/^\s*(?:Z|[+-]\d{2}(?::?\d{2})?)/, () => undefined);
      case 'n':
      case 't':
        return this.#space();
      default:
        return false;
    }
  }

  #setTime(seconds: number): void {
    const time = new Date(seconds * 1000);
    this.#year = time.getUTCFullYear();
    this.#month = time.getUTCMonth();
    this.#day = time.getUTCDate();
    this.#hour = time.getUTCHours();
    this.#minute = time.getUTCMinutes();
    this.#second = time.getUTCSeconds();
  }

  #number(digits: number, min: number, max: number, set: (value: number) => void): boolean {
    const found = /^\s*(\d{1,15})/.exec(this.#rest);
    let text = (found?.[1] ?? '').slice(0, digits);
    // C reads no further than the number may be: 32 for a month is 3, and a 2 that is left.
    while (text !== '' && Number(text) > max) text = text.slice(0, -1);
    if (found === null || text === '' || Number(text) < min) return false;
    this.#rest = this.#rest.slice(found[0].length - (found[1] ?? '').length + text.length);
    set(Number(text));
    return true;
  }

  #name(names: readonly string[], set: (index: number) => void): boolean {
    const rest = this.#rest.trimStart().slice(0, nameMax).toLowerCase();
    const index = names.findIndex((name) => rest.startsWith(name.slice(0, 3).toLowerCase()));
    const name = names[index] ?? '';
    if (name === '') return false;
    const length = rest.startsWith(name.toLowerCase()) ? name.length : 3;
    this.#rest = this.#rest.trimStart().slice(length);
    set(index);
    return true;
  }

  #matches(pattern: RegExp, set: (found: string) => void): boolean {
    const found = pattern.exec(this.#rest)?.[0];
    if (found === undefined) return false;
    this.#rest = this.#rest.slice(found.length);
    set(found);
    return true;
  }

  #space(): boolean {
    this.#rest = this.#rest.trimStart();
    return true;
  }

  #text(text: string): boolean {
    if (!this.#rest.startsWith(text)) return false;
    this.#rest = this.#rest.slice(text.length);
    return true;
  }
}
