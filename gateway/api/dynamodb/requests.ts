/** Reads the expressions of a request, or the older parameters that say the same. */
import { DynamoDbError, invalid, invalidParameters } from './errors.ts';
import { readCondition } from './expressions/condition.ts';
import { Placeholders } from './expressions/placeholders.ts';
import { readProjection } from './expressions/projection.ts';
import type { Action, Condition, Path } from './expressions/syntax.ts';
import { readUpdate } from './expressions/update.ts';
import {
  expectedCondition,
  legacyCondition,
  updateActions,
  type AttributeUpdates,
  type ConditionalOperator,
  type Expectations,
  type FilterConditions,
} from './legacy.ts';

export interface ExpressionInput {
  readonly ExpressionAttributeNames?: ReadonlyMap<string, string>;
  readonly ExpressionAttributeValues?: ReadonlyMap<string, unknown>;
  readonly UpdateExpression?: string;
  readonly ConditionExpression?: string;
  readonly KeyConditionExpression?: string;
  readonly FilterExpression?: string;
  readonly ProjectionExpression?: string;
  readonly ConditionalOperator?: ConditionalOperator;
  readonly AttributeUpdates?: AttributeUpdates;
  readonly Expected?: Expectations;
  readonly KeyConditions?: FilterConditions;
  readonly QueryFilter?: FilterConditions;
  readonly ScanFilter?: FilterConditions;
  readonly AttributesToGet?: readonly string[];
}

export interface Expressions {
  readonly update: readonly Action[];
  readonly condition: Condition | null;
  readonly keyCondition: Condition | null;
  readonly filter: Condition | null;
  /** null: all attributes. */
  readonly projection: readonly Path[] | null;
}

const expressions = [
  ...(['UpdateExpression', 'ConditionExpression', 'KeyConditionExpression'] as const),
  ...(['FilterExpression', 'ProjectionExpression'] as const),
];
const older = [
  ...(['AttributesToGet', 'AttributeUpdates', 'Expected', 'QueryFilter', 'ScanFilter'] as const),
  ...(['ConditionalOperator', 'KeyConditions'] as const),
];

/** @throws DynamoDbError */
export function readExpressions(input: ExpressionInput): Expressions {
  checkParameters(input);
  const { ExpressionAttributeNames: names, ExpressionAttributeValues: values } = input;
  const placeholders = new Placeholders(names, values);
  const read = <T>(
    parameter: (typeof expressions)[number],
    reader: (expression: string, placeholders: Placeholders) => T,
  ): T | null => {
    const expression = input[parameter];
    if (expression === undefined) return null;
    try {
      return reader(expression, placeholders);
    } catch (error) {
      if (!(error instanceof DynamoDbError)) throw error;
      throw invalid(`Invalid ${parameter}: ${error.message}`);
    }
  };
  const update = read('UpdateExpression', readUpdate);
  const condition = read('ConditionExpression', readCondition);
  const keyCondition = read('KeyConditionExpression', readCondition);
  const filter = read('FilterExpression', readCondition);
  const projection = read('ProjectionExpression', readProjection);
  placeholders.checkUsed();
  const { AttributeUpdates, Expected, KeyConditions, AttributesToGet } = input;
  const { ConditionalOperator: operator, QueryFilter, ScanFilter } = input;
  return {
    update: update ?? updateActions(AttributeUpdates ?? new Map()),
    condition: condition ?? expectedCondition(Expected ?? new Map(), operator),
    keyCondition: keyCondition ?? legacyCondition(KeyConditions ?? new Map(), undefined),
    filter: filter ?? legacyCondition(QueryFilter ?? ScanFilter ?? new Map(), operator),
    projection: projection ?? wantedAttributes(AttributesToGet),
  };
}

function wantedAttributes(names: readonly string[] | undefined): readonly Path[] | null {
  if (names === undefined) return null;
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) {
    throw invalidParameters(`Duplicate value in attribute name: ${twice}`);
  }
  return names.map((name) => [name]);
}

function checkParameters(input: ExpressionInput): void {
  const used = expressions.filter((name) => input[name] !== undefined);
  const usedOlder = older.filter((name) => input[name] !== undefined);
  if (used.length > 0 && usedOlder.length > 0) {
    throw invalid(
      `Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {${usedOlder.join(', ')}} Expression parameters: {${used.join(', ')}}`,
    );
  }
  if (used.length > 0) return;
  if (input.ExpressionAttributeNames !== undefined) {
    throw invalid('ExpressionAttributeNames can only be specified when using expressions');
  }
  if (input.ExpressionAttributeValues !== undefined) {
    throw invalid('ExpressionAttributeValues can only be specified when using expressions');
  }
}
