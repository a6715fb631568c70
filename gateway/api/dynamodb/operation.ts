/** What an operation on lease tables is, and what all of them work with. */
import type { Decision, ItemKey, Items, ItemTable } from '../../../storage/items/items.ts';
import type { Account } from '../kinesis/arns.ts';
import { parseInput, type Shape } from '../kinesis/shapes.ts';
import { notFound } from './errors.ts';
import { definitionOf, tableArn, type TableDefinition } from './tables.ts';

export interface DynamoDbContext {
  readonly items: Items;
  readonly account: Account;
}

export interface Operation<I> {
  /** As in `X-Amz-Target`. */
  readonly name: string;
  readonly input: Shape<I>;
  /** ARNs of what the caller needs permission for. */
  resources(input: NoInfer<I>, context: DynamoDbContext): readonly string[];
  /** The answer as JSON; what is `undefined` is left out. */
  run(input: NoInfer<I>, context: DynamoDbContext): Promise<object>;
}

/** An operation whatever its input is. */
export interface AnyOperation {
  readonly name: string;
  /** @throws KinesisError, DynamoDbError for types and constraints */
  prepare(body: unknown): PreparedCall;
}

export interface PreparedCall {
  resources(context: DynamoDbContext): readonly string[];
  run(context: DynamoDbContext): Promise<object>;
}

export function defineOperation<I>(operation: Operation<I>): AnyOperation {
  return {
    name: operation.name,
    prepare(body) {
      const input = parseInput(operation.input, body);
      return {
        resources: (context) => operation.resources(input, context),
        run: (context) => operation.run(input, context),
      };
    },
  };
}

/** The table that a request is about, for `resources`. */
export function ownTable(
  { TableName }: { readonly TableName: string },
  { account }: DynamoDbContext,
): readonly string[] {
  return [tableArn(account, TableName)];
}

/** @throws DynamoDbError `ResourceNotFoundException` */
export function knownTable(name: string, { items }: DynamoDbContext): ItemTable {
  const table = items.table(name);
  if (table === null) throw notFound();
  return table;
}

/**
 * Changes an item on what it is. Its indexes may have changed since the table was looked at, its
 * keys have not: a table that was made anew is another.
 * @throws DynamoDbError `ResourceNotFoundException`; StorageError; what `decide` throws
 */
export function changeItem<T>(
  { items }: DynamoDbContext,
  { id, name }: ItemTable,
  key: ItemKey,
  decide: (current: string | null, definition: TableDefinition) => Decision<T>,
  bodyBytes: number,
): Promise<T> {
  const decideInTable = (current: string | null, table: ItemTable): Decision<T> => {
    if (table.id !== id) throw notFound();
    return decide(current, definitionOf(table));
  };
  return items.change(name, key, decideInTable, bodyBytes);
}
