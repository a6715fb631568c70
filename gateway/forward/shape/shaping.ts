/**
 * What a delivery does to its records, in this order: they are taken out of each other, filtered,
 * given to a function, selected from, and told apart by partition. Which function that is, and how its
 * answers are kept, is the business of `transformed.ts`.
 *
 * The options are part of every plan: a plan is carried out as it was made, whatever the
 * configuration says by then.
 */
import { defaultFormat, type FormatOptions } from '../format/formats.ts';
import type { RecordFormat } from '../format/ndjson.ts';
import { failureOf, type Failure } from './failures.ts';
import type { OutputPart } from './output-codec.ts';
import type { FailedRecord, ShapedRecord } from './shaped-record.ts';

/** Everything that shapes what is sent; JSON. */
export interface ShapeOptions {
  readonly record: RecordFormat;
  readonly format: FormatOptions;
}

/** What becomes of one record. */
export interface Shaped {
  readonly records: readonly ShapedRecord[];
  readonly failed: readonly FailedRecord[];
}

export type Step = (record: ShapedRecord) => Shaped;

/** Ready for one attempt at one plan. */
export interface Shaping {
  /** Takes records out of each other. */
  separate(records: readonly ShapedRecord[]): OutputPart;
  /** What comes before the function. */
  before(records: readonly ShapedRecord[]): OutputPart;
  /** What comes after it. */
  after(records: readonly ShapedRecord[]): OutputPart;
}

export const plainShape: ShapeOptions = { record: 'data', format: defaultFormat };

/** @throws Error for what does not go together: the configuration refuses it earlier */
export function openShaping(_options: ShapeOptions): Shaping {
  const [separating, before, after]: readonly (readonly Step[])[] = [[], [], []];
  return {
    separate: through(separating ?? []),
    before: through(before ?? []),
    after: through(after ?? []),
  };
}

function through(steps: readonly Step[]): (records: readonly ShapedRecord[]) => OutputPart {
  return (records) => {
    const failures: Failure[] = [];
    let left = records;
    for (const step of steps) {
      const next: ShapedRecord[] = [];
      for (const record of left) {
        const shaped = step(record);
        next.push(...shaped.records);
        failures.push(...shaped.failed.map(failureOf));
      }
      left = next;
    }
    return { records: left, failures };
  };
}
