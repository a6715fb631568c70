/**
 * The parameters that were there before expressions, and that the Kinesis Client Library still
 * uses, said in the words of expressions (docs: "Legacy conditional parameters").
 */
import {
  choice,
  flag,
  list,
  optional,
  required,
  structure,
  type Described,
} from '../aws/shapes.ts';
import { invalidParameters } from './errors.ts';
import type { Action, Comparator, Condition, Operand } from './expressions/syntax.ts';
import { attributeValue, comparisonOperator, mapOf } from './inputs.ts';
import { compareValues, isSet, readValue, type Value } from './values.ts';

const filterCondition = structure({
  AttributeValueList: optional(list(attributeValue)),
  ComparisonOperator: required(comparisonOperator),
});
export const filterConditions = mapOf(filterCondition);
export type FilterConditions = Described<typeof filterConditions>;

export const expectations = mapOf(
  structure({
    AttributeValueList: optional(list(attributeValue)),
    ComparisonOperator: optional(comparisonOperator),
    Exists: optional(flag()),
    Value: optional(attributeValue),
  }),
);
export type Expectations = Described<typeof expectations>;

export const attributeUpdates = mapOf(
  structure({
    Action: optional(choice(['ADD', 'PUT', 'DELETE'])),
    Value: optional(attributeValue),
  }),
);
export type AttributeUpdates = Described<typeof attributeUpdates>;

type ComparisonOperator = Described<typeof comparisonOperator>;
export type ConditionalOperator = 'AND' | 'OR' | undefined;

/** `Expected`. @throws DynamoDbError */
export function expectedCondition(
  expected: Expectations,
  operator: ConditionalOperator,
): Condition | null {
  return joined(
    [...expected].map(([name, expectation]) => expectationOf(name, expectation)),
    operator,
  );
}

/** `QueryFilter`, `ScanFilter` and `KeyConditions`. @throws DynamoDbError */
export function legacyCondition(
  filter: FilterConditions,
  operator: ConditionalOperator,
): Condition | null {
  return joined(
    [...filter].map(([name, { ComparisonOperator, AttributeValueList = [] }]) =>
      comparisonOf(
        name,
        ComparisonOperator,
        AttributeValueList.map((value) => readValue(value)),
      ),
    ),
    operator,
  );
}

function joined(conditions: readonly Condition[], operator: ConditionalOperator): Condition | null {
  const kind = operator === 'OR' ? 'or' : 'and';
  return conditions.reduce<Condition | null>(
    (left, right) => (left === null ? right : { kind, left, right }),
    null,
  );
}

function expectationOf(
  name: string,
  { AttributeValueList, ComparisonOperator, Exists, Value: given }: ExpectationOf,
): Condition {
  const value = given === undefined ? null : readValue(given);
  if (AttributeValueList !== undefined && value !== null) {
    throw invalidParameters(
      `Value and AttributeValueList cannot be used together for Attribute: ${name}`,
    );
  }
  if (ComparisonOperator !== undefined) {
    if (Exists !== undefined) {
      throw invalidParameters(
        `Exists and ComparisonOperator cannot be used together for Attribute: ${name}`,
      );
    }
    const values =
      value === null ? (AttributeValueList ?? []).map((one) => readValue(one)) : [value];
    return comparisonOf(name, ComparisonOperator, values);
  }
  if (AttributeValueList !== undefined) {
    throw invalidParameters(
      `AttributeValueList can only be used with a ComparisonOperator for Attribute: ${name}`,
    );
  }
  if (Exists === false) {
    if (value === null) return { kind: 'not-exists', path: [name] };
    throw invalidParameters(`Value cannot be used when Exists is false for Attribute: ${name}`);
  }
  if (value === null) {
    throw invalidParameters(
      `Value must be provided when Exists is ${Exists === undefined ? 'null' : 'true'} for Attribute: ${name}`,
    );
  }
  return comparisonOf(name, 'EQ', [value]);
}

type ExpectationOf = Expectations extends ReadonlyMap<string, infer E> ? E : never;

const comparators: Readonly<Partial<Record<ComparisonOperator, Comparator>>> = {
  ...{ EQ: '=', NE: '<>', LT: '<', LE: '<=', GT: '>', GE: '>=' },
};

const counts: Readonly<Partial<Record<ComparisonOperator, number>>> = {
  ...{ NULL: 0, NOT_NULL: 0, BETWEEN: 2 },
};

function comparisonOf(
  name: string,
  operator: ComparisonOperator,
  values: readonly Value[],
): Condition {
  const isCountRight =
    operator === 'IN' ? values.length > 0 : values.length === (counts[operator] ?? 1);
  if (!isCountRight) {
    throw invalidParameters(`Invalid number of argument(s) for the ${operator} ComparisonOperator`);
  }
  if (values.some(({ type }) => type !== values[0]?.type)) {
    throw invalidParameters('AttributeValues inside AttributeValueList must be of same type');
  }
  checkTypes(operator, values);
  const path = [name];
  const operand: Operand = { kind: 'path', path };
  const operands = values.map((value): Operand => ({ kind: 'value', value }));
  const [first, second] = operands;
  if (operator === 'NULL') return { kind: 'not-exists', path };
  if (operator === 'NOT_NULL' || first === undefined) return { kind: 'exists', path };
  if (operator === 'IN') return { kind: 'in', operand, list: operands };
  if (operator === 'BETWEEN' && second !== undefined) {
    return { kind: 'between', operand, low: first, high: second };
  }
  if (operator === 'BEGINS_WITH') return { kind: 'begins-with', operand, prefix: first };
  const comparator = comparators[operator];
  if (comparator !== undefined) {
    return { kind: 'compare', comparator, left: operand, right: first };
  }
  const contains: Condition = { kind: 'contains', operand, wanted: first };
  return operator === 'NOT_CONTAINS' ? { kind: 'not', condition: contains } : contains;
}

function checkTypes(operator: ComparisonOperator, values: readonly Value[]): void {
  const allowed = operator === 'BEGINS_WITH' ? ['S', 'B'] : ['S', 'N', 'B'];
  const isAny = operator === 'EQ' || operator === 'NE';
  for (const { type } of values) {
    if (isAny || allowed.includes(type)) continue;
    throw invalidParameters(
      `ComparisonOperator ${operator} is not valid for ${type} AttributeValue type`,
    );
  }
  const [low, high] = values;
  if (operator !== 'BETWEEN' || low === undefined || high === undefined) return;
  if ((compareValues(low, high) ?? 0) <= 0) return;
  throw invalidParameters(
    'The BETWEEN condition was provided a range where the lower bound is greater than the upper bound',
  );
}

/** `AttributeUpdates`. @throws DynamoDbError */
export function updateActions(updates: AttributeUpdates): readonly Action[] {
  return [...updates].map(([name, { Action: action = 'PUT', Value: given }]): Action => {
    const path = [name];
    const value = given === undefined ? null : readValue(given);
    if (value === null) {
      if (action === 'DELETE') return { kind: 'remove', path };
      throw invalidParameters('Only DELETE action is allowed when no attribute value is specified');
    }
    switch (action) {
      case 'PUT':
        return { kind: 'set', path, to: { kind: 'value', value } };
      case 'DELETE':
        if (isSet(value)) return { kind: 'delete', path, value };
        throw invalidParameters(
          `DELETE action with value is not supported for the type ${value.type}`,
        );
      case 'ADD':
        if (isSet(value) || value.type === 'N' || value.type === 'L') {
          return { kind: 'add', path, value };
        }
        throw invalidParameters(`ADD action is not supported for the type ${value.type}`);
    }
  });
}
