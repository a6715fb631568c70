/** The tokens of jq. */
import { matchAt, unknownAt } from '../tokens.ts';
import { QueryError } from '../values.ts';

export type Token =
  /** `.name`, a word, `$name`, `@name`, or a sign; `text` without the mark. */
  | {
      readonly kind: 'field' | 'word' | 'variable' | 'format';
      readonly text: string;
      readonly at: number;
    }
  | { readonly kind: 'number'; readonly value: number; readonly at: number }
  | { readonly kind: 'text'; readonly parts: readonly TextPart[]; readonly at: number }
  | { readonly kind: 'sign'; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly at: number };

/** A text, or the tokens of what is written into one as `\(…)`. */
export type TextPart = string | readonly Token[];

const space = /(?:\s|#[^\n]*)*/y;
const patterns = [
  ['field', /\.([A-Za-z_]\w*)/y],
  ['word', /([A-Za-z_]\w*)/y],
  ['variable', /\$([A-Za-z_]\w*)/y],
  ['format', /@([A-Za-z0-9]+)/y],
  ['number', /((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y],
  ['sign', /(\?\/\/|\/\/=|\|=|\+=|-=|\*=|\/=|%=|==|!=|<=|>=|\/\/|\.\.|[.[\]{}()|,:;=<>+*/%?-])/y],
] as const;
const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** @throws QueryError */
export function tokensOf(text: string): readonly Token[] {
  const lexer = new Lexer(text);
  const tokens = lexer.untilClosed(null);
  return [...tokens, { kind: 'end', at: text.length }];
}

class Lexer {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Tokens up to the parenthesis that closes a `\(`, or to the end. */
  untilClosed(openedAt: number | null): readonly Token[] {
    const tokens: Token[] = [];
    let depth = 0;
    for (;;) {
      this.#at += this.#match(space)?.[0].length ?? 0;
      if (this.#at >= this.#text.length) {
        if (openedAt === null) return tokens;
        throw new QueryError(`the \\( at character ${openedAt + 1} is not closed`);
      }
      const token = this.#token();
      if (token.kind === 'sign' && token.text === '(') depth += 1;
      if (token.kind === 'sign' && token.text === ')') {
        if (depth === 0 && openedAt !== null) return [...tokens, { kind: 'end', at: token.at }];
        depth -= 1;
      }
      tokens.push(token);
    }
  }

  #token(): Token {
    const at = this.#at;
    if (this.#text[at] === '"') return { kind: 'text', parts: this.#textParts(), at };
    for (const [kind, pattern] of patterns) {
      const found = this.#match(pattern);
      if (found === null) continue;
      this.#at += found[0].length;
      const text = found[1] ?? '';
      return kind === 'number' ? { kind, value: Number(text), at } : { kind, text, at };
    }
    throw unknownAt(this.#text, at);
  }

  #textParts(): readonly TextPart[] {
    const start = this.#at;
    const parts: TextPart[] = [];
    let plain = '';
    this.#at += 1;
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined) {
        throw new QueryError(`the text at character ${start + 1} is not closed`);
      }
      this.#at += 1;
      if (character === '"') return [...parts, plain];
      if (character !== '\\') plain += character;
      else if (this.#text[this.#at] === '(') {
        const opened = this.#at;
        this.#at += 1;
        parts.push(plain, this.untilClosed(opened));
        plain = '';
      } else plain += this.#escape();
    }
  }

  #escape(): string {
    const at = this.#at;
    const unicode = this.#match(/u([0-9a-fA-F]{4})/y);
    const letter = this.#text.charAt(at);
    const character =
      unicode === null ? escapes[letter] : String.fromCharCode(parseInt(unicode[1] ?? '', 16));
    if (character === undefined)
      throw new QueryError(`\\${letter} at character ${at} is not known`);
    this.#at += unicode === null ? 1 : 5;
    return character;
  }

  #match(pattern: RegExp): RegExpExecArray | null {
    return matchAt(pattern, this.#text, this.#at);
  }
}
