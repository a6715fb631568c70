/** What the keys of a delivery that shape its records mean together, beside what each may be. */
import { z } from 'zod';
import { layoutProblems } from '../forward/layout/check.ts';
import type { DeliveryRole } from './backup-rules.ts';
import { fields } from './fields.ts';
import { jmespathProblem } from './query-rules.ts';

export interface ShapeProblem {
  /** From the delivery on. */
  readonly path: readonly string[];
  readonly message: string;
  readonly allowed?: string;
}

/** What is wrong in itself is told elsewhere, and stands here as if it were not there. */
const lenient = z.object({
  from: z.record(z.string(), z.unknown()).catch({}),
  to: z.record(z.string(), z.unknown()).catch({}),
  transform: z.unknown().optional(),
  filter: z.string().nullable().catch(null),
  select: z.string().nullable().catch(null),
  deaggregate: z.object({ type: z.string() }).catch({ type: 'none' }),
  layout: z
    .object({
      errorPrefix: z.string().nullable().catch(null),
      timeZone: z.string().nullable().catch(null),
      extension: z.string().nullable().catch(null),
      hive: z.boolean().catch(false),
      partitionBy: z.record(z.string(), z.string()).catch({}),
      queryLanguage: z.enum(['jmespath', 'jq']).catch('jmespath'),
    })
    .catch({
      ...{ errorPrefix: null, timeZone: null, extension: null, hive: false },
      ...{ partitionBy: {}, queryLanguage: 'jmespath' },
    }),
});

type Delivery = z.output<typeof lenient>;

const prefixed = z.object({ prefix: z.string().catch('') }).catch({ prefix: '' });

/** Levels of a path that lead elsewhere. */
const leavesFolder = /(?:^|\/)\.{1,2}(?:\/|$)/;
/** Of a key, together with all that follows it. */
const plainPrefixMax = 512;

/** Where records do not arrive many in an object. */
export const takingRecords: readonly string[] = [
  ...['kinesis', 'http', 'opensearch', 'splunk', 'dynamodb', 'nats', 'kafka'],
];

/** What of a destination has the prefix of its objects of records. */
export const prefixPlaces: Readonly<Record<string, readonly string[]>> = {
  folder: ['to', 'folder'],
  s3: ['to', 's3'],
  redshift: ['to', 'redshift', 'staging'],
};

const partitionExpression = /!\{partitionKeyFrom(?:Query|Lambda):/;
const backupPrefix = 'text, !{timestamp:…} and !{firehose:random-string}';

export function shapeProblems(value: unknown, role: DeliveryRole): readonly ShapeProblem[] {
  const parsed = lenient.safeParse(value);
  if (!parsed.success) return [];
  const delivery = parsed.data;
  const [kind = ''] = Object.keys(delivery.to);
  if ('camera' in delivery.from) return ofFootage(delivery, kind);
  const problems = [...queryProblems(delivery)];
  const place = prefixPlaces[kind];
  if (place === undefined) {
    if (takingRecords.includes(kind) && isPartitioned(delivery)) {
      const message = `is of objects, and ${kind} gets records`;
      const allowed = 'a delivery to folder or s3';
      problems.push({ path: ['layout', 'partitionBy'], message, allowed });
    }
    return problems;
  }
  const path = [...place, 'prefix'];
  const { prefix } = prefixed.parse(
    place.reduce<unknown>((part, key) => fields(part)[key], delivery),
  );
  if (role === 'backup' && partitionExpression.test(prefix)) {
    const message = 'has a partition, and a backup has none: it keeps records before anyone looks';
    return [...problems, { path, message, allowed: backupPrefix }];
  }
  const use = { hasFunction: isGiven(delivery.transform), needsErrorPrefix: false };
  const prefixOption = role === 'failed' ? 'errorPrefix' : 'prefix';
  for (const problem of layoutProblems({ ...delivery.layout, [prefixOption]: prefix }, use)) {
    const { option, name, says, ...rest } = problem;
    const at = option === prefixOption ? path : ['layout', option];
    problems.push({ path: name === undefined ? at : [...at, name], message: says, ...rest });
  }
  if (kind === 'folder' && leavesFolder.test(prefix)) {
    problems.push({ path, message: 'leads out of the folder' });
  }
  return problems;
}

function ofFootage(delivery: Delivery, kind: string): readonly ShapeProblem[] {
  const problems = [...notShaped(delivery, 'is of records, and footage is files')];
  const { prefix } = prefixed.parse(delivery.to[kind]);
  const path = ['to', kind, 'prefix'];
  if (prefix.includes('!{')) {
    problems.push({ path, message: 'has expressions, which are for records' });
  }
  if (prefix.length > plainPrefixMax) {
    problems.push({ path, message: `is longer than ${plainPrefixMax} characters` });
  }
  return problems;
}

function notShaped(delivery: Delivery, message: string): readonly ShapeProblem[] {
  const { filter, select, deaggregate } = delivery;
  return [
    ...(filter === null ? [] : [{ path: ['filter'], message }]),
    ...(select === null ? [] : [{ path: ['select'], message }]),
    ...(deaggregate.type === 'none' ? [] : [{ path: ['deaggregate', 'type'], message }]),
    ...(isPartitioned(delivery) ? [{ path: ['layout', 'partitionBy'], message }] : []),
  ];
}

function isPartitioned({ layout }: Delivery): boolean {
  return Object.keys(layout.partitionBy).length > 0;
}

function queryProblems({ filter, select }: Delivery): readonly ShapeProblem[] {
  return Object.entries({ filter, select }).flatMap(([key, query]) => {
    const problem = query === null ? null : jmespathProblem(query);
    return problem === null ? [] : [{ path: [key], ...problem }];
  });
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}
