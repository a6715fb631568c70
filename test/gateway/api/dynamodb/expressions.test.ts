import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DynamoDbError } from '../../../../gateway/api/dynamodb/errors.ts';
import { readCondition } from '../../../../gateway/api/dynamodb/expressions/condition.ts';
import { holds } from '../../../../gateway/api/dynamodb/expressions/evaluate.ts';
import { Placeholders } from '../../../../gateway/api/dynamodb/expressions/placeholders.ts';
import {
  project,
  readProjection,
} from '../../../../gateway/api/dynamodb/expressions/projection.ts';
import { readUpdate, updated } from '../../../../gateway/api/dynamodb/expressions/update.ts';
import { readItem, wireItem, type Item } from '../../../../gateway/api/dynamodb/values.ts';
import { seededRandom } from '../../../storage/support/open.ts';

const item = itemOf({
  a: { S: 'text' },
  n: { N: '5' },
  b: { B: 'AQID' },
  yes: { BOOL: true },
  none: { NULL: true },
  tags: { SS: ['x', 'y'] },
  numbers: { NS: ['1', '2.0'] },
  list: { L: [{ S: 'zero' }, { N: '1' }, { M: { deep: { S: 'in' } } }] },
  map: { M: { inner: { N: '7' }, 'with.dot': { S: 'd' } } },
});

function itemOf(members: Record<string, unknown>): Item {
  return readItem(Object.entries(members));
}

const names = new Map([
  ['#a', 'a'],
  ['#dot', 'with.dot'],
  ['#size', 'size'],
]);
const values = new Map<string, unknown>([
  [':text', { S: 'text' }],
  [':te', { S: 'te' }],
  [':x', { S: 'x' }],
  [':1', { N: '1' }],
  [':5', { N: '5.0' }],
  [':6', { N: '6' }],
  [':two', { N: '2' }],
  [':S', { S: 'S' }],
  [':set', { SS: ['y', 'x'] }],
  [':z', { SS: ['z'] }],
  [':list', { L: [{ S: 'new' }] }],
]);

function placeholders(): Placeholders {
  return new Placeholders(names, values);
}

function check(expression: string, of: Item | null = item): boolean {
  return holds(readCondition(expression, placeholders()), of);
}

