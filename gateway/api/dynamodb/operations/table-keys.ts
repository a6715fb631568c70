/** What tables and their indexes are both given: key schemas, the types of keys, throughput. */
import {
  choice,
  integer,
  list,
  required,
  structure,
  text,
  type Described,
} from '../../aws/shapes.ts';
import { invalid, invalidParameters } from '../errors.ts';
import {
  keyNames,
  type KeySchema,
  type KeyType,
  type TableDefinition,
  type Throughput,
} from '../tables.ts';

export const throughputShape = structure({
  ReadCapacityUnits: required(integer({ min: 1 })),
  WriteCapacityUnits: required(integer({ min: 1 })),
});
export const keySchemaShape = list(
  structure({
    AttributeName: required(text({ min: 1, max: 255 })),
    KeyType: required(choice(['HASH', 'RANGE'])),
  }),
  { min: 1, max: 2, shownMember: 'KeySchemaElement' },
);
export const attributesShape = list(
  structure({
    AttributeName: required(text({ min: 1, max: 255 })),
    AttributeType: required(choice(['B', 'N', 'S'])),
  }),
  { shownMember: 'AttributeDefinition' },
);
export const billingMode = choice(['PROVISIONED', 'PAY_PER_REQUEST']);

export function attributesOf(
  given: Described<typeof attributesShape>,
): Readonly<Record<string, KeyType>> {
  return Object.fromEntries(
    given.map(({ AttributeName, AttributeType }) => [AttributeName, AttributeType]),
  );
}

export function keysOf(
  schema: Described<typeof keySchemaShape>,
  attributes: Readonly<Record<string, KeyType>>,
): KeySchema {
  const [first, second] = schema;
  const names = schema.map(({ AttributeName }) => AttributeName);
  if (names.some((name) => !Object.hasOwn(attributes, name))) {
    throw invalidParameters(
      `Some index key attributes are not defined in AttributeDefinitions. Keys: [${names.join(', ')}], AttributeDefinitions: [${Object.keys(attributes).join(', ')}]`,
    );
  }
  if (first === undefined || first.KeyType !== 'HASH') {
    throw invalid('Invalid KeySchema: The first KeySchemaElement is not a HASH key type');
  }
  if (second?.AttributeName === first.AttributeName) {
    throw invalid(
      'Both the Hash Key and the Range Key element in the KeySchema have the same name',
    );
  }
  if (second !== undefined && second.KeyType !== 'RANGE') {
    throw invalid('Invalid KeySchema: The second KeySchemaElement is not a RANGE key type');
  }
  return { hash: first.AttributeName, range: second?.AttributeName ?? null };
}

export function throughputOf(
  mode: Described<typeof billingMode>,
  given: Described<typeof throughputShape> | undefined,
): Throughput | null {
  if (mode === 'PAY_PER_REQUEST') {
    if (given === undefined) return null;
    throw invalidParameters(
      'Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST',
    );
  }
  if (given === undefined) {
    throw invalidParameters(
      'ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED',
    );
  }
  return { read: given.ReadCapacityUnits, write: given.WriteCapacityUnits };
}

export function checkAllUsed(definition: TableDefinition): void {
  const used = new Set([definition, ...definition.indexes].flatMap(keyNames));
  const defined = Object.keys(definition.attributes);
  if (defined.every((name) => used.has(name))) return;
  throw invalidParameters(
    definition.indexes.length === 0
      ? 'Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions'
      : `Some AttributeDefinitions are not used. AttributeDefinitions: [${defined.join(', ')}], keys used: [${[...used].join(', ')}]`,
  );
}

export function ofKeys(
  attributes: Readonly<Record<string, KeyType>>,
  schemas: readonly KeySchema[],
): Readonly<Record<string, KeyType>> {
  const used = new Set(schemas.flatMap(keyNames));
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => used.has(name)));
}
