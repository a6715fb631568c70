/** What is wrong with a layout that somebody wrote: for the configuration, and for Firehose's API. */
import { languageNames, queryProblem } from '../query/problem.ts';
import type { QueryLanguage } from '../query/query.ts';
import { keyPart } from './key-part.ts';
import { compileLayout, hasPartitions, type LayoutOptions } from './layout.ts';
import { prefixBytesMax, prefixCharactersMax } from './partitioner.ts';
import { compilePrefix, fixedLengths, PrefixError, type PrefixPiece } from './prefix.ts';
import { isTimeZone } from './zoned-time.ts';

export interface LayoutProblem {
  readonly option: keyof LayoutOptions;
  /** Of `partitionBy`: which of its names. */
  readonly name?: string;
  /** Goes on from the option: `prefix` "has a { that is not closed". */
  readonly says: string;
  /** The ways out, where they are not plain. */
  readonly allowed?: string;
}

export interface LayoutUse {
  /** Whether there is a function, which may give values of partitions. */
  readonly hasFunction: boolean;
  /** Whether expressions ask for an error prefix, as they do at Firehose. */
  readonly needsErrorPrefix: boolean;
  /** What options are called in sentences; left out: as they are here. */
  readonly names?: Readonly<Record<'errorPrefix' | 'partitionBy', string>>;
}

/** As many keys as Firehose takes in a prefix would not fit there anyway. */
const partitionKeysMax = 50;
/** Of Firehose. */
const extensionPattern = /^\.[0-9a-z!\-_.*'()]{1,127}$/;

/** All that is wrong, in sentences. */
export function layoutProblems(options: LayoutOptions, use: LayoutUse): readonly LayoutProblem[] {
  const { timeZone = null, extension = null } = options;
  const problems: LayoutProblem[] = [];
  const prefix = piecesOf('prefix', options, problems);
  const errorPrefix = piecesOf('errorPrefix', options, problems);
  if (prefix !== null) checkPrefix(prefix, options, use, problems);
  if (errorPrefix !== null) checkErrorPrefix(errorPrefix, problems);
  checkQueries(options, problems);
  if (timeZone !== null && !isTimeZone(timeZone)) {
    problems.push({ option: 'timeZone', says: 'is no time zone that is known' });
  }
  if (extension !== null && !extensionPattern.test(extension)) {
    problems.push({ option: 'extension', says: 'is no extension' });
  }
  if (prefix !== null && errorPrefix !== null && problems.length === 0) {
    checkLengths(options, problems);
  }
  return problems;
}

function piecesOf(
  option: 'prefix' | 'errorPrefix',
  options: LayoutOptions,
  problems: LayoutProblem[],
): readonly PrefixPiece[] | null {
  try {
    return compilePrefix(options[option] ?? '');
  } catch (error) {
    if (!(error instanceof PrefixError)) throw error;
    problems.push({ option, says: `is no prefix: ${error.message}` });
    return null;
  }
}

function checkPrefix(
  prefix: readonly PrefixPiece[],
  { errorPrefix = null, partitionBy, hive = false }: LayoutOptions,
  use: LayoutUse,
  problems: LayoutProblem[],
): void {
  const { names: called = { errorPrefix: 'errorPrefix', partitionBy: 'partitionBy' } } = use;
  const names = new Set(Object.keys(partitionBy ?? {}));
  let hasUnknown = false;
  const unused = new Set(names);
  for (const piece of prefix) {
    if (piece.kind === 'error-type') {
      const says = `has !{firehose:error-output-type}, which is of ${called.errorPrefix} alone`;
      problems.push({ option: 'prefix', says });
    }
    if (piece.kind !== 'partition') continue;
    if (piece.namespace === 'partitionKeyFromLambda') {
      if (use.hasFunction) continue;
      const says = `has !{partitionKeyFromLambda:${piece.name}}, and there is no function`;
      problems.push({ option: 'prefix', says });
    } else if (!names.has(piece.name)) {
      hasUnknown = true;
      const has = [...names].join(', ');
      const says = `has !{partitionKeyFromQuery:${piece.name}}, and ${called.partitionBy} has no ${piece.name}`;
      problems.push({ option: 'prefix', says: has === '' ? says : `${says}, but ${has}` });
    }
    unused.delete(piece.name);
  }
  const isNamed = prefix.some(({ kind }) => kind === 'partition');
  // A name that is mistyped in one of the two is one mistake.
  const [first] = (hive && !isNamed) || hasUnknown ? [] : unused;
  if (first !== undefined) {
    const says = `goes nowhere with ${[...unused].join(', ')}, which the prefix does not name`;
    const named = `a prefix with "!{partitionKeyFromQuery:${first}}/" in it`;
    const allowed = isNamed ? named : `${named}, or "hive: true" beside partitionBy`;
    problems.push({ option: 'partitionBy', says, allowed });
  }
  const hasExpressions = prefix.some(({ kind }) => kind !== 'text');
  if (use.needsErrorPrefix && errorPrefix === null && hasExpressions) {
    problems.push({ option: 'errorPrefix', says: 'is needed where the prefix has expressions' });
  }
}

function checkErrorPrefix(errorPrefix: readonly PrefixPiece[], problems: LayoutProblem[]): void {
  const kinds = new Set(errorPrefix.map(({ kind }) => kind));
  if (kinds.has('partition')) {
    const says = 'has a partition key, and records fail before they have one';
    problems.push({ option: 'errorPrefix', says });
  }
  if ((kinds.has('timestamp') || kinds.has('random')) && !kinds.has('error-type')) {
    const says = 'has expressions, and !{firehose:error-output-type} is not among them';
    const allowed = "'x/!{firehose:error-output-type}/!{timestamp:yyyy}/'";
    problems.push({ option: 'errorPrefix', says, allowed });
  }
}

function checkQueries(options: LayoutOptions, problems: LayoutProblem[]): void {
  const { partitionBy, queryLanguage = 'jmespath', hive = false } = options;
  const entries = Object.entries(partitionBy ?? {});
  if (entries.length > partitionKeysMax) {
    problems.push({ option: 'partitionBy', says: `has more than ${partitionKeysMax} keys` });
  }
  for (const [name, query] of entries) {
    if (hive && keyPart(name, true) !== name) {
      problems.push({ option: 'partitionBy', name, says: 'is no name for Hive' });
    }
    const problem = queryProblem(query, queryLanguage);
    if (problem === null) continue;
    const { says, writtenIn } = problem;
    problems.push({ option: 'partitionBy', name, says, ...instead(queryLanguage, writtenIn) });
  }
}

function instead(
  language: QueryLanguage,
  writtenIn: QueryLanguage | null,
): Pick<LayoutProblem, 'allowed'> {
  if (writtenIn === null) return {};
  return {
    allowed: `a query of ${languageNames[language]}, or "queryLanguage: ${writtenIn}" beside partitionBy`,
  };
}

/** Without the values of partitions, which are looked at record by record. */
function checkLengths(options: LayoutOptions, problems: LayoutProblem[]): void {
  const layout = compileLayout(options);
  for (const option of ['prefix', 'errorPrefix'] as const) {
    if (option === 'errorPrefix' && typeof options.errorPrefix !== 'string') continue;
    const { characters, bytes } = fixedLengths(layout[option]);
    const room = option === 'prefix' && hasPartitions(layout) ? 1 : 0;
    if (characters + room <= prefixCharactersMax && bytes + room <= prefixBytesMax) continue;
    const says = `makes more than ${prefixCharactersMax} characters, or ${prefixBytesMax} bytes`;
    problems.push({ option, says });
  }
}
