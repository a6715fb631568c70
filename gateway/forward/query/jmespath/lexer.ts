/** The tokens of JMESPath. */
import type { Json } from '../query.ts';
import { matchAt, unknownAt } from '../tokens.ts';
import { QueryError } from '../values.ts';

export type Token =
  | { readonly kind: 'name' | 'quoted' | 'sign'; readonly text: string; readonly at: number }
  | { readonly kind: 'number'; readonly value: number; readonly at: number }
  | { readonly kind: 'literal'; readonly value: Json; readonly at: number }
  | { readonly kind: 'end'; readonly at: number };

const signs = [
  ...['[?', '[]', '||', '&&', '==', '!=', '<=', '>=', '.', '[', ']', '*', '@', '&'],
  ...['|', '!', '<', '>', '(', ')', '{', '}', ',', ':'],
];

const space = /[ \t\r\n]*/y;
const name = /[A-Za-z_]\w*/y;
const number = /-?\d{1,15}(?!\d)/y;
const quoted = /"(?:[^"\\]|\\.)*"/sy;
const raw = /'((?:[^'\\]|\\.)*)'/sy;
const literal = /`((?:[^`\\]|\\.)*)`/sy;

/** @throws QueryError */
export function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = skipSpace(text, 0); at < text.length;) {
    const [token, length] = tokenAt(text, at);
    tokens.push(token);
    at = skipSpace(text, at + length);
  }
  return [...tokens, { kind: 'end', at: text.length }];
}

function skipSpace(text: string, at: number): number {
  return at + (matchAt(space, text, at)?.[0].length ?? 0);
}

function tokenAt(text: string, at: number): readonly [token: Token, length: number] {
  const word = matchAt(name, text, at);
  if (word !== null) return [{ kind: 'name', text: word[0], at }, word[0].length];
  const digits = matchAt(number, text, at);
  if (digits !== null) return [{ kind: 'number', value: Number(digits[0]), at }, digits[0].length];
  const string = matchAt(quoted, text, at);
  if (string !== null) {
    const value = parse(string[0], at);
    return [{ kind: 'quoted', text: typeof value === 'string' ? value : '', at }, string[0].length];
  }
  const plain = matchAt(raw, text, at);
  if (plain !== null) {
    const value = (plain[1] ?? '').replace(/\\(['\\])/g, '$1');
    return [{ kind: 'literal', value, at }, plain[0].length];
  }
  const json = matchAt(literal, text, at);
  if (json !== null) {
    const value = parse((json[1] ?? '').replaceAll('\\`', '`'), at, "; texts stand between '");
    return [{ kind: 'literal', value, at }, json[0].length];
  }
  const sign = signs.find((candidate) => text.startsWith(candidate, at));
  if (sign !== undefined) return [{ kind: 'sign', text: sign, at }, sign.length];
  throw strangeAt(text, at);
}

/** Of what no token begins with, where that has a common reason. */
function strangeAt(text: string, at: number): QueryError {
  const character = text.charAt(at);
  const place = `at character ${at + 1}`;
  if (character === '=') return new QueryError(`the = ${place} compares as ==`);
  if (character === '`') {
    return new QueryError(`the \` ${place} is not closed: numbers stand between two, as in \`3\``);
  }
  if (character === "'" || character === '"') {
    return new QueryError(`the ${character} ${place} is not closed`);
  }
  return unknownAt(text, at);
}

function parse(text: string, at: number, advice = ''): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    const says = `what begins at character ${at + 1} is not JSON${advice}`;
    throw new QueryError(says, { cause: error });
  }
}
