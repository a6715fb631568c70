/**
 * Where objects of records go: keys after Firehose's pattern,
 *
 *     <prefix><name>-<version>-yyyy-MM-dd-HH-mm-ss-<uuid><extension>
 *
 * the name being that of the stream, unless the layout has another, and the time that of the oldest
 * record's arrival. A key is a function of the layout and of what the object contains, and of nothing
 * else: sent again it gets the same one, `random-string` included, so it replaces itself. Keys of
 * footage are made in `../keys.ts`.
 *
 * What is appended to a prefix, as Firehose does it: `yyyy/MM/dd/HH/` when it names neither a time
 * nor a partition; in Hive's style the partitions that it does not name, as `name=value/`, and
 * `year=yyyy/month=MM/day=dd/hour=HH/`. To an error prefix without expressions: the reason and the
 * time, each as a folder.
 */
import { uuidV5 } from '../uuid.ts';
import { keyNamespace, type KeyScope } from '../keys.ts';
import type { FailureStage, PartitionValues } from '../shape/shaped-record.ts';
import { compileDatePattern } from './date-pattern.ts';
import { keyPart } from './key-part.ts';
import { compilePrefix, evaluatePrefix, partitionValue, type PrefixPiece } from './prefix.ts';
import { zonedTime } from './zoned-time.ts';

/** As a delivery is configured; it stands in plans, so that they are carried out as they were made. */
export interface LayoutOptions {
  /** Begins every key; null: nothing does. */
  readonly prefix?: string | null;
  /** Begins the key of every object of failed records; null: there are no such objects. */
  readonly errorPrefix?: string | null;
  /** What objects are named after; null: the stream that their records are from. */
  readonly objectName?: string | null;
  /** Of every time in keys (IANA). Default `UTC`. */
  readonly timeZone?: string | null;
  /** Ends the key instead of what the format has, with its dot. */
  readonly extension?: string | null;
  /** Folders as `name=value`. Default false. */
  readonly hive?: boolean;
  /** Queries by the names of their values; empty: there are no dynamic partitions. */
  readonly partitionBy?: Readonly<Record<string, string>> | null;
  /** Of `partitionBy`. Default `jmespath`. */
  readonly queryLanguage?: 'jmespath' | 'jq';
}

export interface Layout {
  readonly options: LayoutOptions;
  /** With what is appended to it. */
  readonly prefix: readonly PrefixPiece[];
  readonly errorPrefix: readonly PrefixPiece[];
  readonly timeZone: string;
  readonly hive: boolean;
}

/** What the UUID in a key stands for, beside the object's place. */
export type LayoutScope = Pick<KeyScope, 'gatewayId' | 'delivery' | 'version'>;

/** Which records are in an object. */
export interface ObjectPlace {
  readonly stream: string;
  /** Tells a stream from a later one of the same name. */
  readonly streamCreatedMs: number;
  readonly shardId: number;
  readonly from: number;
  readonly to: number;
  readonly oldestArrivalMs: number;
  /** null: all of the range are in it. */
  readonly partition: PartitionValues | null;
  /** What the key ends with, unless the layout says otherwise: that of the format. */
  readonly extension: string;
}

/** Which failed records are in an object. */
export type ErrorPlace = Omit<ObjectPlace, 'partition'> & { readonly stage: FailureStage };

const suffixTime = compileDatePattern('yyyy-MM-dd-HH-mm-ss');
const dailyFolders = '!{timestamp:yyyy/MM/dd/HH/}';
const hiveFolders = `!{timestamp:'year='yyyy'/month='MM'/day='dd'/hour='HH'/'}`;

/** @throws PrefixError; what is to be said of options that somebody wrote, `check.ts` says */
export function compileLayout(options: LayoutOptions): Layout {
  const { hive = false } = options;
  const prefix = compilePrefix(options.prefix ?? '');
  const errorPrefix = failedPrefix(options.errorPrefix ?? literalFolder(prefix), hive);
  return {
    options,
    prefix: [...prefix, ...appended(prefix, options)],
    errorPrefix: compilePrefix(errorPrefix),
    timeZone: options.timeZone ?? 'UTC',
    hive,
  };
}

/** A prefix for failed records, with what is appended to it where it has no expressions. */
export function failedPrefix(prefix: string, hive: boolean): string {
  if (prefix.includes('!{')) return prefix;
  return `${prefix}!{firehose:error-output-type}/${hive ? hiveFolders : dailyFolders}`;
}

