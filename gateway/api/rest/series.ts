/** Routes for charts: the keys of a stream with their numeric fields, and series of numbers. */
import { createRoute, z } from '@hono/zod-openapi';
import type { Log } from '../../../storage/model.ts';
import { HttpError } from '../../http/errors.ts';
import {
  answers,
  checkRange,
  nameParameter,
  rangeFields,
  wholeQuery,
  type RestRouter,
} from './router.ts';
import { Scanner } from './scan.ts';
import { KeysSchema, SeriesSchema, type Keys, type Series } from './stream-schemas.ts';
import { isoFromMs } from './times.ts';
import { collectNumberPaths, jsonOf, numberAt } from './values.ts';

const keysRecordsMax = 20_000;
const seriesRecordsMax = 100_000;
const keysMax = 1_000;
const fieldsMax = 32;
/** Of one key, this many records are parsed for their fields. */
const parsedPerKey = 10;

const keys = createRoute({
  method: 'get',
  path: '/streams/{name}/keys',
  summary: 'Partition keys seen in a stretch of time, with their numeric fields',
  request: { params: nameParameter, query: z.object(rangeFields) },
  responses: answers(KeysSchema, 'At most 1,000 keys, by name'),
});

const series = createRoute({
  method: 'get',
  path: '/streams/{name}/series',
  summary: 'A numeric field of some keys over time, downsampled',
  request: {
    params: nameParameter,
    query: z.object({
      ...rangeFields,
      keys: z
        .union([z.string(), z.array(z.string()).max(32)])
        .transform((given) => (typeof given === 'string' ? [given] : given))
        .openapi({
          type: 'array',
          items: { type: 'string' },
          description: 'Repeat it for several: keys=a&keys=b; at most 32',
        }),
      field: z
        .string()
        .max(256)
        .default('')
        .describe('Dotted path within the JSON, such as air.celsius; empty: the data is a number'),
      points: wholeQuery(1, 2_000, 500),
    }),
  },
  responses: answers(SeriesSchema, 'One series per key, each of `points` buckets'),
});

export function seriesRoutes(router: RestRouter, options: { readonly log: Log }): void {
  const scanner = new Scanner(options.log);

  router.openapi(keys, async (c) => {
    const { from, to } = c.req.valid('query');
    checkRange(from, to);
    const found = new Map<string, KeySeen>();
    let overflowed = false;
    const result = await scanner.scan({
      stream: c.req.valid('param').name,
      fromMs: from,
      toMs: to,
      maxRecords: keysRecordsMax,
      signal: c.req.raw.signal,
      each: (record) => {
        let seen = found.get(record.partitionKey);
        if (seen === undefined) {
          if (found.size >= keysMax) {
            overflowed = true;
            return;
          }
          seen = { records: 0, lastMs: 0, fields: new Set() };
          found.set(record.partitionKey, seen);
        }
        seen.records += 1;
        seen.lastMs = Math.max(seen.lastMs, record.arrivalMs);
        if (seen.records <= parsedPerKey) {
          collectNumberPaths(jsonOf(record), seen.fields, fieldsMax);
        }
      },
    });
    const answer: Keys = {
      keys: [...found]
        .sort(([a], [b]) => a.localeCompare(b))
        .map(([key, seen]) => ({
          key,
          records: seen.records,
          lastTime: isoFromMs(seen.lastMs),
          fields: [...seen.fields].sort(),
        })),
      ...result,
      complete: result.complete && !overflowed,
    };
    return c.json(answer, 200);
  });

  router.openapi(series, async (c) => {
    const query = c.req.valid('query');
    checkRange(query.from, query.to);
    if (query.keys.some((key) => key.length > 256)) {
      throw new HttpError('bad-request', 'A partition key has at most 256 characters.');
    }
    const stepMs = (query.to - query.from) / query.points;
    /** Where no field was named and the data is no number: what there is instead. */
    const fields = new Set<string>();
    const byKey = new Map(query.keys.map((key) => [key, new Buckets(query.points)]));
    const result = await scanner.scan({
      stream: c.req.valid('param').name,
      fromMs: query.from,
      toMs: query.to,
      maxRecords: seriesRecordsMax,
      signal: c.req.raw.signal,
      each: (record) => {
        const buckets = byKey.get(record.partitionKey);
        if (buckets === undefined) return;
        const json = jsonOf(record);
        const value = numberAt(json, query.field);
        if (value === undefined) {
          if (query.field === '') collectNumberPaths(json, fields, fieldsMax);
          return;
        }
        buckets.add(Math.floor((record.arrivalMs - query.from) / stepMs), value);
      },
    });
    const columns = [...byKey].map(([key, buckets]) => ({ key, ...buckets.columns() }));
    if (fields.size > 0 && columns.every(({ records }) => records === 0)) {
      const message = `name one of ${[...fields].sort().join(', ')}: the data is no number itself`;
      throw new HttpError('bad-request', `field: ${message}`, {
        details: [{ field: 'field', message }],
      });
    }
    const answer: Series = {
      startTime: isoFromMs(query.from),
      stepMs,
      series: columns,
      ...result,
    };
    return c.json(answer, 200);
  });
}

interface KeySeen {
  records: number;
  lastMs: number;
  readonly fields: Set<string>;
}

/** The smallest, largest and mean value of each bucket. */
class Buckets {
  readonly #min: Float64Array;
  readonly #max: Float64Array;
  readonly #sum: Float64Array;
  readonly #count: Uint32Array;

  constructor(points: number) {
    this.#min = new Float64Array(points).fill(Number.POSITIVE_INFINITY);
    this.#max = new Float64Array(points).fill(Number.NEGATIVE_INFINITY);
    this.#sum = new Float64Array(points);
    this.#count = new Uint32Array(points);
  }

  add(bucket: number, value: number): void {
    const at = Math.min(Math.max(bucket, 0), this.#count.length - 1);
    this.#min[at] = Math.min(this.#min[at] ?? value, value);
    this.#max[at] = Math.max(this.#max[at] ?? value, value);
    this.#sum[at] = (this.#sum[at] ?? 0) + value;
    this.#count[at] = (this.#count[at] ?? 0) + 1;
  }

  columns(): Omit<Series['series'][number], 'key'> {
    const filled = (column: Float64Array): (number | null)[] =>
      Array.from(column, (value, at) => (this.#count[at] === 0 ? null : value));
    return {
      records: this.#count.reduce((sum, count) => sum + count, 0),
      min: filled(this.#min),
      max: filled(this.#max),
      avg: filled(this.#sum.map((sum, at) => sum / (this.#count[at] ?? 1))),
    };
  }
}