describe('conditions', () => {
  for (const [expression, expected] of [
    ['a = :text', true],
    ['#a=:text', true],
    ['a <> :text', false],
    ['missing <> :text', true],
    ['missing = :text', false],
    ['n = :5', true],
    ['n < :6 AND n > :1', true],
    ['n >= :6 or n <= :1', false],
    ['NOT n = :6', true],
    ['not not n = :5', true],
    ['n = :6 OR n = :5 AND a = :text', true],
    ['(n = :6 OR n = :5) AND a <> :text', false],
    ['((n) = (:5))', true],
    ['n BETWEEN :1 AND :6', true],
    ['n BETWEEN :1 AND :6 AND a = :text', true],
    ['n IN (:1, :5)', true],
    ['n IN (:1)', false],
    ['a > :1', false],
    ['attribute_exists(map.inner)', true],
    ['attribute_exists (map.#dot)', true],
    ['attribute_exists(map.nothing)', false],
    ['attribute_not_exists(list[7])', true],
    ['attribute_exists(list[2].deep)', true],
    ['attribute_type(a, :S)', true],
    ['attribute_type(n, :S)', false],
    ['begins_with(a, :te)', true],
    ['begins_with(a, :x)', false],
    ['contains(a, :x)', true],
    ['contains(tags, :x)', true],
    ['contains(numbers, :two)', true],
    ['contains(list, :1)', true],
    ['contains(list, :x)', false],
    ['tags = :set', true],
    ['size(a) = size(map) ', false],
    ['size(tags) = :two', true],
    ['size(yes) = :1', false],
  ] as const) {
    test(expression, () => {
      assert.equal(check(expression), expected);
    });
  }

  test('on no item', () => {
    assert.equal(check('attribute_not_exists(a)', null), true);
    assert.equal(check('a = :text', null), false);
  });

  for (const [expression, message] of [
    ['', /^The expression can not be empty;$/],
    ['a', /^Syntax error; token: "<EOF>"/],
    ['a = ', /^Syntax error; token: "<EOF>", near: "a ="$/],
    ['a = :text extra', /^Syntax error; token: "extra"/],
    ['a = "text"', /^Syntax error; token: """/],
    ['(a = :text', /^Syntax error/],
    ['a = :text AND n', /^Syntax error/],
    ['a BETWEEN :1', /^Syntax error/],
    [
      'a = :nothing',
      /attribute value used in expression is not defined; attribute value: :nothing/,
    ],
    ['#nothing = :text', /attribute name used in the document path is not defined/],
    ['size(a)', /not allowed to be used this way in an expression; function: size/],
    ['exists(a)', /Invalid function name; function: exists/],
    ['begins_with(a)', /Incorrect number of operands .*: begins_with, number of operands: 1/],
    ['begins_with(a, :1)', /Incorrect operand type .*: begins_with, operand type: N/],
    ['attribute_exists(:text)', /requires a document path; .*: attribute_exists/],
    ['n BETWEEN :6 AND :1', /upper bound to be greater than or equal to lower bound/],
    ['n BETWEEN :text AND :1', /requires same data type/],
    ['a < :set', /Incorrect operand type .*: <, operand type: SS/],
    ['a = a', /first operand must be distinct/],
    [`${'('.repeat(1000)}a = :text${')'.repeat(1000)}`, /too many nested/],
    [`${'NOT '.repeat(800)}a = :text`, /too many nested/],
    [`a = :text${' '.repeat(5000)}`, /exceeded the maximum allowed size; expression size: 5009/],
  ] as const) {
    test(`refused: ${expression.slice(0, 40)}`, () => {
      assert.throws(() => check(expression), { type: 'ValidationException', message });
    });
  }
});

function update(expression: string, of: Item = item): Record<string, unknown> {
  return wireItem(updated(of, readUpdate(expression, placeholders())));
}

describe('updates', () => {
  test('SET takes every value from the item as it was', () => {
    const after = update('SET n = n + :1, old = n, c = if_not_exists(missing, :x), d = :6 - n');
    assert.deepEqual(after['n'], { N: '6' });
    assert.deepEqual(after['old'], { N: '5' });
    assert.deepEqual(after['c'], { S: 'x' });
    assert.deepEqual(after['d'], { N: '1' });
  });

  test('nested paths, lists and what is behind their end', () => {
    const after = update(
      'SET map.inner = :1, list[9] = :x, list[8] = :text, more = list_append(list, :list) REMOVE list[0], list[1]',
    );
    assert.deepEqual(after['map'], { M: { inner: { N: '1' }, 'with.dot': { S: 'd' } } });
    assert.deepEqual(after['list'], {
      L: [{ M: { deep: { S: 'in' } } }, { S: 'text' }, { S: 'x' }],
    });
    assert.equal((after['more'] as { L: unknown[] }).L.length, 4);
  });

  test('ADD and DELETE', () => {
    const after = update(
      'ADD n :two, fresh :1, tags :z DELETE numbers :z',
      itemOf({
        n: { N: '1' },
        tags: { SS: ['z', 'y'] },
      }),
    );
    assert.deepEqual(after, { n: { N: '3' }, fresh: { N: '1' }, tags: { SS: ['z', 'y'] } });
    assert.deepEqual(update('DELETE tags :set', itemOf({ tags: { SS: ['x'] } })), {});
  });

  test('the item that was is left as it is', () => {
    const before = JSON.stringify(wireItem(item));
    update('SET map.inner = :1, list[0] = :x REMOVE a ADD n :1');
    assert.equal(JSON.stringify(wireItem(item)), before);
  });

  for (const [expression, message] of [
    ['SET a = :x SET b = :x', /section can only be used once/],
    ['SET a = :x, a = :1', /Two document paths overlap/],
    ['SET map = :x REMOVE map.inner', /Two document paths overlap/],
    ['a = :x', /Syntax error/],
    ['SET a', /Syntax error/],
    ['SET a = missing', /refers to an attribute that does not exist in the item/],
    ['SET a = a + :1', /incorrect data type/],
    ['SET missing.inner = :x', /document path provided in the update expression is invalid/],
    ['REMOVE list[0].deep', /document path provided in the update expression is invalid/],
    ['ADD a :1', /incorrect data type/],
    ['ADD a :text', /Incorrect operand type .*operator: ADD, operand type: STRING/],
    ['DELETE tags :1', /Incorrect operand type .*operator: DELETE, operand type: NUMBER/],
    ['SET a = size(b)', /Invalid function name; function: size/],
    ['SET a = if_not_exists(:x, :x)', /requires a document path/],
    [`SET a = ${'('.repeat(500)}:x${')'.repeat(500)}`, /too many nested/],
  ] as const) {
    test(`refused: ${expression.slice(0, 40)}`, () => {
      assert.throws(() => update(expression), { type: 'ValidationException', message });
    });
  }
});

test('projections keep what is around what is wanted', () => {
  const paths = readProjection('#a, map.inner, list[2].deep, list[0], missing', placeholders());
  assert.deepEqual(wireItem(project(item, paths)), {
    a: { S: 'text' },
    map: { M: { inner: { N: '7' } } },
    list: { L: [{ S: 'zero' }, { M: { deep: { S: 'in' } } }] },
  });
});

test('names and values that are not used, or not well named, are refused', () => {
  const unused = placeholders();
  readCondition('a = :text', unused);
  assert.throws(() => {
    unused.checkUsed();
  }, /ExpressionAttributeNames unused in expressions: keys: \{#a, #dot, #size\}/);
  assert.throws(() => new Placeholders(new Map(), undefined), /must not be empty/);
  assert.throws(() => new Placeholders(new Map([['a', 'b']]), undefined), /invalid key.*key: "a"/);
  assert.throws(
    () => new Placeholders(undefined, new Map([[':a', {}]])),
    /contains invalid value: Supplied AttributeValue is empty.* for key :a/,
  );
});

test('whatever comes, it is read or refused', () => {
  const random = seededRandom(23);
  const parts = [
    ...['a', '#a', '#x', ':text', ':1', ':set', '(', ')', '[', ']', '0', '99999999999', '.', ','],
    ...[
      '=',
      '<>',
      '<',
      '<=',
      'AND',
      'OR',
      'NOT',
      'BETWEEN',
      'IN',
      'SET',
      'REMOVE',
      'ADD',
      'DELETE',
    ],
    ...['size', 'contains', 'begins_with', 'attribute_exists', 'if_not_exists', 'list_append'],
    ...['+', '-', ' ', '\u0000', '"', 'é', '__proto__', 'constructor'],
  ];
  let readable = 0;
  for (let count = 0; count < 30_000; count += 1) {
    const expression = Array.from(
      { length: 1 + Math.floor(random() * 12) },
      () => parts[Math.floor(random() * parts.length)],
    ).join(random() < 0.7 ? ' ' : '');
    for (const read of [() => check(expression), () => update(expression)]) {
      try {
        read();
        readable += 1;
      } catch (error) {
        assert.ok(error instanceof DynamoDbError, `${expression}: ${String(error)}`);
      }
    }
  }
  assert.ok(readable > 50, `only ${readable} were readable`);
});
