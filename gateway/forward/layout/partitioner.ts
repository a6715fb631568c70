/**
 * Tells the records of a plan apart by what is in them: dynamic partitions, as Firehose has them.
 *
 * A record has no place among them, and fails, when it is no JSON, a query gives it nothing that
 * could be part of a key (null, an empty text, a list, an object, several values), the prefix would
 * be longer than 512 characters, or there are as many partitions as there may be in one plan. The
 * same records in the same order get the same places.
 */
import type { FailedRecord, PartitionValues, ShapedRecord } from '../shape/shaped-record.ts';
import { parseJson } from '../shape/record-json.ts';
import { compileQuery, type Json, type Query } from '../query/query.ts';
import { QueryError } from '../query/values.ts';
import { keyPart } from './key-part.ts';
import { hasPartitions, partitionIdOf, type Layout } from './layout.ts';
import { evaluatePrefix, fixedLengths, partitionValue } from './prefix.ts';
import { zonedTime } from './zoned-time.ts';

/** Of Firehose: partitions that are open at once. */
export const partitionsMax = 500;
/** What fails beyond that fails with this. */
export const partitionLimitExceeded = 'DynamicPartitioning.ActivePartitionLimitExceeded';
/** Of Firehose: of a prefix with its values. */
export const prefixCharactersMax = 512;
/** With the longest suffix, a key has no more than the 1,024 bytes of S3. */
export const prefixBytesMax = 700;
/** Below the 255 of file systems, as names of months differ: a folder takes what S3 does. */
const levelBytesMax = 240;

export interface Placed {
  /** With its partition. */
  readonly record: ShapedRecord;
  /** The same for records that go into the same object. */
  readonly partitionId: string;
}

export interface Partitioner {
  place(record: ShapedRecord): Placed | FailedRecord;
}

/** For the records of one plan; null: the layout does not tell them apart. */
export function partitioner(layout: Layout): Partitioner | null {
  if (!hasPartitions(layout)) return null;
  const place = partitionOf(layout);
  const open = new Set<string>();
  return {
    place: (record) => {
      const placed = place(record);
      if ('stage' in placed || open.has(placed.partitionId)) return placed;
      if (open.size === partitionsMax) {
        const message = `There are ${partitionsMax} partitions already.`;
        return failed(record, partitionLimitExceeded, message);
      }
      open.add(placed.partitionId);
      return placed;
    },
  };
}

/** Says for each record by itself where it goes. */
function partitionOf(layout: Layout): (record: ShapedRecord) => Placed | FailedRecord {
  const { partitionBy, queryLanguage = 'jmespath' } = layout.options;
  const queries = Object.entries(partitionBy ?? {}).map(
    ([name, text]) => [name, compileQuery(text, queryLanguage)] as const,
  );
  const fits = prefixFit(layout);
  return (record) => {
    try {
      const lambda = record.partition?.lambda ?? {};
      const partition = { query: queryValues(record, queries), lambda };
      const partitionId = partitionIdOf(layout, partition);
      if (partitionId === null) throw new QueryError('the function gave no value for it');
      fits(partition);
      return { record: { ...record, partition }, partitionId };
    } catch (error) {
      if (!(error instanceof QueryError)) throw error;
      const code = 'DynamicPartitioning.MetadataExtractionFailed';
      return failed(record, code, `The record has no partition: ${error.message}.`);
    }
  };
}

/** @throws QueryError */
function queryValues(
  record: ShapedRecord,
  queries: readonly (readonly [string, Query])[],
): PartitionValues['query'] {
  if (queries.length === 0) return {};
  const value = parseJson(record.data);
  if (value === undefined) throw new QueryError('it is not JSON');
  return Object.fromEntries(
    queries.map(([name, query]) => [name, textOf(name, query.run(value))] as const),
  );
}

function textOf(name: string, results: readonly Json[]): string {
  const [value = null] = results;
  if (results.length > 1) throw new QueryError(`partitionKey ${name} has several values`);
  if (value === null || value === '') {
    throw new QueryError(`the value of partitionKey ${name} must not be null or empty`);
  }
  if (typeof value === 'object') {
    throw new QueryError(`the value of partitionKey ${name} is a list or an object`);
  }
  return String(value);
}

/** Whatever the time is, so that a record's place does not depend on it. */
function prefixFit(layout: Layout): (partition: PartitionValues) => void {
  const fixed = fixedLengths(layout.prefix);
  return (partition) => {
    let { characters, bytes } = fixed;
    for (const piece of layout.prefix) {
      if (piece.kind !== 'partition') continue;
      const part = keyPart(partitionValue(partition, piece) ?? '', layout.hive);
      if (part === '') throw new QueryError(`nothing of ${piece.name} can stand in a key`);
      characters += part.length;
      bytes += Buffer.byteLength(part);
    }
    if (characters > prefixCharactersMax || bytes > prefixBytesMax) {
      throw new QueryError(
        `the prefix is longer than ${prefixCharactersMax} characters or ${prefixBytesMax} bytes`,
      );
    }
    if (bytes > levelBytesMax && longestLevel(layout, partition) > levelBytesMax) {
      throw new QueryError(`a folder would have a name of more than ${levelBytesMax} bytes`);
    }
  };
}

/** Bytes of the longest name of a folder, at any one time. */
function longestLevel(layout: Layout, partition: PartitionValues): number {
  const values = { time: zonedTime(0, 'UTC'), random: () => '', partition, stage: null };
  const levels = (evaluatePrefix(layout.prefix, values, layout.hive) ?? '').split('/');
  return Math.max(...levels.map((level) => Buffer.byteLength(level)));
}

function failed(record: ShapedRecord, errorCode: string, errorMessage: string): FailedRecord {
  return { record, stage: 'dynamic-partitioning-failed', errorCode, errorMessage, attempts: 1 };
}
