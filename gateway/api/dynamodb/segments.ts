/** Parallel scans: which segment an item is of. */
import { createHash } from 'node:crypto';
import type { ItemRow } from '../../../storage/items/rows.ts';
import { invalid } from './errors.ts';

/** Items of one hash key are in one segment. @throws DynamoDbError */
export function segmentOf(
  segment: number | undefined,
  total: number | undefined,
): (row: Pick<ItemRow, 'hash'>) => boolean {
  if (segment === undefined && total === undefined) return () => true;
  if (total === undefined) {
    throw invalid(
      'The TotalSegments parameter is required but was not present in the request when Segment parameter is present',
    );
  }
  if (segment === undefined) {
    throw invalid(
      'The Segment parameter is required but was not present in the request when parameter TotalSegments is present',
    );
  }
  if (segment >= total) {
    throw invalid(
      `The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: ${segment} is not less than TotalSegments: ${total}`,
    );
  }
  return ({ hash }) => createHash('sha1').update(hash).digest().readUInt32BE() % total === segment;
}
