/**
 * The members that requests have in common. How requests are described and checked is shared with
 * the Kinesis API; what it does not have are maps, and values that have their type beside them.
 */
import {
  choice,
  flag,
  integer,
  list,
  optional,
  required,
  text,
  type Shape,
} from '../aws/shapes.ts';
import { DynamoDbError } from './errors.ts';
import { valueTypes, type ValueType } from './values.ts';

function serializationError(message: string): DynamoDbError {
  return new DynamoDbError('SerializationException', message);
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(value: unknown): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw serializationError(
    Array.isArray(value) ? 'Unrecognized collection type' : 'Unexpected field type',
  );
}

/** What is null is left out. */
export function mapOf<T>(member: Shape<T>): Shape<ReadonlyMap<string, T>> {
  return {
    parse(value) {
      const entries = Object.entries(fieldsOf(value)).filter(([, one]) => one !== null);
      return new Map(entries.map(([key, one]) => [key, member.parse(one)]));
    },
    constrain(value, path, errors) {
      for (const [key, one] of value) member.constrain(one, `${path}.${key}.member`, errors);
    },
  };
}

/** Deeper than values may be nested: what is there is refused with its own words (values.ts). */
const depthMax = 40;

const valueChecks: Readonly<Record<ValueType, (value: unknown, depth: number) => void>> = {
  S: checkText,
  N: checkText,
  B: checkBlob,
  BOOL: checkFlag,
  NULL: checkFlag,
  SS: (value) => {
    listOf(value).forEach(checkText);
  },
  NS: (value) => {
    listOf(value).forEach(checkText);
  },
  BS: (value) => {
    listOf(value).forEach(checkBlob);
  },
  L: (value, depth) => {
    for (const one of listOf(value)) checkValue(one, depth + 1);
  },
  M: (value, depth) => {
    for (const one of Object.values(fieldsOf(value))) checkValue(one, depth + 1);
  },
};

function checkValue(value: unknown, depth: number): void {
  if (depth > depthMax) return;
  const fields = fieldsOf(value);
  for (const type of valueTypes) {
    const member = Object.hasOwn(fields, type) ? fields[type] : undefined;
    if (member !== undefined && member !== null) valueChecks[type](member, depth);
  }
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw serializationError(
    typeof value === 'object'
      ? 'Start of structure or map found where not expected'
      : 'Unexpected field type',
  );
}

const javaTypes: Readonly<Record<string, (value: unknown) => string>> = {
  boolean: (value) => (value === true ? 'TRUE_VALUE' : 'FALSE_VALUE'),
  number: (value) => (Number.isInteger(value) ? 'NUMBER_VALUE' : 'DECIMAL_VALUE'),
  string: () => 'STRING_VALUE',
};

function mismatch(value: unknown, wanted: string): DynamoDbError {
  const name = javaTypes[typeof value];
  if (name !== undefined) {
    return serializationError(`${name(value)} cannot be converted to ${wanted}`);
  }
  return serializationError(
    Array.isArray(value)
      ? `Unrecognized collection type class java.lang.${wanted}`
      : 'Start of structure or map found where not expected',
  );
}

function checkText(value: unknown): void {
  if (typeof value !== 'string') throw mismatch(value, 'String');
}

function checkFlag(value: unknown): void {
  if (typeof value !== 'boolean') throw mismatch(value, 'Boolean');
}

function checkBlob(value: unknown): void {
  if (typeof value !== 'string') {
    throw serializationError('only base-64-encoded strings are convertible to bytes');
  }
  if (Buffer.from(value, 'base64').toString('base64') !== value) {
    throw serializationError('Invalid Base64 in a binary value');
  }
}

/** A value whose types are right, to be read by `readValue`. */
export const attributeValue: Shape<unknown> = {
  parse(value) {
    checkValue(value, 0);
    return value;
  },
  constrain: () => undefined,
};

export const attributeMap = mapOf(attributeValue);

const namePattern = '[a-zA-Z0-9_.-]+';
export const resourceName = text({ pattern: namePattern, min: 3, max: 255 });

export const comparisonOperator = choice([
  ...(['IN', 'NULL', 'BETWEEN', 'LT', 'NOT_CONTAINS', 'EQ', 'GT', 'NOT_NULL', 'NE'] as const),
  ...(['LE', 'BEGINS_WITH', 'GE', 'CONTAINS'] as const),
]);

export const target = { TableName: required(resourceName) };

export const placeholderMembers = {
  ExpressionAttributeNames: optional(mapOf(text())),
  ExpressionAttributeValues: optional(attributeMap),
};

export const capacityMember = {
  ReturnConsumedCapacity: optional(choice(['INDEXES', 'TOTAL', 'NONE'])),
};

export const conditionalOperatorMember = {
  ConditionalOperator: optional(choice(['OR', 'AND'])),
};

export const pageMembers = {
  Limit: optional(integer({ min: 1 })),
  ExclusiveStartKey: optional(attributeMap),
  ConsistentRead: optional(flag()),
  IndexName: optional(resourceName),
  Select: optional(
    choice(['SPECIFIC_ATTRIBUTES', 'COUNT', 'ALL_ATTRIBUTES', 'ALL_PROJECTED_ATTRIBUTES']),
  ),
  AttributesToGet: optional(list(text(), { min: 1, max: 255 })),
  ProjectionExpression: optional(text()),
  FilterExpression: optional(text()),
};
