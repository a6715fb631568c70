/** Several items in one request; each is done by itself. */
import type { ItemKey } from '../../../../storage/items/items.ts';
import { flag, list, optional, required, structure, text } from '../../aws/shapes.ts';
import { invalid } from '../errors.ts';
import { project } from '../expressions/projection.ts';
import { attributeMap, capacityMember, mapOf, placeholderMembers } from '../inputs.ts';
import { changeItem, defineOperation, knownTable, type DynamoDbContext } from '../operation.ts';
import { readExpressions } from '../requests.ts';
import { definitionOf, keyOf, keyOfItem, tableArn } from '../tables.ts';
import { itemBytes, parseItem, readItem, wireItem, type Item } from '../values.ts';
import { checkPut, kept, removed } from './items.ts';

const getsMax = 100;
const writesMax = 25;
/** Of items in an answer; the rest is left to be asked for again. */
const answerBytesMax = 2 ** 20;

interface ByTable {
  readonly RequestItems: ReadonlyMap<string, unknown>;
}

function allTables({ RequestItems }: ByTable, { account }: DynamoDbContext): readonly string[] {
  return [...RequestItems.keys()].map((name) => tableArn(account, name));
}

function checkCount(count: number, max: number, what: string): void {
  if (count === 0) {
    throw invalid(
      "1 validation error detected: Value at 'requestItems' failed to satisfy constraint: Member must have length greater than or equal to 1",
    );
  }
  if (count > max) throw invalid(`Too many items requested for the ${what} call`);
}

function checkDistinct(keys: readonly ItemKey[]): void {
  const texts = keys.map(({ hash, range }) => `${hash.toString('hex')}/${range.toString('hex')}`);
  if (new Set(texts).size < texts.length) {
    throw invalid('Provided list of item keys contains duplicates');
  }
}

export const batchGetItem = defineOperation({
  name: 'BatchGetItem',
  input: structure({
    RequestItems: required(
      mapOf(
        structure({
          Keys: required(list(attributeMap, { min: 1, max: getsMax, shownMember: 'Key' })),
          AttributesToGet: optional(list(text(), { min: 1, max: 255 })),
          ProjectionExpression: optional(text()),
          ExpressionAttributeNames: placeholderMembers.ExpressionAttributeNames,
          ConsistentRead: optional(flag()),
        }),
      ),
    ),
    ...capacityMember,
  }),
  resources: allTables,
  async run({ RequestItems }, context) {
    const wanted = [...RequestItems].map(([name, request]) => {
      const table = knownTable(name, context);
      const keys = request.Keys.map((key) => {
        const item = readItem(key);
        return { item, place: keyOf(item, definitionOf(table)) };
      });
      checkDistinct(keys.map(({ place }) => place));
      return { table, request, keys, projection: readExpressions(request).projection };
    });
    const count = wanted.reduce((sum, { keys }) => sum + keys.length, 0);
    checkCount(count, getsMax, 'BatchGetItem');
    let bytes = 0;
    const responses: [string, object[]][] = [];
    const unprocessed: [string, object][] = [];
    for (const { table, request, keys, projection } of wanted) {
      const found: object[] = [];
      const left: Item[] = [];
      for (const { item: key, place } of keys) {
        if (bytes >= answerBytesMax) {
          left.push(key);
          continue;
        }
        const body = await context.items.get(table, place);
        if (body === null) continue;
        const item = parseItem(body);
        bytes += Buffer.byteLength(body);
        found.push(wireItem(projection === null ? item : project(item, projection)));
      }
      responses.push([table.name, found]);
      if (left.length === 0) continue;
      const { ExpressionAttributeNames: names } = request;
      const again = {
        ...request,
        Keys: left.map(wireItem),
        ...(names === undefined ? {} : { ExpressionAttributeNames: Object.fromEntries(names) }),
      };
      unprocessed.push([table.name, again]);
    }
    return {
      Responses: Object.fromEntries(responses),
      UnprocessedKeys: Object.fromEntries(unprocessed),
    };
  },
});

const writeRequest = structure({
  PutRequest: optional(structure({ Item: required(attributeMap) })),
  DeleteRequest: optional(structure({ Key: required(attributeMap) })),
});

export const batchWriteItem = defineOperation({
  name: 'BatchWriteItem',
  input: structure({
    RequestItems: required(
      mapOf(list(writeRequest, { min: 1, max: writesMax, shownMember: 'WriteRequest' })),
    ),
    ...capacityMember,
  }),
  resources: allTables,
  async run({ RequestItems }, context) {
    const writes = [...RequestItems].flatMap(([name, requests]) => {
      const table = knownTable(name, context);
      const definition = definitionOf(table);
      const ofTable = requests.map(({ PutRequest, DeleteRequest }) => {
        if ((PutRequest === undefined) === (DeleteRequest === undefined)) {
          throw invalid(
            'Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes',
          );
        }
        const item = readItem(PutRequest?.Item ?? DeleteRequest?.Key ?? new Map());
        if (PutRequest === undefined) return { table, item: null, key: keyOf(item, definition) };
        const key = keyOfItem(item, definition);
        checkPut(item, definition);
        return { table, item, key };
      });
      checkDistinct(ofTable.map(({ key }) => key));
      return ofTable;
    });
    checkCount(writes.length, writesMax, 'BatchWriteItem');
    await Promise.all(
      writes.map(({ table, item, key }) =>
        changeItem(
          ...([context, table, key] as const),
          (_current, definition) => {
            if (item === null) return removed(null);
            checkPut(item, definition);
            return kept(item, definition, null);
          },
          item === null ? 0 : itemBytes(item),
        ),
      ),
    );
    return { UnprocessedItems: {} };
  },
});
