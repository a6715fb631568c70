/** What an operation on lease tables is, and what all of them work with. */
import type { Decision, ItemKey, Items, ItemTable } from '../../../storage/items/items.ts';
import type { Account } from '../aws/account.ts';
import {
  operationOf,
  type AnyOperationOf,
  type OperationOf,
  type PreparedCallOf,
} from '../aws/operation.ts';
import { notFound } from './errors.ts';
import { definitionOf, tableArn, type TableDefinition } from './tables.ts';

export interface DynamoDbContext {
  readonly items: Items;
  readonly account: Account;
}

export type AnyOperation = AnyOperationOf<DynamoDbContext, readonly string[]>;
export type PreparedCall = PreparedCallOf<DynamoDbContext, readonly string[]>;

/** @param operation its resources are ARNs, its answer is JSON */
export function defineOperation<I>(
  operation: OperationOf<I, DynamoDbContext, readonly string[]>,
): AnyOperation {
  return operationOf(operation);
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
