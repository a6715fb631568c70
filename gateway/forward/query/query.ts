/**
 * Queries of JSON: compiled once, then run over one record after the other, each within a number of
 * steps. What they give depends on the query and the record alone.
 */
import { compileJmespath } from './jmespath/jmespath.ts';
import { compileJq } from './jq/jq.ts';

export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export type QueryLanguage = 'jmespath' | 'jq';

export interface Query {
  /**
   * Everything it gives: JMESPath always one value, jq any number.
   * @throws QueryError
   */
  run(value: Json): readonly Json[];
}

/** @throws QueryError that says what is wrong with it, and where */
export function compileQuery(text: string, language: QueryLanguage): Query {
  return language === 'jq' ? compileJq(text) : compileJmespath(text);
}
