import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addNumbers,
  canonicalNumber,
  compareNumbers,
  negated,
  sortableNumber,
} from '../../../../gateway/api/dynamodb/numbers.ts';
import { seededRandom } from '../../../storage/support/open.ts';

test('a number has one text', () => {
  for (const [given, text] of [
    ['0', '0'],
    ['-0.000', '0'],
    ['+007', '7'],
    ['1.50', '1.5'],
    ['.5', '0.5'],
    ['5.', '5'],
    ['1e3', '1000'],
    ['12.34E-3', '0.01234'],
    ['-1200', '-1200'],
    ['1e125', `1${'0'.repeat(125)}`],
    ['1e-130', `0.${'0'.repeat(129)}1`],
    ['9'.repeat(38), '9'.repeat(38)],
  ] as const) {
    assert.equal(canonicalNumber(given), text, given);
  }
});

test('what is no number, or has too much of one, is refused', () => {
  for (const [given, message] of [
    ['', /cannot be converted to a numeric value$/],
    ['.', /cannot be converted to a numeric value: \.$/],
    ['1,5', /cannot be converted/],
    ['NaN', /cannot be converted/],
    ['1e', /cannot be converted/],
    [' 1', /cannot be converted/],
    ['0x10', /cannot be converted/],
    ['1'.repeat(39), /more than 38 significant digits/],
    ['1e126', /Number overflow/],
    ['-1e126', /Number overflow/],
    ['1e-131', /Number underflow/],
  ] as const) {
    assert.throws(() => canonicalNumber(given), { type: 'ValidationException', message }, given);
  }
});

test('sums are exact', () => {
  assert.equal(addNumbers('0.1', '0.2'), '0.3');
  assert.equal(addNumbers('9'.repeat(37), '1'), `1${'0'.repeat(37)}`);
  assert.equal(addNumbers('-5', '5'), '0');
  assert.equal(addNumbers('9007199254740993', '1'), '9007199254740994');
  assert.throws(() => addNumbers(canonicalNumber('1e100'), '1'), /38 significant digits/);
});

test('numbers compare, and sort as bytes, as their values do', () => {
  const random = seededRandom(11);
  const draw = (): string => {
    const digits = String(Math.floor(random() * 10 ** Math.floor(1 + random() * 6)));
    const sign = random() < 0.5 ? '-' : '';
    return canonicalNumber(`${sign}${digits}e${Math.floor(random() * 8) - 4}`);
  };
  for (let count = 0; count < 20_000; count += 1) {
    const [one, other] = [draw(), draw()];
    const order = Math.sign(Number(one) - Number(other));
    const shown = `${one} and ${other}`;
    assert.equal(Math.sign(compareNumbers(one, other)), order, shown);
    assert.equal(Buffer.compare(sortableNumber(one), sortableNumber(other)), order, shown);
    assert.equal(addNumbers(one, negated(one)), '0');
  }
});
