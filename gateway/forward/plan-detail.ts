/**
 * What stands in the plan of an object, a batch or a load: everything that says what is made of its
 * range and what that is called, as it was when the plan was made. A plan is carried out as it stands
 * there, by whatever configuration and release, so that what is sent again is the same.
 */
import { z } from 'zod';
import type { KeyScope } from './keys.ts';
import { plainShape, type ShapeOptions } from './shape/shaping.ts';
import type { TableReading } from './sink.ts';

/** Of releases that knew one object for each plan, NDJSON gzipped. */
const plainDetail = z.object({
  kind: z.literal('records'),
  key: z.string(),
  format: z.enum(['data', 'envelope']),
  oldestMs: z.number().optional(),
});

const shapedDetail = z.object({
  kind: z.literal('shaped'),
  scope: z.object({
    gatewayId: z.string(),
    delivery: z.string(),
    prefix: z.string(),
    version: z.number(),
  }),
  // We wrote it ourselves, and it is checked where it is put to use.
  shape: z.custom<ShapeOptions>((value) => typeof value === 'object' && value !== null),
  reading: z
    .object({ columns: z.array(z.string()).nullable(), options: z.string() })
    .nullable()
    .default(null),
  isForFunction: z.boolean(),
  oldestMs: z.number(),
});

export interface PlanDetail {
  /** For the names of what is sent. */
  readonly scope: KeyScope;
  readonly shape: ShapeOptions;
  /** Of a table; null: the destination was none, or the release did not say. */
  readonly reading: TableReading | null;
  /** A function goes through its records first. */
  readonly isForFunction: boolean;
  /** When the oldest of its records came. */
  readonly oldestMs: number;
  /** What its only object is called, where that was decided when it was made. */
  readonly key: string | null;
}

/** As it is saved. */
export function detailToSave(detail: Omit<PlanDetail, 'key'>): unknown {
  const { scope, shape, reading, isForFunction, oldestMs } = detail;
  return { kind: 'shaped', scope, shape, reading, isForFunction, oldestMs };
}

/** @param now what counts for what an older release did not say @throws ZodError */
export function readDetail(
  detail: unknown,
  now: { readonly scope: KeyScope; readonly createdMs: number },
): PlanDetail {
  const found = z.discriminatedUnion('kind', [plainDetail, shapedDetail]).parse(detail);
  if (found.kind === 'shaped') return { ...found, key: null };
  return {
    scope: now.scope,
    shape: { ...plainShape, record: found.format },
    reading: null,
    isForFunction: false,
    oldestMs: found.oldestMs ?? now.createdMs,
    key: found.key,
  };
}
