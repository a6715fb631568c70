/**
 * Patterns of Java's `DateTimeFormatter`, as Firehose takes them for `!{timestamp:…}`: English
 * names, and weeks that begin on Sunday, the first of them the one with January 1 (Locale.US).
 *
 * https://docs.oracle.com/javase/8/docs/api/java/time/format/DateTimeFormatter.html
 *
 * Not taken: names of time zones (`z`, `v`; the tables of Java are not here: `VV`, `O` and `XXX` say
 * the same), periods of the day (`B`), padding (`p`) and `F`, which versions of Java understand
 * differently.
 */
import type { ZonedTime } from './zoned-time.ts';

export interface DatePattern {
  format(time: ZonedTime): string;
  /** No time makes more characters than this. */
  readonly maxLength: number;
  /** Nor more bytes of UTF-8. */
  readonly maxBytes: number;
}

/** Says in a sentence what is wrong with it. */
export class PatternError extends Error {
  override readonly name = 'PatternError';
}

interface Field {
  readonly write: (time: ZonedTime) => string;
  readonly maxLength: number;
  readonly maxBytes: number;
}

const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December'],
];
const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const quarters = ['1st', '2nd', '3rd', '4th'].map((ordinal) => `${ordinal} quarter`);
/** As many as a whole number of 64 bits has. */
const longestNumber = 19;
/** Years of JavaScript's dates have at most six. */
const yearDigits = 6;

/** @throws PatternError */
export function compileDatePattern(pattern: string): DatePattern {
  const fields: Field[] = [];
  let openBrackets = 0;
  const tokens = /'((?:[^']|'')*)'|([A-Za-z])\2*|([^A-Za-z'])|'/gs;
  for (const [token, quoted, letter, other] of pattern.matchAll(tokens)) {
    if (quoted !== undefined)
      fields.push(literal(quoted === '' ? "'" : quoted.replace(/''/g, "'")));
    else if (letter !== undefined) fields.push(fieldOf(letter, token.length));
    else if (other === undefined) throw new PatternError('a quote is not closed');
    else if ('{}#'.includes(other)) throw new PatternError(`${other} has to stand in quotes`);
    else if (other === '[') openBrackets += 1;
    else if (other !== ']') fields.push(literal(other));
    else if (openBrackets === 0) throw new PatternError('a ] closes nothing');
    else openBrackets -= 1;
  }
  // What an optional section asks for is always there, so it stands as if it were not optional.
  return {
    format: (time) => fields.map(({ write }) => write(time)).join(''),
    maxLength: fields.reduce((sum, { maxLength }) => sum + maxLength, 0),
    maxBytes: fields.reduce((sum, { maxBytes }) => sum + maxBytes, 0),
  };
}

function fieldOf(letter: string, count: number): Field {
  const field = fieldOrNull(letter, count);
  if (field === undefined) throw new PatternError(`the letter ${letter} is not known here`);
  if (field === null) throw new PatternError(`${letter.repeat(count)} is not a field`);
  return field;
}

/** Undefined: no such letter; null: not that many of them. */
function fieldOrNull(letter: string, count: number): Field | null | undefined {
  switch (letter) {
    case 'G':
      return named(count, ['BC', 'AD'], ['Before Christ', 'Anno Domini'], (time) =>
        Number(time.year > 0),
      );
    case 'u':
      return yearOf(count, (time) => time.year);
    case 'y':
      return yearOf(count, (time) => (time.year > 0 ? time.year : 1 - time.year));
    case 'Y':
      return yearOf(count, weekYear);
    case 'D':
      return digits(count, 3, (time) => time.dayOfYear, 3);
    case 'M':
    case 'L':
      if (count <= 2) return digits(count, 2, (time) => time.month, 2);
      return named(count, months.map(short), months, (time) => time.month - 1);
    case 'd':
      return digits(count, 2, (time) => time.day, 2);
    case 'Q':
    case 'q':
      return quarterField(count);
    case 'w':
      return digits(count, 2, weekOfYear, 2);
    case 'W':
      return digits(count, 1, (time) => weekAt(time.day, time.weekday), 1);
    case 'E':
      return weekdayName(Math.max(count, 3));
    case 'e':
      return count <= 2 ? digits(count, 2, (time) => time.weekday + 1, 1) : weekdayName(count);
    case 'c':
      if (count === 2) return null;
      return count === 1 ? digits(1, 1, (time) => time.weekday + 1, 1) : weekdayName(count);
    default:
      return clockField(letter, count);
  }
}

function clockField(letter: string, count: number): Field | null | undefined {
  switch (letter) {
    case 'a':
      return count === 1 ? text(2, (time) => (time.hour < 12 ? 'AM' : 'PM')) : null;
    case 'h':
      return digits(count, 2, (time) => time.hour % 12 || 12, 2);
    case 'K':
      return digits(count, 2, (time) => time.hour % 12, 2);
    case 'k':
      return digits(count, 2, (time) => time.hour || 24, 2);
    case 'H':
      return digits(count, 2, (time) => time.hour, 2);
    case 'm':
      return digits(count, 2, (time) => time.minute, 2);
    case 's':
      return digits(count, 2, (time) => time.second, 2);
    case 'S':
      if (count > 9) return null;
      return text(count, (time) => padded(time.millisecond, 3).padEnd(9, '0').slice(0, count));
    case 'A':
      return digits(count, longestNumber, millisecondOfDay, 8);
    case 'n':
      return digits(count, longestNumber, (time) => time.millisecond * 1_000_000, 9);
    case 'N':
      return digits(count, longestNumber, (time) => millisecondOfDay(time) * 1_000_000, 14);
    default:
      return zoneField(letter, count);
  }
}

