/** What the keys of a delivery that shape its records mean together, beside what each may be. */
import { z } from 'zod';
import { layoutProblems } from '../forward/layout/check.ts';
import { compileQuery } from '../forward/query/query.ts';
import { QueryError } from '../forward/query/values.ts';

export interface ShapeProblem {
  /** From the delivery on. */
  readonly path: readonly string[];
  readonly message: string;
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

/** @param isOfFailed its objects are of failed records */
export function shapeProblems(value: unknown, isOfFailed = false): readonly ShapeProblem[] {
  const parsed = lenient.safeParse(value);
  if (!parsed.success) return [];
  const delivery = parsed.data;
  const [kind = ''] = Object.keys(delivery.to);
  if ('camera' in delivery.from) return ofFootage(delivery, kind);
  const problems = [...queryProblems(delivery)];
  if (kind === 'kinesis' && isPartitioned(delivery)) {
    const message = 'is of objects, and kinesis gets records';
    problems.push({ path: ['layout', 'partitionBy'], message });
  }
  if (kind !== 'folder' && kind !== 's3') return problems;
  const { prefix } = prefixed.parse(delivery.to[kind]);
  const use = { hasFunction: isGiven(delivery.transform), needsErrorPrefix: false };
  const prefixOption = isOfFailed ? 'errorPrefix' : 'prefix';
  const options = { ...delivery.layout, [prefixOption]: prefix };
  for (const { option, name, says } of layoutProblems(options, use)) {
    const path = option === prefixOption ? ['to', kind, 'prefix'] : ['layout', option];
    problems.push({ path: name === undefined ? path : [...path, name], message: says });
  }
  if (kind === 'folder' && leavesFolder.test(prefix)) {
    problems.push({ path: ['to', kind, 'prefix'], message: 'leads out of the folder' });
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
    const says = query === null ? null : queryProblem(query);
    return says === null ? [] : [{ path: [key], message: `is no query of JMESPath: ${says}` }];
  });
}

function queryProblem(query: string): string | null {
  try {
    compileQuery(query, 'jmespath');
    return null;
  } catch (error) {
    if (error instanceof QueryError) return error.message;
    throw error;
  }
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}
