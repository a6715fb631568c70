import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configOf, problemsOf } from './support.ts';

const withDelivery = (keys: string): string =>
  `streams: { s: {} }\ndeliveries: { d: { from: { stream: s }, to: { folder: { path: out } }, ${keys} } }`;

test('when a delivery sends, and before which others', () => {
  const plain = configOf(withDelivery('required: true')).deliveries['d']!;
  assert.deepEqual([plain.priority, plain.schedule, plain.onlyWhile], [5, null, null]);
  const { priority, schedule, onlyWhile } = configOf(
    withDelivery(
      "priority: 10, schedule: { windows: [{ hours: '22:00-06:00', days: [sat] }, { hours: '12:00-13:30' }], timeZone: Europe/Berlin }, onlyWhile: { program: bin/is-wifi, arguments: [wlan0], everySeconds: 5 }",
    ),
  ).deliveries['d']!;
  assert.equal(priority, 10);
  assert.deepEqual(schedule?.windows[0], { hours: '22:00-06:00', days: ['sat'] });
  assert.equal(schedule.windows[1]?.days.length, 7);
  assert.equal(schedule.timeZone, 'Europe/Berlin');
  assert.deepEqual(onlyWhile, {
    ...{ program: '/etc/headgate/bin/is-wifi', arguments: ['wlan0'] },
    ...{ everySeconds: 5, timeoutSeconds: 10 },
  });
  const found = configOf(withDelivery('onlyWhile: { program: nm-online }')).deliveries['d']!;
  assert.equal(found.onlyWhile?.program, 'nm-online', 'without a slash it is looked for in PATH');
});

test('what is no time, no zone, no program or no priority is named, with what may be there', () => {
  const problems = problemsOf(
    withDelivery(
      "priority: 11, schedule: { windows: [{ hours: '22-6' }, { hours: '06:00-06:00', days: [] }, { hours: '25:00-26:00', days: [someday] }], timeZone: Berlin }, onlyWhile: { everySeconds: 0.5 }",
    ),
  );
  for (const expected of [
    /deliveries\.d\.priority: .*a whole number from 1 to 10/,
    /deliveries\.d\.schedule\.windows\[0\]\.hours: .*times of day such as '22:00-06:00'/,
    /deliveries\.d\.schedule\.windows\[1\]\.hours: /,
    /deliveries\.d\.schedule\.windows\[1\]\.days: /,
    /deliveries\.d\.schedule\.windows\[2\]\.days\[0\]: .*sun/,
    /deliveries\.d\.schedule\.timeZone: .*like Europe\/Berlin/,
    /deliveries\.d\.onlyWhile\.program: /,
    /deliveries\.d\.onlyWhile\.everySeconds: /,
  ]) {
    assert.ok(
      problems.some((problem) => expected.test(problem)),
      `${expected.source} in\n${problems.join('\n')}`,
    );
  }
  assert.match(
    problemsOf(withDelivery('schedule: { windows: [] }')).join('\n'),
    /deliveries\.d\.schedule\.windows: /,
  );
});
