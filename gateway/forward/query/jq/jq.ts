/**
 * A part of jq 1.6 (https://jqlang.org/manual/v1.6/), the language of Firehose's partitioning keys.
 *
 * There are: paths (`.a.b`, `."x y"`, `.a[0]`, `.[1:3]`, `.[]`, `..`, `?`), `|` and `,`, literals,
 * texts with `\(…)` and formats, lists and objects, arithmetic, comparisons, `and`, `or`, `not`,
 * `//`, `if`, `try`, `reduce`, `as $name`, and the functions of functions.ts and dates.ts. There are
 * not: definitions and other recursion, assignments, regular expressions, destructuring, and what
 * would give another answer a second time (`now`, `input`, `env`, local time).
 */
import type { Query } from '../query.ts';
import { Steps } from '../steps.ts';
import { checkLength } from '../tokens.ts';
import { withinStack } from '../values.ts';
import { tokensOf } from './lexer.ts';
import { Parser } from './parser.ts';

/** @throws QueryError */
export function compileJq(text: string): Query {
  const filter = parserOf(text).whole();
  return {
    run: (value) =>
      withinStack(() => [...filter(value, { steps: new Steps(), variables: new Map() })]),
  };
}

/**
 * The queries that Firehose has in one (its `MetadataExtractionQuery`), such as
 * `{customer:.customer_id,year:.at|strftime("%Y")}`, by the names of their values.
 * @returns null: it is no object of that kind
 * @throws QueryError
 */
export function extractionQueries(text: string): Readonly<Record<string, string>> | null {
  // Whatever it is, it has to be a query.
  parserOf(text).whole();
  const entries = parserOf(text).entries();
  if (entries === null) return null;
  return Object.fromEntries(entries.map(({ name, from, to }) => [name, text.slice(from, to)]));
}

function parserOf(text: string): Parser {
  checkLength(text);
  return new Parser(tokensOf(text));
}
