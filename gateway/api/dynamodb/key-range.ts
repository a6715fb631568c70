/** Reads the condition of a Query: one hash key, and at most one condition on the range key. */
import type { Position } from '../../../storage/items/rows.ts';
import { invalid } from './errors.ts';
import type { Comparator, Condition, Operand } from './expressions/syntax.ts';
import type { KeySchema, KeyType } from './tables.ts';
import { keyBytes, type Value } from './values.ts';

/** From the first position that may be in it to the first that is not; null: to the end. */
export interface KeyRange {
  readonly from: Position;
  readonly to: Position | null;
}

interface KeyCondition {
  readonly name: string;
  readonly comparator: Comparator | 'between' | 'begins-with';
  readonly values: readonly Value[];
}

const none = Buffer.alloc(0);
const zero = Buffer.from([0]);

/** @throws DynamoDbError */
export function readKeyRange(
  condition: Condition | null,
  { hash, range }: KeySchema,
  attributes: Readonly<Record<string, KeyType>>,
): KeyRange {
  const conditions = condition === null ? [] : leaves(condition);
  if (conditions.length !== 1 && conditions.length !== 2) {
    throw invalid('Conditions can be of length 1 or 2 only');
  }
  const [first, second] = conditions;
  if (first !== undefined && first.name === second?.name) {
    throw invalid('KeyConditionExpressions must only contain one condition per key');
  }
  const onHash = conditions.find(({ name }) => name === hash);
  if (onHash === undefined) throw invalid(`Query condition missed key schema element: ${hash}`);
  if (onHash.comparator !== '=') throw invalid('Query key condition not supported');
  const onRange = conditions.find((one) => one !== onHash);
  if (onRange !== undefined && onRange.name !== range) {
    throw invalid(
      range === null
        ? 'Query key condition not supported'
        : `Query condition missed key schema element: ${range}`,
    );
  }
  const [hashBytes = none] = bytesOf(onHash, attributes);
  const [low, high] = onRange === undefined ? [none, null] : bounds(onRange, attributes);
  return {
    from: { hash: hashBytes, range: low },
    to:
      high === null
        ? { hash: Buffer.concat([hashBytes, zero]), range: none }
        : { hash: hashBytes, range: high },
  };
}

/** The first bytes that are in it, and the first that are not; null: there is no end. */
function bounds(
  condition: KeyCondition,
  attributes: Readonly<Record<string, KeyType>>,
): readonly [Buffer, Buffer | null] {
  const [first = none, second = none] = bytesOf(condition, attributes);
  const after = (bytes: Buffer): Buffer => Buffer.concat([bytes, zero]);
  switch (condition.comparator) {
    case '=':
      return [first, after(first)];
    case '<':
      return [none, first];
    case '<=':
      return [none, after(first)];
    case '>':
      return [after(first), null];
    case '>=':
      return [first, null];
    case 'between':
      return [first, after(second)];
    case 'begins-with':
      if (condition.values[0]?.type === 'N') throw invalid('Query key condition not supported');
      return [first, afterPrefix(first)];
    case '<>':
      throw invalid('Invalid operator used in KeyConditionExpression: <>');
  }
}

/** The first bytes behind all that begin so; null: there are none. */
function afterPrefix(prefix: Buffer): Buffer | null {
  for (let end = prefix.length; end > 0; end -= 1) {
    const last = prefix[end - 1] ?? 0;
    if (last < 0xff) return Buffer.from([...prefix.subarray(0, end - 1), last + 1]);
  }
  return null;
}

function bytesOf(
  { name, values }: KeyCondition,
  attributes: Readonly<Record<string, KeyType>>,
): readonly Buffer[] {
  return values.map((value) => {
    const bytes = keyBytes(value);
    if (bytes === null || value.type !== attributes[name]) {
      throw invalid(
        'One or more parameter values were invalid: Condition parameter type does not match schema type',
      );
    }
    return bytes;
  });
}

function leaves(condition: Condition): readonly KeyCondition[] {
  switch (condition.kind) {
    case 'and':
      return [...leaves(condition.left), ...leaves(condition.right)];
    case 'compare':
      return [compared(condition.comparator, condition.left, condition.right)];
    case 'between':
      return [onKey('between', condition.operand, [condition.low, condition.high])];
    case 'begins-with':
      return [onKey('begins-with', condition.operand, [condition.prefix])];
    case 'or':
    case 'not':
    case 'in':
    case 'contains':
    case 'type':
    case 'exists':
    case 'not-exists':
      throw invalid(`Invalid operator used in KeyConditionExpression: ${names[condition.kind]}`);
  }
}

const names = {
  ...{ or: 'OR', not: 'NOT', in: 'IN', contains: 'contains', type: 'attribute_type' },
  ...{ exists: 'attribute_exists', 'not-exists': 'attribute_not_exists' },
} as const;

const turned: Readonly<Record<Comparator, Comparator>> = {
  ...{ '=': '=', '<>': '<>', '<': '>', '<=': '>=', '>': '<', '>=': '<=' },
};

function compared(comparator: Comparator, left: Operand, right: Operand): KeyCondition {
  if (comparator === '<>') {
    throw invalid('Invalid operator used in KeyConditionExpression: <>');
  }
  if (left.kind !== 'path' && right.kind === 'path') {
    return onKey(turned[comparator], right, [left]);
  }
  return onKey(comparator, left, [right]);
}

function onKey(
  comparator: KeyCondition['comparator'],
  key: Operand,
  operands: readonly Operand[],
): KeyCondition {
  const [name] = key.kind === 'path' ? key.path : [];
  if (key.kind !== 'path' || typeof name !== 'string') {
    throw invalid('Invalid condition in KeyConditionExpression: No key attribute specified');
  }
  if (key.path.length > 1) {
    throw invalid('KeyConditionExpressions cannot have conditions on nested attributes');
  }
  const values = operands.map((operand) => {
    if (operand.kind === 'value') return operand.value;
    throw invalid(
      'Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition',
    );
  });
  return { name, comparator, values };
}
