import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileDatePattern } from '../../../../gateway/forward/layout/date-pattern.ts';
import { isTimeZone, zonedTime } from '../../../../gateway/forward/layout/zoned-time.ts';

function format(pattern: string, time: string, zone = 'UTC'): string {
  return compileDatePattern(pattern).format(zonedTime(Date.parse(time), zone));
}

// What Java 17 (Locale.US) makes of them at these three instants in these zones.
const instants = [
  ['2026-02-03T04:04:05.678Z', 'UTC'],
  ['2018-08-27T10:30:00Z', 'Asia/Kathmandu'],
  ['2025-12-31T23:59:59.999Z', 'America/St_Johns'],
] as const;
const java: readonly (readonly [pattern: string, ...texts: string[]])[] = [
  [
    'yyyy yy y uuuu uu u',
    '2026 26 2026 2026 26 2026',
    '2018 18 2018 2018 18 2018',
    '2025 25 2025 2025 25 2025',
  ],
  ['yyyyy', '02026', '02018', '02025'],
  ['G GGGG GGGGG', 'AD Anno Domini A', 'AD Anno Domini A', 'AD Anno Domini A'],
  ['D DDD', '34 034', '239 239', '365 365'],
  ['M MM MMM MMMM MMMMM', '2 02 Feb February F', '8 08 Aug August A', '12 12 Dec December D'],
  ['L LL LLL LLLL LLLLL', '2 02 Feb February F', '8 08 Aug August A', '12 12 Dec December D'],
  ['d dd', '3 03', '27 27', '31 31'],
  [
    'Q QQ QQQ QQQQ QQQQQ',
    '1 01 Q1 1st quarter 1',
    '3 03 Q3 3rd quarter 3',
    '4 04 Q4 4th quarter 4',
  ],
  ['Y YY YYYY w ww W', '2026 26 2026 6 06 1', '2018 18 2018 35 35 5', '2026 26 2026 1 01 5'],
  [
    'E EE EEE EEEE EEEEE',
    'Tue Tue Tue Tuesday T',
    'Mon Mon Mon Monday M',
    'Wed Wed Wed Wednesday W',
  ],
  ['e ee eee eeee eeeee', '3 03 Tue Tuesday T', '2 02 Mon Monday M', '4 04 Wed Wednesday W'],
  ['c ccc cccc ccccc', '3 Tue Tuesday T', '2 Mon Monday M', '4 Wed Wednesday W'],
  [
    'a h hh K KK k kk H HH',
    'AM 4 04 4 04 4 04 4 04',
    'PM 4 04 4 04 16 16 16 16',
    'PM 8 08 8 08 20 20 20 20',
  ],
  ['m mm s ss', '4 04 5 05', '15 15 0 00', '29 29 59 59'],
  [
    'S SSS SSSSSS SSSSSSSSS',
    '6 678 678000 678000000',
    '0 000 000000 000000000',
    '9 999 999000 999000000',
  ],
  [
    'A n N',
    '14645678 678000000 14645678000000',
    '58500000 0 58500000000000',
    '73799999 999000000 73799999000000',
  ],
  ['AAAAAAAAAA nn', '0014645678 678000000', '0058500000 00', '0073799999 999000000'],
  ['VV', 'UTC', 'Asia/Kathmandu', 'America/St_Johns'],
  ['O OOOO', 'GMT GMT', 'GMT+5:45 GMT+05:45', 'GMT-3:30 GMT-03:30'],
  [
    'X XX XXX XXXX XXXXX',
    'Z Z Z Z Z',
    '+0545 +0545 +05:45 +0545 +05:45',
    '-0330 -0330 -03:30 -0330 -03:30',
  ],
  [
    'x xx xxx xxxx xxxxx',
    '+00 +0000 +00:00 +0000 +00:00',
    '+0545 +0545 +05:45 +0545 +05:45',
    '-0330 -0330 -03:30 -0330 -03:30',
  ],
  [
    'Z ZZZ ZZZZ ZZZZZ',
    '+0000 +0000 GMT Z',
    '+0545 +0545 GMT+05:45 +05:45',
    '-0330 -0330 GMT-03:30 -03:30',
  ],
  ["'' 'o''clock' [yyyy[MM]]", "' o'clock 202602", "' o'clock 201808", "' o'clock 202512"],
  ["YYYY-'W'ww-e", '2026-W06-3', '2018-W35-2', '2026-W01-4'],
];

test('patterns give what Java gives', () => {
  for (const [pattern, ...texts] of java) {
    instants.forEach(([time, zone], index) => {
      assert.equal(format(pattern, time, zone), texts[index], `${pattern} at ${time}`);
    });
  }
});

