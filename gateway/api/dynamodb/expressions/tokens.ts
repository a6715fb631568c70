/** Takes expressions apart into words and signs. */
import { invalid } from '../errors.ts';

export interface Token {
  readonly kind: 'word' | 'name' | 'value' | 'number' | 'sign' | 'end';
  readonly text: string;
  readonly at: number;
}

export const expressionBytesMax = 4096;

const patterns: readonly (readonly [Token['kind'], RegExp])[] = [
  ['word', /[a-zA-Z_][a-zA-Z0-9_]*/y],
  ['name', /#[a-zA-Z0-9_]+/y],
  ['value', /:[a-zA-Z0-9_]+/y],
  ['number', /[0-9]+/y],
  ['sign', /<>|<=|>=|[=<>()[\].,+-]/y],
];
const space = /[ \t\r\n]*/y;

/** Ends with a token of kind `end`. @throws DynamoDbError, without the name of the parameter */
export function tokensOf(expression: string): readonly Token[] {
  const bytes = Buffer.byteLength(expression);
  if (bytes > expressionBytesMax) {
    throw invalid(
      `Expression size has exceeded the maximum allowed size; expression size: ${bytes}`,
    );
  }
  const tokens: Token[] = [];
  for (let at = 0; ;) {
    space.lastIndex = at;
    at += space.exec(expression)?.[0].length ?? 0;
    if (at >= expression.length) {
      tokens.push({ kind: 'end', text: '<EOF>', at });
      return tokens;
    }
    const token = tokenAt(expression, at);
    if (token === null) throw syntaxError(expression, at, expression.charAt(at));
    tokens.push(token);
    at += token.text.length;
  }
}

function tokenAt(expression: string, at: number): Token | null {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(expression)?.[0];
    if (text !== undefined) return { kind, text, at };
  }
  return null;
}

/** In the service's words: the token, and what is around it. */
export function syntaxError(expression: string, at: number, token: string): Error {
  const near = expression.slice(Math.max(0, at - 8), at + token.length + 8).trim();
  return invalid(`Syntax error; token: "${token}", near: "${near}"`);
}
