/**
 * Prefixes of keys, as Firehose has them: text with expressions `!{namespace:value}`.
 *
 *     !{timestamp:yyyy/MM}            a pattern of Java's DateTimeFormatter
 *     !{firehose:random-string}       11 characters
 *     !{firehose:error-output-type}   why the records failed; of error prefixes alone
 *     !{partitionKeyFromQuery:name}   what a query of `partitionBy` gave
 *     !{partitionKeyFromLambda:name}  what the function gave
 *
 * https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html
 */
import {
  errorOutputTypes,
  type FailureStage,
  type PartitionValues,
} from '../shape/shaped-record.ts';
import { compileDatePattern, PatternError, type DatePattern } from './date-pattern.ts';
import { keyPart } from './key-part.ts';
import type { ZonedTime } from './zoned-time.ts';

export type PartitionNamespace = 'partitionKeyFromQuery' | 'partitionKeyFromLambda';

export type PrefixPiece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'timestamp'; readonly pattern: DatePattern }
  | { readonly kind: 'random' }
  | { readonly kind: 'error-type' }
  | {
      readonly kind: 'partition';
      readonly namespace: PartitionNamespace;
      readonly name: string;
    };

/** What expressions are evaluated with. */
export interface PrefixValues {
  readonly time: ZonedTime;
  /** Of at least 11 characters, another one for each number. */
  readonly random: (index: number) => string;
  readonly partition: PartitionValues | null;
  readonly stage: FailureStage | null;
}

/** Of Firehose. */
const randomLength = 11;
const stageLength = Math.max(...Object.values(errorOutputTypes).map(({ length }) => length));

/** Says in a sentence what is wrong with a prefix. */
export class PrefixError extends Error {
  override readonly name = 'PrefixError';
}

/** @throws PrefixError */
export function compilePrefix(prefix: string): readonly PrefixPiece[] {
  const pieces: PrefixPiece[] = [];
  for (let at = 0; at < prefix.length;) {
    const start = prefix.indexOf('!{', at);
    if (start !== at)
      pieces.push({ kind: 'text', text: prefix.slice(at, start < 0 ? undefined : start) });
    if (start < 0) break;
    const end = prefix.indexOf('}', start);
    if (end < 0) throw new PrefixError('!{ begins an expression that no } ends');
    pieces.push(compileExpression(prefix.slice(start + 2, end)));
    at = end + 1;
  }
  return pieces;
}

function compileExpression(expression: string): PrefixPiece {
  const colon = expression.indexOf(':');
  const namespace = expression.slice(0, Math.max(colon, 0));
  const value = expression.slice(colon + 1);
  switch (namespace) {
    case 'timestamp':
      return { kind: 'timestamp', pattern: patternOf(value) };
    case 'firehose':
      if (value === 'random-string') return { kind: 'random' };
      if (value === 'error-output-type') return { kind: 'error-type' };
      throw new PrefixError(
        `!{${expression}} is neither firehose:random-string nor firehose:error-output-type`,
      );
    case 'partitionKeyFromQuery':
    case 'partitionKeyFromLambda':
      if (value === '') throw new PrefixError(`!{${expression}} names no key`);
      return { kind: 'partition', namespace, name: value };
    default:
      throw new PrefixError(
        `!{${expression}} has no namespace that is known: timestamp, firehose, partitionKeyFromQuery or partitionKeyFromLambda, and a colon behind it`,
      );
  }
}

function patternOf(pattern: string): DatePattern {
  if (pattern === '') throw new PrefixError('!{timestamp:} has no pattern');
  try {
    return compileDatePattern(pattern);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    throw new PrefixError(`!{timestamp:${pattern}}: ${error.message}`, { cause: error });
  }
}

/**
 * What the prefix is for an object.
 * @param hive escapes the values of partitions as Hive does
 * @returns null: the partition lacks a value that is asked for
 */
export function evaluatePrefix(
  pieces: readonly PrefixPiece[],
  values: PrefixValues,
  hive: boolean,
): string | null {
  let prefix = '';
  let randoms = 0;
  for (const piece of pieces) {
    switch (piece.kind) {
      case 'text':
        prefix += piece.text;
        break;
      case 'timestamp':
        prefix += piece.pattern.format(values.time);
        break;
      case 'random':
        prefix += values.random(randoms).slice(0, randomLength);
        randoms += 1;
        break;
      case 'error-type': {
        const stage = values.stage ?? values.partition?.stage;
        prefix += stage === undefined ? '' : errorOutputTypes[stage];
        break;
      }
      case 'partition': {
        const value = partitionValue(values.partition, piece);
        if (value === null) return null;
        prefix += keyPart(value, hive);
      }
    }
  }
  return prefix;
}

/** What a partition has for an expression; null: nothing. */
export function partitionValue(
  partition: PartitionValues | null,
  { namespace, name }: { readonly namespace: PartitionNamespace; readonly name: string },
): string | null {
  const values = namespace === 'partitionKeyFromQuery' ? partition?.query : partition?.lambda;
  return values !== undefined && Object.hasOwn(values, name) ? (values[name] ?? null) : null;
}

/** No time makes more characters, or bytes of UTF-8, of all that is not a partition's value. */
export function fixedLengths(pieces: readonly PrefixPiece[]): {
  readonly characters: number;
  readonly bytes: number;
} {
  let characters = 0;
  let bytes = 0;
  for (const piece of pieces) {
    const most = longestOf(piece);
    characters += most.characters;
    bytes += most.bytes;
  }
  return { characters, bytes };
}

function longestOf(piece: PrefixPiece): { readonly characters: number; readonly bytes: number } {
  switch (piece.kind) {
    case 'text':
      return { characters: piece.text.length, bytes: Buffer.byteLength(piece.text) };
    case 'timestamp':
      return { characters: piece.pattern.maxLength, bytes: piece.pattern.maxBytes };
    case 'random':
      return { characters: randomLength, bytes: randomLength };
    case 'error-type':
      return { characters: stageLength, bytes: stageLength };
    case 'partition':
      return { characters: 0, bytes: 0 };
  }
}
