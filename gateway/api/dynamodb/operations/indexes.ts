/** Global secondary indexes of a table: made with it, and made, changed and deleted later. */
import {
  choice,
  list,
  optional,
  required,
  structure,
  text,
  type Described,
} from '../../aws/shapes.ts';
import { invalid, invalidParameters, notFound } from '../errors.ts';
import { resourceName } from '../inputs.ts';
import {
  indexEntries,
  fitsIndex,
  indexOf,
  keyNames,
  type IndexDefinition,
  type KeyType,
  type TableDefinition,
  type Throughput,
} from '../tables.ts';
import { parseItem } from '../values.ts';
import { keySchemaShape, keysOf, throughputOf, throughputShape } from './table-keys.ts';

const indexesMax = 20;

const indexMembers = {
  IndexName: required(resourceName),
  KeySchema: required(keySchemaShape),
  Projection: required(
    structure({
      ProjectionType: optional(choice(['ALL', 'INCLUDE', 'KEYS_ONLY'])),
      NonKeyAttributes: optional(list(text(), { min: 1, max: 20 })),
    }),
  ),
  ProvisionedThroughput: optional(throughputShape),
};
export const indexShape = structure(indexMembers);
export const indexUpdate = structure({
  Create: optional(indexShape),
  Update: optional(
    structure({
      IndexName: required(resourceName),
      ProvisionedThroughput: optional(throughputShape),
    }),
  ),
  Delete: optional(structure({ IndexName: required(resourceName) })),
});

export function indexesOf(
  given: readonly Described<typeof indexShape>[] | undefined,
  attributes: Readonly<Record<string, KeyType>>,
  throughput: Throughput | null,
): readonly IndexDefinition[] {
  if (given?.length === 0) throw invalidParameters('List of GlobalSecondaryIndexes is empty');
  const indexes = (given ?? []).map((index) => newIndex(index, attributes, throughput));
  checkIndexes(indexes);
  return indexes;
}

function newIndex(
  { IndexName, KeySchema, Projection, ProvisionedThroughput }: Described<typeof indexShape>,
  attributes: Readonly<Record<string, KeyType>>,
  tableThroughput: Throughput | null,
): IndexDefinition {
  const { ProjectionType, NonKeyAttributes } = Projection;
  if (ProjectionType === undefined) throw invalidParameters('Unknown ProjectionType: null');
  if (NonKeyAttributes !== undefined && ProjectionType !== 'INCLUDE') {
    throw invalidParameters(
      `ProjectionType is ${ProjectionType}, but NonKeyAttributes is specified`,
    );
  }
  if (tableThroughput === null && ProvisionedThroughput !== undefined) {
    throw invalidParameters(
      `ProvisionedThroughput should not be specified for index: ${IndexName} when BillingMode is PAY_PER_REQUEST`,
    );
  }
  return {
    ...keysOf(KeySchema, attributes),
    name: IndexName,
    projection: ProjectionType,
    included: NonKeyAttributes ?? [],
    throughput:
      ProvisionedThroughput === undefined
        ? tableThroughput
        : throughputOf('PROVISIONED', ProvisionedThroughput),
  };
}

function checkIndexes(indexes: readonly IndexDefinition[]): void {
  const names = indexes.map(({ name }) => name);
  const twice = names.find((name, place) => names.indexOf(name) < place);
  if (twice !== undefined) throw invalidParameters(`Duplicate index name: ${twice}`);
  if (indexes.length > indexesMax) {
    throw invalidParameters('GlobalSecondaryIndex count exceeds the per-table limit of 20');
  }
}

/** The updates take effect in their order, each on what those before it have left. */
export function changedIndexes(
  before: readonly IndexDefinition[],
  updates: readonly Described<typeof indexUpdate>[],
  attributes: Readonly<Record<string, KeyType>>,
  throughput: Throughput | null,
): readonly IndexDefinition[] {
  let indexes = before;
  for (const { Create, Update, Delete } of updates) {
    if (Create !== undefined) {
      if (indexes.some(({ name }) => name === Create.IndexName)) {
        throw invalid(`Attempting to create an index which already exists: ${Create.IndexName}`);
      }
      indexes = [...indexes, newIndex(Create, attributes, throughput)];
    }
    if (Delete !== undefined) {
      const gone = known(indexes, Delete.IndexName);
      indexes = indexes.filter((index) => index !== gone);
    }
    if (Update?.ProvisionedThroughput !== undefined) {
      const { IndexName, ProvisionedThroughput } = Update;
      const updated = {
        ...known(indexes, IndexName),
        throughput: throughputOf('PROVISIONED', ProvisionedThroughput),
      };
      indexes = indexes.map((index) => (index.name === IndexName ? updated : index));
    }
  }
  checkIndexes(indexes);
  return indexes;
}

function known(indexes: readonly IndexDefinition[], name: string): IndexDefinition {
  const index = indexes.find((one) => one.name === name);
  if (index === undefined) throw notFound(`Requested resource not found: Index: ${name}`);
  return index;
}

/** Items whose attributes can not be keys of the index are not in it. */
export function entriesOfNew(
  definition: TableDefinition,
  name: string,
): (body: string) => NonNullable<ReturnType<typeof indexEntries>> {
  const index = indexOf(definition, name);
  const alone = { ...definition, indexes: [index] };
  return (body) => {
    const item = parseItem(body);
    const fits = keyNames(index).every((key) => {
      const value = item.get(key);
      if (value === undefined || value.type !== definition.attributes[key]) return false;
      return fitsIndex(value, key, index);
    });
    return fits ? (indexEntries(item, alone) ?? []) : [];
  };
}
