/** Whether a condition holds for an item; a condition on what is not there does not hold. */
import { areEqual, compareValues, textBytes, type Item, type Value } from '../values.ts';
import type { Comparator, Condition, Operand, Path } from './syntax.ts';

/** @param item null: there is none */
export function holds(condition: Condition, item: Item | null): boolean {
  switch (condition.kind) {
    case 'and':
      return holds(condition.left, item) && holds(condition.right, item);
    case 'or':
      return holds(condition.left, item) || holds(condition.right, item);
    case 'not':
      return !holds(condition.condition, item);
    case 'exists':
      return valueAt(item, condition.path) !== null;
    case 'not-exists':
      return valueAt(item, condition.path) === null;
    case 'type':
      return valueAt(item, condition.path)?.type === condition.type;
    case 'compare':
      return compare(
        condition.comparator,
        resolve(condition.left, item),
        resolve(condition.right, item),
      );
    case 'between': {
      const [value, low, high] = [condition.operand, condition.low, condition.high].map((operand) =>
        resolve(operand, item),
      );
      return (
        compare('>=', value ?? null, low ?? null) && compare('<=', value ?? null, high ?? null)
      );
    }
    case 'in': {
      const value = resolve(condition.operand, item);
      return condition.list.some((operand) => compare('=', value, resolve(operand, item)));
    }
    case 'begins-with': {
      const [bytes, prefix] = [condition.operand, condition.prefix].map((operand) => {
        const value = resolve(operand, item);
        return { type: value?.type, bytes: value === null ? null : textBytes(value) };
      });
      if (bytes?.bytes == null || prefix?.bytes == null || bytes.type !== prefix.type) return false;
      return bytes.bytes.subarray(0, prefix.bytes.length).equals(prefix.bytes);
    }
    case 'contains': {
      const [value, wanted] = [resolve(condition.operand, item), resolve(condition.wanted, item)];
      return value !== null && wanted !== null && contains(value, wanted);
    }
  }
}

/** null: there is nothing. */
export function valueAt(item: Item | null, path: Path): Value | null {
  let value: Value | null = item === null ? null : { type: 'M', value: item };
  for (const part of path) {
    if (value?.type === 'M' && typeof part === 'string') value = value.value.get(part) ?? null;
    else if (value?.type === 'L' && typeof part === 'number') value = value.value[part] ?? null;
    else return null;
  }
  return value;
}

function resolve(operand: Operand, item: Item | null): Value | null {
  if (operand.kind === 'value') return operand.value;
  const value = valueAt(item, operand.path);
  if (operand.kind === 'path') return value;
  const size = value === null ? null : sizeOf(value);
  return size === null ? null : { type: 'N', value: String(size) };
}

function sizeOf(value: Value): number | null {
  switch (value.type) {
    case 'S':
      return Buffer.byteLength(value.value);
    case 'B':
    case 'SS':
    case 'NS':
    case 'BS':
    case 'L':
      return value.value.length;
    case 'M':
      return value.value.size;
    case 'N':
    case 'BOOL':
    case 'NULL':
      return null;
  }
}

function compare(comparator: Comparator, left: Value | null, right: Value | null): boolean {
  const isSame = left !== null && right !== null && areEqual(left, right);
  if (comparator === '=') return isSame;
  if (comparator === '<>') return !isSame;
  const order = left === null || right === null ? null : compareValues(left, right);
  if (order === null) return false;
  switch (comparator) {
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
  }
}

function contains(value: Value, wanted: Value): boolean {
  switch (value.type) {
    case 'S':
      return wanted.type === 'S' && value.value.includes(wanted.value);
    case 'B':
      return wanted.type === 'B' && value.value.includes(wanted.value);
    case 'SS':
      return wanted.type === 'S' && value.value.includes(wanted.value);
    case 'NS':
      return wanted.type === 'N' && value.value.includes(wanted.value);
    case 'BS':
      return wanted.type === 'B' && value.value.some((one) => one.equals(wanted.value));
    case 'L':
      return value.value.some((one) => areEqual(one, wanted));
    case 'M':
    case 'N':
    case 'BOOL':
    case 'NULL':
      return false;
  }
}
