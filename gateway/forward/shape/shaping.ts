/**
 * What a delivery does to its records, in this order: they are taken out of each other, filtered,
 * given to a function, selected from, and told apart by partition. Which function that is, and how its
 * answers are kept, is the business of `transformed.ts`.
 *
 * The options are part of every plan: a plan is carried out as it was made, whatever the
 * configuration says by then.
 */
import type { FormatOptions } from '../format/formats.ts';
import type { RecordFormat } from '../format/ndjson.ts';
import { compileLayout, type LayoutOptions } from '../layout/layout.ts';
import { partitioner, type Partitioner } from '../layout/partitioner.ts';
import { deaggregation, type Deaggregation } from './deaggregate.ts';
import { failureOf, type Failure } from './failures.ts';
import { recordFilter, recordSelect } from './filter.ts';
import type { OutputPart } from './output-codec.ts';
import type { FailedRecord, ShapedRecord } from './shaped-record.ts';

/** Everything that shapes what is sent; JSON. */
export interface ShapeOptions {
  readonly deaggregate: Deaggregation;
  /** JMESPath; null: all are sent. */
  readonly filter: string | null;
  /** JMESPath; null: what is there is sent. */
  readonly select: string | null;
  readonly record: RecordFormat;
  readonly format: FormatOptions;
  readonly layout: LayoutOptions;
}

/** A record before anything is done to it but that it was taken out of another. */
export interface Original {
  readonly record: ShapedRecord;
  readonly isSeparate: boolean;
}

/** Ready for one attempt at one plan. */
export interface Shaping {
  /** Any record may take tens of milliseconds. */
  readonly asksQueries: boolean;
  /** All records, those that can't be taken out of each other included. */
  originals(records: readonly ShapedRecord[]): readonly Original[];
  /** What comes before the function. */
  before(records: readonly ShapedRecord[]): OutputPart;
  /** What comes after it. */
  after(records: readonly ShapedRecord[]): OutputPart;
}

export const plainShape: ShapeOptions = {
  ...{ deaggregate: { type: 'none' }, filter: null, select: null },
  ...{ record: 'data', format: { type: 'ndjson' }, layout: {} },
};

/** Nothing is done to records that needs a plan; where they go in objects is not asked. */
export function goesAsItIs({ deaggregate, filter, select, record }: ShapeOptions): boolean {
  return deaggregate.type === 'none' && filter === null && select === null && record === 'data';
}

/** What becomes of one record. */
type Step = (record: ShapedRecord) => readonly ShapedRecord[] | FailedRecord;

/** @throws QueryError, PrefixError for what the configuration refuses earlier */
export function openShaping(options: ShapeOptions): Shaping {
  const { filter, select, layout, deaggregate } = options;
  const separate = deaggregate.type === 'none' ? null : separation(deaggregate);
  const places = partitioner(compileLayout(layout));
  return {
    asksQueries: filter !== null || select !== null || (layout.partitionBy ?? null) !== null,
    originals: (records) => originals(records, separate),
    before: through([separate, filter === null ? null : filtering(filter)]),
    after: through([
      select === null ? null : selecting(select),
      places && ((record) => placed(places, record)),
    ]),
  };
}

function separation(how: Deaggregation): Step {
  const takeApart = deaggregation(how);
  return (record) => {
    const { origin } = record;
    if (origin?.isSeparate === true) return [record];
    const parts = takeApart(record);
    if ('stage' in parts || origin === undefined) return parts;
    return parts.map((part) => ({
      ...part,
      origin: { ...origin, subSequence: part.subSequence },
    }));
  };
}

function filtering(query: string): Step {
  const filter = recordFilter(query);
  return (record) => {
    const kept = filter(record);
    if (typeof kept === 'boolean') return kept ? [record] : [];
    return kept;
  };
}

function selecting(query: string): Step {
  const select = recordSelect(query);
  return (record) => {
    const selected = select(record);
    return 'stage' in selected ? selected : [selected];
  };
}

function placed(places: Partitioner, record: ShapedRecord): ReturnType<Step> {
  const place = places.place(record);
  return 'stage' in place ? place : [place.record];
}

function originals(records: readonly ShapedRecord[], separate: Step | null): readonly Original[] {
  if (separate === null) return records.map((record) => ({ record, isSeparate: false }));
  return records.flatMap((record): readonly Original[] => {
    const parts = separate(record);
    if ('stage' in parts) return [{ record, isSeparate: false }];
    return parts.map((part) => ({ record: part, isSeparate: true }));
  });
}

function through(
  steps: readonly (Step | null)[],
): (records: readonly ShapedRecord[]) => OutputPart {
  const taken = steps.filter((step) => step !== null);
  return (records) => {
    const failures: Failure[] = [];
    let left = records;
    for (const step of taken) {
      left = left.flatMap((record) => {
        const shaped = step(record);
        if (!('stage' in shaped)) return shaped;
        failures.push(failureOf(shaped));
        return [];
      });
    }
    return { records: left, failures };
  };
}
