/** What the lexers and parsers of both query languages do alike. */
import { QueryError, queryDepthMax, queryLengthMax } from './values.ts';

/** What all tokens have. */
interface AnyToken {
  /** `sign`, `end`, and those that a language has besides. */
  readonly kind: string;
  readonly text?: string;
  /** Where it begins, in characters. */
  readonly at: number;
}

/** @throws QueryError when a query is longer than any may be */
export function checkLength(text: string): void {
  if (text.length > queryLengthMax) {
    throw new QueryError(`it is longer than ${queryLengthMax} characters`);
  }
}

/** @param pattern a sticky one */
export function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** Of what no token begins with. */
export function unknownAt(text: string, at: number): QueryError {
  return new QueryError(`nothing is known to begin with ${text.charAt(at)} at character ${at + 1}`);
}

/** Of a token that has no business where it is. */
export function unexpected(token: AnyToken): QueryError {
  if (token.kind === 'end') return new QueryError('it ends too early');
  return new QueryError(`character ${token.at + 1} was not expected to be there`);
}

/** Goes through the tokens of a query, the last of which is its end. */
export class TokenReader<Token extends AnyToken> {
  readonly #tokens: readonly Token[];
  readonly #unexpected: (token: Token) => QueryError;
  #at = 0;
  #depth: number;

  /**
   * @param depth of expressions around this one
   * @param explain what is said of a token that was not expected
   */
  constructor(
    tokens: readonly Token[],
    depth = 0,
    explain: (token: Token) => QueryError = unexpected,
  ) {
    this.#tokens = tokens;
    this.#depth = depth;
    this.#unexpected = explain;
  }

  get depth(): number {
    return this.#depth;
  }

  /** @throws QueryError behind the end */
  peek(ahead = 0): Token {
    const token = this.#tokens[this.#at + ahead];
    if (token === undefined) throw new QueryError('it ends too early');
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.#at += 1;
    return token;
  }

  isSign(text: string, ahead = 0): boolean {
    const token = this.#tokens[this.#at + ahead];
    return token?.kind === 'sign' && token.text === text;
  }

  /** Whether the sign is next; it is behind us then. */
  takes(text: string): boolean {
    if (!this.isSign(text)) return false;
    this.#at += 1;
    return true;
  }

  /** @throws QueryError when another token is next */
  expect(text: string): void {
    if (!this.takes(text)) throw this.#unexpected(this.peek());
  }

  /** @throws QueryError when there is more */
  expectEnd(): void {
    const token = this.peek();
    if (token.kind !== 'end') throw this.#unexpected(token);
  }

  /** @throws QueryError when expressions are too deep in one another */
  nested<Parsed>(parse: () => Parsed): Parsed {
    this.#depth += 1;
    if (this.#depth > queryDepthMax) {
      throw new QueryError(`it is nested more than ${queryDepthMax} deep`);
    }
    const parsed = parse();
    this.#depth -= 1;
    return parsed;
  }
}
