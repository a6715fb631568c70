/** All operations there are, by name. */
import type { AnyOperation } from '../operation.ts';
import { batchGetItem, batchWriteItem } from './batches.ts';
import { deleteItem, getItem, putItem, updateItem } from './items.ts';
import { query, scan } from './pages.ts';
import {
  describeContinuousBackups,
  describeTimeToLive,
  listTagsOfResource,
  tagResource,
  untagResource,
  updateContinuousBackups,
} from './settings.ts';
import { createTable, deleteTable, describeTable, listTables, updateTable } from './tables.ts';

export const operations: ReadonlyMap<string, AnyOperation> = new Map(
  [
    ...[createTable, updateTable, describeTable, deleteTable, listTables],
    ...[getItem, putItem, updateItem, deleteItem, query, scan, batchGetItem, batchWriteItem],
    ...[tagResource, untagResource, listTagsOfResource, describeTimeToLive],
    ...[describeContinuousBackups, updateContinuousBackups],
  ].map((operation) => [operation.name, operation]),
);