test('what Java refuses is refused, and so is what is not here', () => {
  for (const pattern of [
    ...[
      'ddd',
      'HHH',
      'aa',
      'b',
      '#',
      '{',
      '}',
      'V',
      'cc',
      'WW',
      'QQQQQQ',
      'GGGGGG',
      'ZZZZZZ',
      'OO',
    ],
    ...[
      'www',
      'DDDD',
      'SSSSSSSSSS',
      'y'.repeat(20),
      'A'.repeat(20),
      "'abc",
      "yyyy'",
      ']',
      'XXXXXX',
    ],
    ...['z', 'zzzz', 'v', 'B', 'ppH', 'F', 'T', 'I'],
  ]) {
    assert.throws(() => compileDatePattern(pattern), { name: 'PatternError' }, pattern);
  }
});

test('hours follow the clocks of the zone, also where they change', () => {
  const hour = "yyyy/MM/dd/HH:mm' 'XXX";
  const cases = [
    // Berlin: an hour is left out, an hour comes twice.
    ['2026-03-29T00:59:59.999Z', 'Europe/Berlin', '2026/03/29/01:59 +01:00'],
    ['2026-03-29T01:00:00Z', 'Europe/Berlin', '2026/03/29/03:00 +02:00'],
    ['2026-10-25T00:59:59Z', 'Europe/Berlin', '2026/10/25/02:59 +02:00'],
    ['2026-10-25T01:00:00Z', 'Europe/Berlin', '2026/10/25/02:00 +01:00'],
    // Lord Howe: half an hour. Apia: a day that never was. Dublin: winter is the exception.
    ['2026-04-04T14:59:59Z', 'Australia/Lord_Howe', '2026/04/05/01:59 +11:00'],
    ['2026-04-04T15:00:00Z', 'Australia/Lord_Howe', '2026/04/05/01:30 +10:30'],
    ['2011-12-30T09:59:59Z', 'Pacific/Apia', '2011/12/29/23:59 -10:00'],
    ['2011-12-30T10:00:00Z', 'Pacific/Apia', '2011/12/31/00:00 +14:00'],
    ['2026-01-01T00:00:00Z', 'Europe/Dublin', '2026/01/01/00:00 Z'],
    ['2025-12-31T23:59:59Z', 'Asia/Tokyo', '2026/01/01/08:59 +09:00'],
    ['2026-01-01T00:00:00Z', 'Pacific/Honolulu', '2025/12/31/14:00 -10:00'],
    ['2024-02-29T12:00:00Z', 'Pacific/Kiritimati', '2024/03/01/02:00 +14:00'],
    ['1969-12-31T23:59:59.999Z', 'America/New_York', '1969/12/31/18:59 -05:00'],
  ] as const;
  for (const [time, zone, expected] of cases) {
    assert.equal(format(hour, time, zone), expected, `${time} ${zone}`);
  }
});

test('years and weeks turn where they do', () => {
  const cases = [
    ['2024-12-28T00:00:00Z', '2024 52 7'],
    ['2024-12-29T00:00:00Z', '2025 1 1'],
    ['2024-12-31T00:00:00Z', '2025 1 3'],
    ['2025-01-01T00:00:00Z', '2025 1 4'],
    ['2022-12-31T00:00:00Z', '2022 53 7'],
    ['2023-01-01T00:00:00Z', '2023 1 1'],
  ] as const;
  for (const [time, expected] of cases) assert.equal(format('YYYY w e', time), expected, time);
  assert.equal(format('D', '2024-12-31T00:00:00Z'), '366');
  const far = compileDatePattern('yyyy yyyyy u y G');
  assert.equal(far.format(zonedTime(Date.UTC(12026, 0, 1), 'UTC')), '+12026 12026 12026 12026 AD');
  assert.equal(far.format(zonedTime(Date.UTC(-1, 0, 1), 'UTC')), '0002 00002 -1 2 BC');
});

test('no text is longer than it was said to be', () => {
  const patterns = java.map(([pattern]) => compileDatePattern(`${pattern}'ü'`));
  for (let month = 0; month < 240; month += 1) {
    const time = zonedTime(Date.UTC(2010, month, 1 + (month % 28), month % 24), 'Asia/Kolkata');
    for (const pattern of patterns) {
      const text = pattern.format(time);
      assert.ok(text.length <= pattern.maxLength);
      assert.ok(Buffer.byteLength(text) <= pattern.maxBytes);
    }
  }
});

test('time zones are those of IANA', () => {
  for (const zone of [
    'UTC',
    'Europe/Berlin',
    'Etc/GMT+5',
    'America/Argentina/Ushuaia',
    'Africa/Asmera',
  ]) {
    assert.ok(isTimeZone(zone), zone);
  }
  for (const zone of ['', ' ', 'Berlin', 'Europe/', '+01:00', '../UTC', 'Mars/Olympus', 'UTC\0']) {
    assert.ok(!isTimeZone(zone), zone);
  }
});
