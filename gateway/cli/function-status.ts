/** What `headgate status` says of functions: a table, and what somebody can do about each. */
import type { Functions, StreamFunction } from '../api/rest/function-schemas.ts';
import { noticeLine, type Notice } from './delivery-notices.ts';
import { becauseOf, counted, formatAge, table } from './table.ts';

export function functionTable(functions: readonly StreamFunction[]): readonly string[] {
  return table(
    ['FUNCTION', 'STREAM', 'STATE', 'RECORDS', 'BACKLOG', 'AGE', 'RECORDS GIVEN UP', 'WHY'],
    functions.map(({ name, stream, state, held, records, backlog, givenUp, lastError }) => [
      ...[name, stream, state, String(records), String(backlog.records), formatAge(backlog.ms)],
      ...[String(givenUp.kept.records + givenUp.gone.records), held?.reason ?? lastError ?? ''],
    ]),
  );
}

export function functionAdvice(one: StreamFunction): readonly string[] {
  const { name, state, held, advice } = one;
  const lines: string[] = [];
  if (state === 'backing-off' && advice !== null) lines.push(`${name}: ${advice}`);
  if (held?.by === 'pause') {
    lines.push(`${name}: "headgate function resume ${name}" lets it go on.`);
  }
  return [...lines, ...functionNotices(one).map((notice) => noticeLine(name, notice))];
}

/** What it gave up. */
export function functionNotices(one: StreamFunction): readonly Notice[] {
  const { name, failed, givenUp, sinceTime } = one;
  const { gone } = givenUp;
  const notices: Notice[] = [];
  if (gone.batches > 0) {
    const because = becauseOf(givenUp.newest);
    notices.push({
      what: `${counted(gone.records, 'record')} (${batches(gone.batches)}) given up since ${sinceTime} and kept nowhere${because}`,
      advice: `functions.${name}.deadLetter keeps what is given up from now on`,
    });
  }
  if (failed !== null && failed.batches > 0) {
    notices.push({
      what: `${batches(failed.batches)} failed${becauseOf(failed.newest)}`,
      advice: failed.isReplaying
        ? 'they are handed over again now'
        : `"headgate function replay ${name}" hands them over again`,
    });
  }
  return notices;
}

export function removedFunctionLine(removed: Functions['removed'][number]): string {
  const { name, backlog, deadLetter, failed } = removed;
  const kept =
    failed === null || failed.batches === 0
      ? ''
      : ` What it gave up stays in ${deadLetter}: ${batches(failed.batches)}${becauseOf(failed.newest)}.`;
  const left =
    backlog.records === 0 ? '' : `; it has not had ${counted(backlog.records, 'record')}`;
  return `Removed: the function ${name} is no longer configured${left}.${kept} It goes on where it was if it is configured again; "headgate function forget ${name}" lets go of it.`;
}

function batches(count: number): string {
  return counted(count, 'batch', 'batches');
}
