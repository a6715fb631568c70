import assert from 'node:assert/strict';
import { test } from 'node:test';
import { table } from '../../../gateway/cli/table.ts';

const head = ['NAME', 'STATE', 'WHY'];

test('a reason is whole, beside the row where that is short enough and below it otherwise', () => {
  const short = 'the destination has gone';
  const long = `EACCES: permission denied; could not keep ${'folder/'.repeat(30)}file`;
  assert.deepEqual(
    table(head, [
      ['a', 'idle', ''],
      ['bcd', 'backing-off', short],
      ['e', 'backing-off', long],
    ]),
    [
      '',
      'NAME  STATE        WHY',
      'a     idle',
      `bcd   backing-off  ${short}`,
      'e     backing-off',
      `  ${long}`,
    ],
  );
});

test('what is no sentence stays in its column, and what others wrote stays in its line', () => {
  const name = 'n'.repeat(120);
  const [, , line] = table(head, [[name, 'idle', '12.5']]);
  assert.equal(line, `${'n'.repeat(99)}…  idle   12.5`);
  const [, , harmless] = table(head, [['a', 'b', 'one\ntwo\u001b[31m']]);
  assert.equal(harmless, 'a     b      one two [31m');
  assert.deepEqual(table(head, []), []);
});
