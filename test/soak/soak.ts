/**
 * What a soak is: a test that is worth repeating with many seeds, or for long. A sample of each runs
 * among the ordinary tests; `npm run soak` (`run.ts`) does the rest.
 */
import type { Scope } from '../support/scope.ts';

export interface SoakContext extends Scope {
  /** All chance comes from it: the same seed does the same again. */
  readonly seed: number;
  readonly note: (text: string) => void;
}

/** By name, with the unit at its end. */
export type SoakFigures = Readonly<Record<string, number>>;

export interface Soak {
  /** As on the command line. */
  readonly name: string;
  readonly title: string;
  /** How many seeds it is repeated with, from 1 on, unless told otherwise. */
  readonly seeds: number;
  /** One repetition; rejects when what was promised did not hold. */
  readonly run: (context: SoakContext) => Promise<SoakFigures>;
}
