/**
 * Reads conditions: ConditionExpression, FilterExpression and KeyConditionExpression. NOT binds
 * before AND, and that before OR (docs: "Condition and filter expressions, operators, and functions").
 */
import { invalid } from '../errors.ts';
import { areEqual, compareValues, valueTypes } from '../values.ts';
import type { Placeholders } from './placeholders.ts';
import { Reader, wrongCount, wrongType } from './reader.ts';
import type { Comparator, Condition, Operand, Path } from './syntax.ts';

/** @throws DynamoDbError, without the name of the parameter */
export function readCondition(expression: string, placeholders: Placeholders): Condition {
  const reader = new ConditionReader(new Reader(expression, placeholders));
  return reader.whole();
}

/** Parentheses are around both: which it is, is known only behind them. */
type Node = Operand | Condition;

const comparators: readonly Comparator[] = ['=', '<>', '<', '<=', '>', '>='];
const functions = [
  ...(['attribute_exists', 'attribute_not_exists', 'attribute_type'] as const),
  ...(['begins_with', 'contains', 'size'] as const),
];
/** What IN may choose from. */
const inMax = 100;
const keywords = new Set(['AND', 'OR', 'NOT', 'BETWEEN', 'IN']);

class ConditionReader {
  readonly #reader: Reader;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  whole(): Condition {
    const condition = this.#condition(this.#or());
    this.#reader.end();
    return condition;
  }

  #or(): Node {
    let left = this.#and();
    while (this.#reader.take('OR')) {
      left = { kind: 'or', left: this.#condition(left), right: this.#condition(this.#and()) };
    }
    return left;
  }

  #and(): Node {
    let left = this.#not();
    while (this.#reader.take('AND')) {
      left = { kind: 'and', left: this.#condition(left), right: this.#condition(this.#not()) };
    }
    return left;
  }

  #not(): Node {
    if (!this.#reader.take('NOT')) return this.#comparison();
    const inner = this.#reader.nested(() => this.#not());
    return { kind: 'not', condition: this.#condition(inner) };
  }

  #comparison(): Node {
    const reader = this.#reader;
    const left = this.#primary();
    if (!isOperand(left)) return left;
    const comparator = comparators.find((sign) => reader.isAt(sign));
    if (comparator !== undefined) {
      reader.advance();
      return compared(comparator, left, this.#operand());
    }
    if (reader.take('BETWEEN')) {
      const low = this.#operand();
      reader.expect('AND');
      return between(left, low, this.#operand());
    }
    if (reader.take('IN')) {
      const list = reader.list(() => this.#operand());
      if (list.length <= inMax) return { kind: 'in', operand: left, list };
      throw invalid(
        `The IN operator is provided with too many operands; number of operands: ${list.length}`,
      );
    }
    return left;
  }

  #primary(): Node {
    const reader = this.#reader;
    if (reader.take('(')) {
      const inner = reader.nested(() => this.#or());
      reader.expect(')');
      return inner;
    }
    if (reader.token.kind === 'word' && keywords.has(reader.token.text.toUpperCase())) {
      throw reader.unexpected();
    }
    const operand = reader.plainOperand();
    if (operand !== null) return operand;
    if (reader.isAtCall()) return this.#call();
    throw reader.unexpected();
  }

  #call(): Node {
    const name = this.#reader.advance().text;
    const known = functions.find((one) => one === name);
    if (known === undefined) throw invalid(`Invalid function name; function: ${name}`);
    const operands = this.#reader.list(() => this.#operand());
    const wanted = ['begins_with', 'contains', 'attribute_type'].includes(name) ? 2 : 1;
    const [first, second] = operands;
    if (operands.length !== wanted || first === undefined) throw wrongCount(name, operands.length);
    switch (known) {
      case 'attribute_exists':
        return { kind: 'exists', path: pathOf(name, first) };
      case 'attribute_not_exists':
        return { kind: 'not-exists', path: pathOf(name, first) };
      case 'size':
        if (first.kind !== 'path') throw wrongType(name, typeOf(first) ?? 'size');
        return { kind: 'size', path: first.path };
      case 'attribute_type':
        return typed(pathOf(name, first), second ?? first);
      case 'contains':
        return { kind: 'contains', operand: first, wanted: second ?? first };
      case 'begins_with':
        for (const operand of operands) allowTypes(name, operand, ['S', 'B']);
        return { kind: 'begins-with', operand: first, prefix: second ?? first };
    }
  }

  #operand(): Operand {
    const node = this.#primary();
    if (isOperand(node)) return node;
    throw this.#reader.unexpected();
  }

  #condition(node: Node): Condition {
    if (!isOperand(node)) return node;
    if (node.kind !== 'size') throw this.#reader.unexpected();
    throw invalid(
      'The function is not allowed to be used this way in an expression; function: size',
    );
  }
}

function isOperand(node: Node): node is Operand {
  return node.kind === 'path' || node.kind === 'value' || node.kind === 'size';
}

function typeOf(operand: Operand): string | null {
  return operand.kind === 'value' ? operand.value.type : null;
}

function pathOf(name: string, operand: Operand): Path {
  if (operand.kind === 'path') return operand.path;
  throw invalid(`Operator or function requires a document path; operator or function: ${name}`);
}

function allowTypes(name: string, operand: Operand, types: readonly string[]): void {
  const type = typeOf(operand);
  if (type !== null && !types.includes(type)) throw wrongType(name, type);
}

function compared(comparator: Comparator, left: Operand, right: Operand): Condition {
  if (comparator !== '=' && comparator !== '<>') {
    for (const operand of [left, right]) allowTypes(comparator, operand, ['S', 'N', 'B']);
  }
  if (left.kind === 'path' && right.kind === 'path' && arePathsEqual(left.path, right.path)) {
    throw invalid(
      `The first operand must be distinct from the remaining operands for this operator or function; operator: ${comparator}, first operand: [${left.path.join(', ')}]`,
    );
  }
  return { kind: 'compare', comparator, left, right };
}

function arePathsEqual(one: Path, other: Path): boolean {
  return one.length === other.length && one.every((part, index) => part === other[index]);
}

/** Bounds that are both given have to be of one type, and in order. */
function between(operand: Operand, low: Operand, high: Operand): Condition {
  for (const one of [operand, low, high]) allowTypes('BETWEEN', one, ['S', 'N', 'B']);
  if (low.kind === 'value' && high.kind === 'value' && !areEqual(low.value, high.value)) {
    const order = compareValues(low.value, high.value);
    if (order === null) {
      throw invalid('The BETWEEN operator requires same data type for lower and upper bounds');
    }
    if (order > 0) {
      throw invalid(
        'The BETWEEN operator requires upper bound to be greater than or equal to lower bound',
      );
    }
  }
  return { kind: 'between', operand, low, high };
}

function typed(path: Path, operand: Operand): Condition {
  if (operand.kind !== 'value' || operand.value.type !== 'S') {
    throw wrongType('attribute_type', typeOf(operand) ?? 'path');
  }
  const type = operand.value.value;
  if (!valueTypes.some((one) => one === type)) {
    throw invalid(
      `Invalid attribute type name found; type: ${type}, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}`,
    );
  }
  return { kind: 'type', path, type };
}
