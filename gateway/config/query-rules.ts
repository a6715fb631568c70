/** Queries of keys that take JMESPath and nothing else. */
import { queryProblem } from '../forward/query/problem.ts';

/** null: it is one. */
export function jmespathProblem(
  query: string,
): { readonly message: string; readonly allowed: string } | null {
  const problem = queryProblem(query, 'jmespath');
  if (problem === null) return null;
  return {
    message: problem.says,
    allowed:
      "a query of JMESPath, with no dot before the first field: value > `3` && site == 'north'",
  };
}
