/**
 * What is possible and hardly meant, and does harm without a word. Asked of the file alone: what is
 * made over Firehose's API is taken as the service takes it.
 */
import { resolve } from 'node:path';
import type { z } from 'zod';
import { deliveryPlaces } from './backup-rules.ts';
import { copyMistake } from './destinations/redshift.ts';
import { failedMistakes } from './failed-rules.ts';
import { fields, type Fields } from './fields.ts';
import { prefixPlaces } from './layout-rules.ts';
import { reportTo, type Report } from './report.ts';
import { configSchema } from './schema.ts';

interface Mistake {
  /** Of the delivery; with dots between its parts. */
  readonly key: string;
  readonly message: string;
  readonly allowed?: string;
}

/** As `configSchema`, for what somebody has written. */
export const fileSchema = configSchema.superRefine(checkMistakes, { when: () => true });

function checkMistakes(value: unknown, context: z.RefinementCtx): void {
  const report = reportTo(context);
  const config = fields(value);
  checkPrefixes(config, report);
  for (const { path, message, ...params } of failedMistakes(config)) report(path, message, params);
  for (const [name, delivery] of Object.entries(fields(config['deliveries']))) {
    checkPlaces(fields(delivery), ['deliveries', name], report);
    const copied = copyMistake(delivery);
    const found = [...placeMistakes(fields(delivery)), ...(copied === null ? [] : [copied])];
    for (const { key, message, ...params } of found) {
      report(['deliveries', name, ...key.split('.')], message, params);
    }
  }
}

/** What belongs into a key beside the one where it is written. */
function placeMistakes({ to, onlyWhile }: Fields): readonly Mistake[] {
  const { redshift, splunk, opensearch } = fields(to);
  const texts = {
    'to.redshift.table': fields(redshift)['table'],
    'to.splunk.endpoint': fields(splunk)['endpoint'],
    'to.opensearch.endpoint': fields(opensearch)['endpoint'],
    'onlyWhile.program': fields(onlyWhile)['program'],
  };
  return misplaced.flatMap(({ key, pattern, ...mistake }) => {
    const text = texts[key];
    return typeof text === 'string' && pattern.test(text) ? [{ key, ...mistake }] : [];
  });
}

const misplaced = [
  {
    key: 'to.redshift.table',
    pattern: /\./,
    message: 'has a dot in it',
    allowed: 'the name of the table alone, with "schema" beside it',
  },
  {
    key: 'to.splunk.endpoint',
    pattern: /\/services\/collector/,
    message: 'has the path of the collector, which is put behind it',
    allowed: 'the address alone, such as https://splunk.example.net:8088',
  },
  {
    key: 'to.opensearch.endpoint',
    pattern: /\/_bulk\b/,
    message: 'has /_bulk, which is put behind it',
    allowed: 'the address alone, such as https://search.example.net',
  },
  {
    key: 'onlyWhile.program',
    pattern: /\s-/,
    message: 'has arguments behind it',
    allowed: 'the program alone, with "arguments" beside it',
  },
] as const;

function checkPrefixes(config: Fields, report: Report): void {
  for (const { path, delivery } of deliveryPlaces(config)) {
    const [kind = ''] = Object.keys(fields(delivery['to']));
    const place = prefixPlaces[kind];
    const keys = [
      ...(place === undefined ? [] : [[...place, 'prefix']]),
      ['layout', 'errorPrefix'],
    ];
    for (const key of keys) {
      const prefix = key.reduce<unknown>((part, name) => fields(part)[name], delivery);
      const found = typeof prefix === 'string' ? prefixMistakes(prefix) : [];
      if (found.length > 0) report([...path, ...key], `has ${found.join('; and ')}`);
    }
  }
}

/** What makes keys all the same, and letters of times whose keys look right for most of a year. */
function prefixMistakes(prefix: string): readonly string[] {
  const [plain] = /(?<!!)\{(?:timestamp|firehose|partitionKeyFrom\w+):[^}]*\}/.exec(prefix) ?? [];
  const patterns = [...prefix.matchAll(/!\{timestamp:([^}]*)\}/g)].map(
    ([, pattern = '']) => pattern,
  );
  const letters = patterns.join(' ').replace(/'[^']*'/g, ' ');
  const has = (some: RegExp): boolean => some.test(letters);
  return [
    ...(plain === undefined ? [] : [`${plain} without a ! before it`]),
    ...(has(/Y/) && !has(/w/) ? ['YYYY, the year that a week is of: the year is yyyy'] : []),
    ...(has(/m/) && !has(/[HhKkAnN]/) ? ['mm, the minutes, without hours: months are MM'] : []),
    ...(has(/(?<!D)DD(?!D)/) ? ['DD, the day of the year: that of the month is dd'] : []),
  ];
}

/** Whoever reads the one would read the other, too, and most records twice. */
function checkPlaces(
  { to, backup, failed }: Fields,
  path: readonly string[],
  report: Report,
): void {
  const own = startOfKeys(to);
  const kept = startOfKeys(fields(backup)['to']);
  const lost = startOfKeys(fields(failed)['to']);
  const clash = (key: string, { kind }: Place, whose: string): void => {
    report([...path, key, 'to', kind], `is where ${whose} puts its objects`, {
      allowed: `another ${kind === 's3' ? 'bucket' : 'folder'}, or another prefix`,
    });
  };
  if (isSame(own, kept)) clash('backup', kept, 'the delivery itself');
  if (isSame(own, lost)) clash('failed', lost, 'the delivery itself');
  else if (isSame(kept, lost)) clash('failed', lost, 'its backup');
}

interface Place {
  readonly kind: 'folder' | 's3';
  readonly start: string;
}

function isSame(one: Place | null, other: Place | null): other is Place {
  return one !== null && one.kind === other?.kind && one.start === other.start;
}

/** Up to the first expression of the prefix; null: it has no keys, or is wrong in itself. */
function startOfKeys(to: unknown): Place | null {
  const [kind = ''] = Object.keys(fields(to));
  const { path, bucket, endpoint, prefix } = fields(fields(to)[kind]);
  const [start = ''] = typeof prefix === 'string' ? prefix.split('!{') : [];
  if (kind === 'folder' && typeof path === 'string') {
    return { kind, start: `${resolve(path)}/${start}` };
  }
  if (kind !== 's3' || typeof bucket !== 'string') return null;
  return { kind, start: `${typeof endpoint === 'string' ? endpoint : ''}/${bucket}/${start}` };
}
