/** What the three kinds of expressions have in common: going from token to token, and paths. */
import { invalid } from '../errors.ts';
import type { Placeholders } from './placeholders.ts';
import type { Operand, Path } from './syntax.ts';
import { syntaxError, tokensOf, type Token } from './tokens.ts';

/** Parentheses in parentheses, and NOT after NOT: what is read recursively has an end. */
const depthMax = 100;

export class Reader {
  readonly #expression: string;
  readonly #tokens: readonly Token[];
  readonly #placeholders: Placeholders;
  #next = 0;
  #depth = 0;

  constructor(expression: string, placeholders: Placeholders) {
    if (expression === '') throw invalid('The expression can not be empty;');
    this.#expression = expression;
    this.#tokens = tokensOf(expression);
    this.#placeholders = placeholders;
  }

  get token(): Token {
    const token = this.#tokens[Math.min(this.#next, this.#tokens.length - 1)];
    if (token === undefined) throw new Error('an expression without an end');
    return token;
  }

  advance(): Token {
    const { token } = this;
    this.#next += 1;
    return token;
  }

  /** Whether the next token is that sign, or that word in any case. */
  isAt(text: string): boolean {
    const { kind, text: found } = this.token;
    return (kind === 'sign' && found === text) || (kind === 'word' && found.toUpperCase() === text);
  }

  /** Goes past the token if it is that one. */
  take(text: string): boolean {
    const isThere = this.isAt(text);
    if (isThere) this.advance();
    return isThere;
  }

  expect(text: string): void {
    if (!this.take(text)) throw this.unexpected();
  }

  end(): void {
    if (this.token.kind !== 'end') throw this.unexpected();
  }

  unexpected(token: Token = this.token): Error {
    return syntaxError(this.#expression, token.at, token.text);
  }

  /** One level down, for the time of `work`. */
  nested<T>(work: () => T): T {
    this.#depth += 1;
    if (this.#depth > depthMax) {
      throw invalid('The expression contains too many nested parentheses or operators;');
    }
    const result = work();
    this.#depth -= 1;
    return result;
  }

  /** Whether a function is called here. */
  isAtCall(): boolean {
    const after = this.#tokens[this.#next + 1];
    return this.token.kind === 'word' && after?.kind === 'sign' && after.text === '(';
  }

  isAtPath(): boolean {
    const { kind } = this.token;
    return (kind === 'word' || kind === 'name') && !this.isAtCall();
  }

  path(): Path {
    const path: (string | number)[] = [this.#name()];
    for (;;) {
      if (this.take('.')) path.push(this.#name());
      else if (this.take('[')) {
        if (this.token.kind !== 'number') throw this.unexpected();
        path.push(Number(this.advance().text));
        this.expect(']');
      } else return path;
    }
  }

  #name(): string {
    const token = this.advance();
    if (token.kind === 'word') return token.text;
    if (token.kind !== 'name') throw this.unexpected(token);
    return this.#placeholders.name(token.text);
  }

  /** A path or a value; null: neither is here. */
  plainOperand(): Exclude<Operand, { readonly kind: 'size' }> | null {
    if (this.token.kind === 'value') {
      return { kind: 'value', value: this.#placeholders.value(this.advance().text) };
    }
    return this.isAtPath() ? { kind: 'path', path: this.path() } : null;
  }

  /** What is between the parentheses of a function, past its name. */
  list<T>(element: () => T): readonly T[] {
    this.expect('(');
    const elements = [element()];
    while (this.take(',')) elements.push(element());
    this.expect(')');
    return elements;
  }
}

export function wrongCount(name: string, count: number): Error {
  return invalid(
    `Incorrect number of operands for operator or function; operator or function: ${name}, number of operands: ${count}`,
  );
}

export function wrongType(name: string, type: string): Error {
  return invalid(
    `Incorrect operand type for operator or function; operator or function: ${name}, operand type: ${type}`,
  );
}

/** What paths lead on from a place; `end` is the one that ends there. */
interface Place {
  readonly next: Map<string | number, Place>;
  /** One of those that come by. */
  readonly first: Path;
  end: Path | null;
}

/** @throws DynamoDbError when one path leads into another */
export function checkApart(paths: readonly Path[]): void {
  const root: Place = { next: new Map(), first: [], end: null };
  for (const path of paths) {
    let place = root;
    for (const part of path) {
      const next = place.next.get(part) ?? { next: new Map(), first: path, end: null };
      place.next.set(part, next);
      place = next;
      if (place.end !== null) throw overlap(place.end, path);
    }
    if (place.first !== path) throw overlap(place.first, path);
    place.end = path;
  }
}

function overlap(one: Path, other: Path): Error {
  return invalid(
    `Two document paths overlap with each other; must remove or rewrite one of these paths; path one: ${shown(one)}, path two: ${shown(other)}`,
  );
}

function shown(path: Path): string {
  return `[${path.map((part) => (typeof part === 'number' ? `[${part}]` : part)).join(', ')}]`;
}