/** Where failed records lie when it is not said: below what no expression changes. */
function literalFolder(prefix: readonly PrefixPiece[]): string {
  const [first] = prefix;
  if (first?.kind !== 'text') return '';
  return prefix.length === 1 ? first.text : first.text.slice(0, first.text.lastIndexOf('/') + 1);
}

function appended(
  prefix: readonly PrefixPiece[],
  { hive = false, partitionBy }: LayoutOptions,
): readonly PrefixPiece[] {
  const has = (kind: PrefixPiece['kind']): boolean => prefix.some((piece) => piece.kind === kind);
  if (has('partition') || has('error-type')) return [];
  const folders = hive ? Object.keys(partitionBy ?? {}).flatMap(hiveFolder) : [];
  const times = compilePrefix(hive ? hiveFolders : dailyFolders);
  return has('timestamp') ? folders : [...folders, ...times];
}

function hiveFolder(name: string): readonly PrefixPiece[] {
  return [
    { kind: 'text', text: `${name}=` },
    { kind: 'partition', namespace: 'partitionKeyFromQuery', name },
    { kind: 'text', text: '/' },
  ];
}

/** Whether records are told apart by what is in them. */
export function hasPartitions(layout: Layout): boolean {
  return layout.prefix.some(({ kind }) => kind === 'partition');
}

/** Whether a plan may make several objects: by what is in its records, or by how they failed. */
export function isDivided(layout: Layout): boolean {
  return layout.prefix.some(({ kind }) => kind === 'partition' || kind === 'error-type');
}

/**
 * What tells one partition from another: the prefix without its times, as Firehose groups records.
 * @returns null: a value that the prefix names is missing
 */
export function partitionIdOf(layout: Layout, partition: PartitionValues | null): string | null {
  const values: string[] = [];
  for (const piece of layout.prefix) {
    if (piece.kind === 'error-type') values.push(partition?.stage ?? '');
    if (piece.kind !== 'partition') continue;
    const value = partitionValue(partition, piece);
    if (value === null) return null;
    values.push(keyPart(value, layout.hive));
  }
  return JSON.stringify(values);
}

/** The key of an object of records, at most 1,024 bytes long (see `partitioner.ts`). */
export function objectKey(layout: Layout, scope: LayoutScope, place: ObjectPlace): string {
  const partitionId = isDivided(layout) ? partitionIdOf(layout, place.partition) : null;
  const identity = ['records', ...identityOf(scope, place)];
  if (partitionId !== null) identity.push(partitionId);
  return keyOf(layout, scope, place, {
    pieces: layout.prefix,
    name: JSON.stringify(identity),
    partition: place.partition,
    stage: null,
    extension: layout.options.extension ?? place.extension,
  });
}

/** The key of an object of failed records; without an error prefix it begins as the others do. */
export function errorKey(layout: Layout, scope: LayoutScope, place: ErrorPlace): string {
  return keyOf(layout, scope, place, {
    pieces: layout.errorPrefix,
    name: JSON.stringify(['failed', ...identityOf(scope, place), place.stage]),
    partition: null,
    stage: place.stage,
    extension: place.extension,
  });
}

type Range = Omit<ObjectPlace, 'partition' | 'extension'>;

function identityOf(scope: LayoutScope, range: Range): (string | number)[] {
  return [
    scope.gatewayId,
    scope.delivery,
    range.stream,
    range.streamCreatedMs,
    scope.version,
    range.shardId,
    range.from,
    range.to,
  ];
}

function keyOf(
  layout: Layout,
  scope: LayoutScope,
  range: Range,
  object: {
    readonly pieces: readonly PrefixPiece[];
    readonly name: string;
    readonly partition: PartitionValues | null;
    readonly stage: FailureStage | null;
    readonly extension: string;
  },
): string {
  const { pieces, name, partition, stage, extension } = object;
  const time = zonedTime(range.oldestArrivalMs, layout.timeZone);
  const random = (index: number): string => uuidV5(keyNamespace, `random ${index} ${name}`);
  const prefix = evaluatePrefix(pieces, { time, random, partition, stage }, layout.hive);
  if (prefix === null) throw new Error('the partition lacks a value of the prefix');
  const stamp = suffixTime.format(time);
  const uuid = uuidV5(keyNamespace, name);
  const named = layout.options.objectName ?? range.stream;
  return `${prefix}${named}-${scope.version}-${stamp}-${uuid}${extension}`;
}