function zoneField(letter: string, count: number): Field | null | undefined {
  switch (letter) {
    case 'V':
      return count === 2 ? text(64, (time) => time.zone) : null;
    case 'O':
      return count === 1 || count === 4 ? localizedOffset(count === 4) : null;
    case 'X':
      return count <= 5 ? offset(count, 'Z') : null;
    case 'x':
      return count <= 5 ? offset(count, null) : null;
    case 'Z':
      if (count > 5) return null;
      if (count === 4) return localizedOffset(true);
      return count === 5 ? offset(5, 'Z') : offset(2, null);
    default:
      return undefined;
  }
}

function literal(characters: string): Field {
  const maxBytes = Buffer.byteLength(characters);
  return { write: () => characters, maxLength: characters.length, maxBytes };
}

function text(maxLength: number, write: (time: ZonedTime) => string): Field {
  return { write, maxLength, maxBytes: maxLength };
}

/** A number of at least `count` digits, of which a pattern may ask for `countMax`. */
function digits(
  count: number,
  countMax: number,
  value: (time: ZonedTime) => number,
  valueDigits: number,
): Field | null {
  if (count > countMax) return null;
  return text(Math.max(count, valueDigits), (time) => padded(value(time), count));
}

function yearOf(count: number, value: (time: ZonedTime) => number): Field | null {
  if (count > longestNumber) return null;
  if (count === 2) {
    return text(2, (time) => padded(((value(time) % 100) + 100) % 100, 2));
  }
  return text(Math.max(count, yearDigits) + 1, (time) => {
    const year = value(time);
    const number = padded(Math.abs(year), count);
    if (year < 0) return `-${number}`;
    // A year that is longer than it should be is told by its sign.
    return count >= 4 && number.length > count ? `+${number}` : number;
  });
}

/** Up to three letters: the short form; four: the whole name; five: its first letter. */
function named(
  count: number,
  short: readonly string[],
  long: readonly string[],
  index: (time: ZonedTime) => number,
): Field | null {
  const forms = count <= 3 ? short : count === 4 ? long : long.map((name) => name.charAt(0));
  if (count > 5) return null;
  return text(Math.max(...forms.map(({ length }) => length)), (time) => forms[index(time)] ?? '');
}

function weekdayName(count: number): Field | null {
  return named(count, weekdays.map(short), weekdays, (time) => time.weekday);
}

function quarterField(count: number): Field | null {
  const quarter = (time: ZonedTime): number => Math.ceil(time.month / 3);
  if (count <= 2) return digits(count, 2, quarter, 1);
  const forms = quarters.map((_, index) => `Q${index + 1}`);
  return named(count, forms, quarters, (time) => quarter(time) - 1);
}

function short(name: string): string {
  return name.slice(0, 3);
}

/** The number of the week, from 1, of a day of a month or year that is the `day`th of it. */
function weekAt(day: number, weekday: number): number {
  return Math.floor((day - 1 + 6 - weekday) / 7) + 1;
}

/** Whether the week of that day has January 1 of the next year in it. */
function isOfNextYear(time: ZonedTime): boolean {
  return time.month === 12 && time.day - time.weekday + 6 > 31;
}

function weekYear(time: ZonedTime): number {
  return isOfNextYear(time) ? time.year + 1 : time.year;
}

function weekOfYear(time: ZonedTime): number {
  return isOfNextYear(time) ? 1 : weekAt(time.dayOfYear, time.weekday);
}

function millisecondOfDay(time: ZonedTime): number {
  return ((time.hour * 60 + time.minute) * 60 + time.second) * 1000 + time.millisecond;
}

/**
 * `+01`, `+0130`, `+01:30`, `+013015`, `+01:30:15` for one to five letters; the first two leave
 * out or keep minutes, the last two have seconds where there are some.
 */
function offset(count: number, zero: string | null): Field {
  const colon = count === 3 || count === 5 ? ':' : '';
  return text(9, ({ offsetSeconds }) => {
    if (offsetSeconds === 0 && zero !== null) return zero;
    const { sign, hours, minutes, seconds } = offsetParts(offsetSeconds);
    const tail = count >= 4 && seconds !== 0 ? `${colon}${padded(seconds, 2)}` : '';
    if (count === 1 && minutes === 0) return `${sign}${padded(hours, 2)}`;
    return `${sign}${padded(hours, 2)}${colon}${padded(minutes, 2)}${tail}`;
  });
}

/** `GMT+1`, `GMT+5:45`; in full `GMT+01:00`. */
function localizedOffset(full: boolean): Field {
  return text(12, ({ offsetSeconds }) => {
    if (offsetSeconds === 0) return 'GMT';
    const { sign, hours, minutes, seconds } = offsetParts(offsetSeconds);
    const tail = seconds === 0 ? '' : `:${padded(seconds, 2)}`;
    if (full) return `GMT${sign}${padded(hours, 2)}:${padded(minutes, 2)}${tail}`;
    const rest = minutes === 0 && seconds === 0 ? '' : `:${padded(minutes, 2)}${tail}`;
    return `GMT${sign}${hours}${rest}`;
  });
}

function offsetParts(offsetSeconds: number) {
  const rest = Math.abs(offsetSeconds);
  return {
    sign: offsetSeconds < 0 ? '-' : '+',
    hours: Math.floor(rest / 3600),
    minutes: Math.floor(rest / 60) % 60,
    seconds: rest % 60,
  };
}

function padded(value: number, count: number): string {
  return String(value).padStart(count, '0');
}
