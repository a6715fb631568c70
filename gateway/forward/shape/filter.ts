/**
 * Records left out, or made into something else, by JMESPath and without a function.
 *
 * `filter` keeps a record when its query gives something true, as JMESPath has it: anything but
 * false, null, and what is empty. `select` sends what its query gives in place of the record; when
 * it gives nothing (null) there is nothing to send, and the record fails. So does one that is not
 * JSON, or that makes the query fail. What is selected is printed anew: whole numbers beyond 2^53
 * lose digits.
 */
import { isTrue } from '../query/jmespath/evaluate.ts';
import { compileJmespath } from '../query/jmespath/jmespath.ts';
import type { Json, Query } from '../query/query.ts';
import { Steps, stepsMax } from '../query/steps.ts';
import { print, QueryError, withinStack } from '../query/values.ts';
import { parseJson } from './record-json.ts';
import type { FailedRecord, ShapedRecord } from './shaped-record.ts';

/** @throws QueryError that says what is wrong with the query */
export function recordFilter(query: string): (record: ShapedRecord) => boolean | FailedRecord {
  const compiled = compileJmespath(query);
  return (record) =>
    attempt(record, 'Filter', () => isTrue(resultOf(compiled, record), new Steps()));
}

/** @throws QueryError that says what is wrong with the query */
export function recordSelect(query: string): (record: ShapedRecord) => ShapedRecord | FailedRecord {
  const compiled = compileJmespath(query);
  return (record) =>
    attempt(record, 'Select', () => {
      const selected = resultOf(compiled, record);
      if (selected === null) throw new QueryError('it gives nothing');
      const text = withinStack(() => print(selected, stepsToPrint(record)));
      return { ...record, data: Buffer.from(text) };
    });
}

/** All of the record, or as much as anything may cost. */
function stepsToPrint({ data }: ShapedRecord): Steps {
  return new Steps(stepsMax + Math.ceil(data.length / 2));
}

function resultOf(query: Query, record: ShapedRecord): Json {
  const value = parseJson(record.data);
  if (value === undefined) throw new QueryError('the record is not JSON');
  return query.run(value)[0] ?? null;
}

function attempt<Result>(
  record: ShapedRecord,
  what: 'Filter' | 'Select',
  work: () => Result,
): Result | FailedRecord {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof QueryError)) throw error;
    return {
      record,
      stage: 'processing-failed',
      errorCode: `${what}.QueryFailed`,
      errorMessage: `The query of ${what.toLowerCase()} has no answer: ${error.message}.`,
      attempts: 1,
    };
  }
}
