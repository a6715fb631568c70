import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isTimeZone, parseHours, Schedule } from '../../../../gateway/forward/flow/schedule.ts';

const minuteMs = 60_000;
const dayMs = 1440 * minuteMs;
const at = (iso: string): number => Date.parse(iso);
const iso = (timeMs: number | null): string | null =>
  timeMs === null ? null : new Date(timeMs).toISOString();

test('hours are read strictly', () => {
  assert.deepEqual(parseHours('22:00-06:00'), { fromMinute: 1320, toMinute: 1800 });
  assert.deepEqual(parseHours('00:00-24:00'), { fromMinute: 0, toMinute: 1440 });
  assert.deepEqual(parseHours('23:59-00:00'), { fromMinute: 1439, toMinute: 1440 });
  const rubbish = ['', '6-7', '06:00', '6:00-7:00', '24:00-06:00', '06:60-07:00', '06:00-24:01'];
  for (const hours of [...rubbish, '06:00-06:00', '06:00-07:00 ', '06:00–07:00', '-1:00-02:00']) {
    assert.equal(parseHours(hours), null, hours);
  }
  assert.throws(() => new Schedule({ windows: [{ hours: 'always' }] }), RangeError);
});

test('time zones are those of IANA', () => {
  assert.ok(isTimeZone('Europe/Berlin'));
  assert.ok(isTimeZone('UTC'));
  for (const name of ['', 'Mars/Olympus', 'CEST summer']) assert.ok(!isTimeZone(name), name);
});

test('a window past midnight belongs to the day it begins on', () => {
  const schedule = new Schedule({
    windows: [{ hours: '22:00-06:00', days: ['fri'] }],
    timeZone: 'UTC',
  });
  // 2026-01-02 is a Friday.
  assert.ok(!schedule.isOpen(at('2026-01-02T05:59:00Z')), 'of Thursday');
  assert.ok(!schedule.isOpen(at('2026-01-02T21:59:59.999Z')));
  assert.ok(schedule.isOpen(at('2026-01-02T22:00:00Z')));
  assert.ok(schedule.isOpen(at('2026-01-03T05:59:59.999Z')));
  assert.ok(!schedule.isOpen(at('2026-01-03T06:00:00Z')));
  assert.ok(!schedule.isOpen(at('2026-01-03T22:00:00Z')), 'Saturday');
  const next = schedule.nextOpenMs(at('2026-01-03T06:00:00Z'));
  assert.equal(iso(next), '2026-01-09T22:00:00.000Z');
  assert.equal(schedule.toString(), '22:00-06:00 (fri) UTC');
});

test('several windows add up', () => {
  const schedule = new Schedule({
    windows: [{ hours: '12:00-13:00' }, { hours: '12:30-14:15', days: ['sun'] }],
    timeZone: 'Asia/Kolkata',
  });
  assert.equal(iso(schedule.nextOpenMs(at('2026-01-04T00:00:00Z'))), '2026-01-04T06:30:00.000Z');
  assert.ok(schedule.isOpen(at('2026-01-04T08:44:59Z')), 'Sunday, until 14:15 there');
  assert.ok(!schedule.isOpen(at('2026-01-04T08:45:00Z')));
  assert.ok(!schedule.isOpen(at('2026-01-05T08:00:00Z')), 'Monday');
});

test('what is open says so for now', () => {
  const schedule = new Schedule({ windows: [{ hours: '00:00-24:00' }], timeZone: 'UTC' });
  const nowMs = at('2026-05-05T05:05:05.005Z');
  assert.equal(schedule.nextOpenMs(nowMs), nowMs);
});

test('summer time begins: the hour that is left out is in no window, the night is shorter', () => {
  // In Berlin, 2026-03-29 goes from 01:59 to 03:00.
  const lost = new Schedule({ windows: [{ hours: '02:10-02:50' }], timeZone: 'Europe/Berlin' });
  const day = at('2026-03-28T23:00:00Z');
  assert.equal(openMinutes(lost, day, 23 * 60), 0);
  assert.equal(iso(lost.nextOpenMs(day)), '2026-03-30T00:10:00.000Z', 'the day after');
  const night = new Schedule({ windows: [{ hours: '22:00-06:00' }], timeZone: 'Europe/Berlin' });
  const dusk = at('2026-03-28T21:00:00Z');
  assert.equal(iso(night.nextOpenMs(dusk - 60 * minuteMs)), '2026-03-28T21:00:00.000Z');
  assert.equal(openMinutes(night, dusk, 12 * 60), 7 * 60);
  assert.ok(!night.isOpen(at('2026-03-29T04:00:00Z')), '06:00 there');
});

test('summer time ends: the hour that comes twice is in the window twice', () => {
  const twice = new Schedule({ windows: [{ hours: '02:10-02:50' }], timeZone: 'Europe/Berlin' });
  const day = at('2026-10-24T22:00:00Z');
  assert.equal(openMinutes(twice, day, 25 * 60), 80);
  assert.equal(iso(twice.nextOpenMs(day)), '2026-10-25T00:10:00.000Z');
  assert.equal(iso(twice.nextOpenMs(at('2026-10-25T00:50:00Z'))), '2026-10-25T01:10:00.000Z');
  const night = new Schedule({ windows: [{ hours: '22:00-06:00' }], timeZone: 'America/New_York' });
  // 2026-11-01 there.
  assert.equal(openMinutes(night, at('2026-11-01T02:00:00Z'), 12 * 60), 9 * 60);
});

test('half an hour of summer time, and offsets of three quarters', () => {
  const isle = new Schedule({
    windows: [{ hours: '01:30-02:00' }],
    timeZone: 'Australia/Lord_Howe',
  });
  // 2026-04-05, 02:00 becomes 01:30 there: the half hour comes twice.
  assert.equal(openMinutes(isle, at('2026-04-04T13:00:00Z'), 24 * 60), 60);
  const nepal = new Schedule({ windows: [{ hours: '06:00-06:01' }], timeZone: 'Asia/Kathmandu' });
  assert.equal(iso(nepal.nextOpenMs(at('2026-06-01T01:00:00Z'))), '2026-06-02T00:15:00.000Z');
});

test('the next opening is the first open minute, whatever was asked before', () => {
  const zones = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe'];
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const clock = (minute: number): string =>
    `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;
  for (let round = 0; round < 60; round += 1) {
    const from = random(1440);
    const hours = `${clock(from)}-${clock((from + 1 + random(600)) % 1440)}`;
    const schedule = new Schedule({ windows: [{ hours }], timeZone: zones[round % 4]! });
    for (let ask = 0; ask < 5; ask += 1) {
      const days = [
        at('2026-03-28T00:00:00Z'),
        at('2026-10-24T00:00:00Z'),
        at('2026-04-04T00:00:00Z'),
      ];
      const timeMs = days[random(3)]! + random(2 * dayMs);
      const next = schedule.nextOpenMs(timeMs)!;
      let expected = timeMs;
      while (!schedule.isOpen(expected)) {
        expected = (Math.floor(expected / minuteMs) + 1) * minuteMs;
      }
      assert.equal(iso(next), iso(expected), `${hours} ${zones[round % 4]!} at ${iso(timeMs)!}`);
    }
  }
});

function openMinutes(schedule: Schedule, fromMs: number, minutes: number): number {
  let open = 0;
  for (let minute = 0; minute < minutes; minute += 1) {
    if (schedule.isOpen(fromMs + minute * minuteMs)) open += 1;
  }
  return open;
}
