/**
 * What a run of a query costs, counted: the same for the same query and record on any machine, so
 * that a record that is too much for a query is so at every attempt.
 *
 * One step is a fifth of a microsecond or less on a machine of today, so a run holds the process for
 * 40 ms at the most. Whatever goes through something pays for it before it does, or, where only
 * going through it tells how long it is, right after.
 */
import type { Json } from './query.ts';
import { isArray, isObject, QueryError } from './values.ts';

/** Of one run over one record. */
export const stepsMax = 200_000;
const itemsPerStep = 4;
const charactersPerStep = 16;
/** Names are looked up in a table, each. */
const stepsPerField = 3;

export class Steps {
  readonly #most: number;
  #left: number;

  constructor(most = stepsMax) {
    this.#most = most;
    this.#left = most;
  }

  /** @throws QueryError once it is too much */
  take(count: number): void {
    this.#left -= count;
    // A count that is no number is too much as well.
    if (!(this.#left >= 0)) throw new QueryError(`it takes more than ${this.#most} steps`);
  }

  /** For items that are copied or looked at, and no more. */
  takeItems(count: number): void {
    this.take(count / itemsPerStep);
  }

  /** For characters that are copied or looked at. */
  takeCharacters(count: number): void {
    this.take(count / charactersPerStep);
  }

  /** For fields of an object that are gone through or made. */
  takeFields(count: number): void {
    this.take(count * stepsPerField);
  }

  /** For going through a text, or the items of a list or an object. */
  takeWhole(value: Json): void {
    if (typeof value === 'string') this.takeCharacters(value.length);
    else if (isArray(value)) this.takeItems(value.length);
    else if (isObject(value)) this.takeFields(Object.keys(value).length);
  }
}
