/**
 * When a delivery may send: windows on the wall clock of a time zone.
 *
 * A window is looked at as a clock on the wall shows it. An hour that the clock goes through twice,
 * when summer time ends, is in its windows twice; one that it leaves out is in none. Whether now is
 * within a window follows from now alone, so a clock that is set changes the answer at once.
 */

const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
export type Weekday = (typeof weekdays)[number];

export interface Window {
  /** `22:00-06:00`: from the first minute on until before the last; past midnight where that is earlier. */
  readonly hours: string;
  /** On which it begins; left out: on all. */
  readonly days?: readonly Weekday[];
}

export interface ScheduleOptions {
  readonly windows: readonly Window[];
  /** An IANA name; null or left out: that of the machine. */
  readonly timeZone?: string | null;
}

const dayMinutes = 24 * 60;
const minuteMs = 60_000;
/** No zone changes its offset within one of these, counted from a full hour of UTC. */
const quarterMs = 15 * minuteMs;
/** Any window has come round by then, also past a day that lacks its hour. */
const horizonMs = 15 * dayMinutes * minuteMs;

interface Span {
  readonly fromMinute: number;
  /** May be past midnight. */
  readonly toMinute: number;
  readonly days: ReadonlySet<number>;
}

/** The minutes that a window's hours name; null: they are none. */
export function parseHours(
  hours: string,
): { readonly fromMinute: number; readonly toMinute: number } | null {
  const match = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(hours);
  if (match === null) return null;
  const [fromHour = 0, fromRest = 0, toHour = 0, toRest = 0] = match.slice(1).map(Number);
  const fromMinute = fromHour * 60 + fromRest;
  const toMinute = toHour * 60 + toRest;
  if (fromRest > 59 || toRest > 59 || fromMinute >= dayMinutes || toMinute > dayMinutes)
    return null;
  if (fromMinute === toMinute) return null;
  return { fromMinute, toMinute: toMinute < fromMinute ? toMinute + dayMinutes : toMinute };
}

/** Whether it is a time zone that this machine knows. */
export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

export class Schedule {
  readonly #spans: readonly Span[];
  readonly #format: Intl.DateTimeFormat;
  readonly #text: string;
  /** The minute that was asked about last, and what was said. */
  #asked: { readonly minute: number; readonly isOpen: boolean } | null = null;
  /** What was found last: nothing opens between these two. */
  #closed: { readonly fromMs: number; readonly untilMs: number } | null = null;

  /** @throws RangeError for hours or a time zone that are none: the configuration refuses them */
  constructor({ windows, timeZone = null }: ScheduleOptions) {
    this.#spans = windows.map(({ hours, days = weekdays }) => {
      const minutes = parseHours(hours);
      if (minutes === null) throw new RangeError(`${hours} is no time of day`);
      return { ...minutes, days: new Set(days.map((day) => weekdays.indexOf(day))) };
    });
    this.#format = new Intl.DateTimeFormat('en-US', {
      ...(timeZone !== null && { timeZone }),
      ...{ weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
    });
    const zone = this.#format.resolvedOptions().timeZone;
    this.#text = `${windows.map(windowText).join(', ')} ${zone}`;
  }

  /** `22:00-06:00 (sat, sun), 12:00-13:00 Europe/Berlin` */
  toString(): string {
    return this.#text;
  }

  isOpen(timeMs: number): boolean {
    const minute = Math.floor(timeMs / minuteMs);
    if (this.#asked?.minute !== minute) {
      this.#asked = { minute, isOpen: this.#isOpenAt(this.#wall(timeMs)) };
    }
    return this.#asked.isOpen;
  }

  /** When a window is open next, at or after a time; null: not within a fortnight. */
  nextOpenMs(timeMs: number): number | null {
    const known = this.#closed;
    if (known === null || timeMs < known.fromMs || timeMs >= known.untilMs) {
      this.#closed = { fromMs: timeMs, untilMs: this.#find(timeMs) };
    }
    const untilMs = this.#closed?.untilMs ?? Infinity;
    return untilMs === Infinity ? null : untilMs;
  }

  #find(fromMs: number): number {
    for (let timeMs = fromMs; timeMs < fromMs + horizonMs;) {
      const nextQuarterMs = (Math.floor(timeMs / quarterMs) + 1) * quarterMs;
      const wall = this.#wall(timeMs);
      const minuteStartMs = Math.floor(timeMs / minuteMs) * minuteMs;
      const minutes = (nextQuarterMs - minuteStartMs) / minuteMs;
      for (let ahead = 0; ahead < minutes; ahead += 1) {
        if (!this.#isOpenAt(later(wall, ahead))) continue;
        return Math.max(timeMs, minuteStartMs + ahead * minuteMs);
      }
      timeMs = nextQuarterMs;
    }
    return Infinity;
  }

  #isOpenAt({ day, minute }: Wall): boolean {
    const dayBefore = (day + 6) % 7;
    return this.#spans.some(
      ({ fromMinute, toMinute, days }) =>
        (days.has(day) && minute >= fromMinute && minute < toMinute) ||
        (days.has(dayBefore) && minute + dayMinutes < toMinute),
    );
  }

  #wall(timeMs: number): Wall {
    const parts = new Map(
      this.#format.formatToParts(timeMs).map(({ type, value }) => [type, value]),
    );
    const day = weekdays.findIndex((name) => name === parts.get('weekday')?.toLowerCase());
    return { day, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) };
  }
}

/** What a clock on the wall shows. */
interface Wall {
  /** From Sunday on. */
  readonly day: number;
  readonly minute: number;
}

function later({ day, minute }: Wall, minutes: number): Wall {
  const sum = minute + minutes;
  return { day: (day + Math.floor(sum / dayMinutes)) % 7, minute: sum % dayMinutes };
}

function windowText({ hours, days = weekdays }: Window): string {
  return days.length === weekdays.length ? hours : `${hours} (${days.join(', ')})`;
}
