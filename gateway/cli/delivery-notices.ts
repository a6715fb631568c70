/** What `headgate status` and `headgate doctor` say of records of a delivery that did not go on. */
import type { Delivery } from '../api/rest/delivery-schemas.ts';
import { becauseOf, counted } from './table.ts';

/** What is to be told of one delivery or function. */
export interface Notice {
  /** Without a full stop, as is the advice. */
  readonly what: string;
  /** What somebody can do about it, or what is done. */
  readonly advice: string;
}

export function deliveryNotices(delivery: Delivery): readonly Notice[] {
  const { name, failed, lastFailed, isReplaying, underErrorPrefix, sinceTime } = delivery;
  const notices: Notice[] = [];
  if (failed > 0) {
    notices.push({
      what: `${counted(failed, 'record')} failed${becauseOf(lastFailed)}`,
      advice: isReplaying
        ? 'they are sent again now'
        : `"headgate delivery replay ${name}" sends them again`,
    });
  }
  if (underErrorPrefix !== null && underErrorPrefix.records > 0) {
    const { prefix, records, last } = underErrorPrefix;
    notices.push({
      what: `${counted(records, 'record')} went under ${prefix} since ${sinceTime}${becauseOf(last)}`,
      advice: 'no replay sends what is there',
    });
  }
  return notices;
}

/** A line for people. */
export function noticeLine(name: string, { what, advice }: Notice): string {
  return `${name}: ${what}; ${advice}.`;
}
