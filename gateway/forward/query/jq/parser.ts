/** From jq's tokens to a filter, by precedence. */
import type { Json } from '../query.ts';
import type { Steps } from '../steps.ts';
import { TokenReader, unexpected as unexpectedToken } from '../tokens.ts';
import { QueryError } from '../values.ts';
import {
  combined,
  comma,
  conditional,
  descend,
  identity,
  iterate,
  logical,
  numberOf,
  objects,
  pipe,
  reduction,
  single,
  trying,
  alternative,
  binding,
  collected,
  type Filter,
} from './filter.ts';
import { functionCall } from './functions.ts';
import { formatOf, toText } from './formats.ts';
import type { TextPart, Token } from './lexer.ts';
import { add, arithmetic, comparison, index, slice } from './operators.ts';

const assignments = new Set(['=', '|=', '+=', '-=', '*=', '/=', '%=', '//=']);
/** What else begins with a word, and is not here. */
const keywords = new Set(['def', 'foreach', 'import', 'include', 'label']);

/** A field of an object that is written out. */
interface Entry {
  /** null: an expression gives it. */
  readonly name: string | null;
  readonly key: Filter;
  readonly value: Filter;
  /** Where the value is written, in characters. */
  readonly from: number;
  readonly to: number;
}

export class Parser {
  readonly #tokens: TokenReader<Token>;
  /** Names of variables that are bound here. */
  readonly #variables: string[];

  constructor(tokens: readonly Token[], depth = 0, variables: readonly string[] = []) {
    this.#tokens = new TokenReader(tokens, depth, unexpected);
    this.#variables = [...variables];
  }

  /** @throws QueryError */
  whole(): Filter {
    const filter = this.#pipe();
    this.#tokens.expectEnd();
    return filter;
  }

  /** Where the values of an object are written, when the whole is one with plain names. */
  entries():
    readonly { readonly name: string; readonly from: number; readonly to: number }[] | null {
    if (!this.#tokens.takes('{')) return null;
    const entries = this.#objectEntries();
    if (this.#tokens.peek().kind !== 'end') return null;
    return entries.every((entry): entry is Entry & { name: string } => entry.name !== null)
      ? entries
      : null;
  }

  #pipe(): Filter {
    return this.#tokens.nested(() => {
      const left = this.#comma();
      return this.#tokens.takes('|') ? pipe(left, this.#pipe()) : left;
    });
  }

  #comma(): Filter {
    const parts = [this.#alternative()];
    while (this.#tokens.takes(',')) parts.push(this.#alternative());
    return parts.length === 1 ? (parts[0] ?? identity) : comma(parts);
  }

  #alternative(): Filter {
    const left = this.#or();
    if (!this.#tokens.takes('//')) return left;
    return alternative(
      left,
      this.#tokens.nested(() => this.#alternative()),
    );
  }

  #or(): Filter {
    let left = this.#and();
    while (this.#takesWord('or')) left = logical(left, this.#and(), true);
    return left;
  }

  #and(): Filter {
    let left = this.#comparison();
    while (this.#takesWord('and')) left = logical(left, this.#comparison(), false);
    return left;
  }

  #comparison(): Filter {
    const left = this.#sum();
    const sign = this.#takesOne('==', '!=', '<', '<=', '>', '>=');
    if (sign === null) return left;
    return combined([left, this.#sum()], ([a = null, b = null], { steps }) =>
      comparison(sign, a, b, steps),
    );
  }

  #sum(): Filter {
    let left = this.#product();
    for (let sign = this.#takesOne('+', '-'); sign !== null; sign = this.#takesOne('+', '-')) {
      left = calculated(sign, left, this.#product());
    }
    return left;
  }

  #product(): Filter {
    let left = this.#unary();
    for (let sign = this.#takesOne('*', '/', '%'); sign !== null;) {
      left = calculated(sign, left, this.#unary());
      sign = this.#takesOne('*', '/', '%');
    }
    return left;
  }

  #unary(): Filter {
    if (!this.#tokens.takes('-')) return this.#bound();
    return negated(this.#tokens.nested(() => this.#unary()));
  }

  /** A term, or one that is given a name: `term as $name | …`. */
  #bound(): Filter {
    const term = this.#postfix();
    if (!this.#takesWord('as')) return term;
    const name = this.#variable();
    this.#tokens.expect('|');
    const body = this.#withVariable(name, () => this.#pipe());
    return binding(term, name, body);
  }

  #postfix(): Filter {
    let term = this.#term();
    for (;;) {
      const token = this.#tokens.peek();
      if (token.kind === 'field') {
        this.#tokens.next();
        term = fieldOf(term, token.text);
      } else if (this.#tokens.takes('[')) term = this.#bracket(term);
      else if (this.#tokens.takes('?')) term = trying(term, null);
      else if (this.#tokens.isSign('.') && this.#tokens.peek(1).kind === 'text') {
        this.#tokens.next();
        term = this.#quotedField(term);
      } else return term;
    }
  }

  #term(): Filter {
    const token = this.#tokens.next();
    switch (token.kind) {
      case 'field':
        return fieldOf(identity, token.text);
      case 'number':
        return () => [token.value];
      case 'text':
        return this.#text(token.parts, toText);
      case 'format': {
        const format = formatOf(token.text);
        const next = this.#tokens.peek();
        if (next.kind !== 'text') return single((value, { steps }) => format(value, steps));
        this.#tokens.next();
        return this.#text(next.parts, format);
      }
      case 'variable':
        if (!this.#variables.includes(token.text))
          throw new QueryError(`$${token.text} is not known`);
        return (_value, { variables }) => [variables.get(token.text) ?? null];
      case 'word':
        return this.#word(token.text);
      case 'sign':
        return this.#signed(token);
      case 'end':
        throw unexpected(token);
    }
  }

  #signed(token: Token & { kind: 'sign' }): Filter {
    switch (token.text) {
      case '.':
        if (this.#tokens.peek().kind === 'text') return this.#quotedField(identity);
        return identity;
      case '..':
        return descend;
      case '(': {
        const inner = this.#pipe();
        this.#tokens.expect(')');
        return inner;
      }
      case '[':
        return this.#list();
      case '{':
        return objects(this.#objectEntries());
      default:
        throw unexpected(token);
    }
  }

  #word(word: string): Filter {
    switch (word) {
      case 'if':
        return this.#if();
      case 'try': {
        const body = this.#tokens.nested(() => this.#postfix());
        return trying(
          body,
          this.#takesWord('catch') ? this.#tokens.nested(() => this.#postfix()) : null,
        );
      }
      case 'reduce':
        return this.#reduce();
      default:
        if (keywords.has(word))
          throw new QueryError(`${word} is not of the part of jq that is here`);
        return functionCall(word, this.#arguments());
    }
  }

  #arguments(): readonly Filter[] {
    if (!this.#tokens.takes('(')) return [];
    const args = [this.#pipe()];
    while (this.#tokens.takes(';')) args.push(this.#pipe());
    this.#tokens.expect(')');
    return args;
  }

  #if(): Filter {
    const condition = this.#pipe();
    if (!this.#takesWord('then')) throw unexpected(this.#tokens.peek());
    const consequence = this.#pipe();
    return conditional(condition, consequence, this.#else());
  }

  #else(): Filter {
    if (this.#takesWord('elif')) return this.#tokens.nested(() => this.#if());
    if (!this.#takesWord('else')) throw unexpected(this.#tokens.peek());
    const otherwise = this.#pipe();
    if (!this.#takesWord('end')) throw unexpected(this.#tokens.peek());
    return otherwise;
  }

  /** `reduce term as $name (start; step)` */
  #reduce(): Filter {
    const items = this.#tokens.nested(() => this.#postfix());
    if (!this.#takesWord('as')) throw unexpected(this.#tokens.peek());
    const name = this.#variable();
    this.#tokens.expect('(');
    const start = this.#pipe();
    this.#tokens.expect(';');
    const step = this.#withVariable(name, () => this.#pipe());
    this.#tokens.expect(')');
    return reduction(items, name, start, step);
  }

  /** `[…]` */
  #list(): Filter {
    if (this.#tokens.takes(']')) return () => [[]];
    const items = this.#pipe();
    this.#tokens.expect(']');
    return collected(items);
  }

  /** What stands in brackets behind a term. */
  #bracket(term: Filter): Filter {
    if (this.#tokens.takes(']')) return pipe(term, iterate);
    const nothing: Filter = () => [null];
    const from = this.#tokens.isSign(':') ? nothing : this.#pipe();
    if (!this.#tokens.takes(':')) {
      this.#tokens.expect(']');
      return combined([term, from], ([value = null, key = null]) => index(value, key));
    }
    const to = this.#tokens.isSign(']') ? nothing : this.#pipe();
    this.#tokens.expect(']');
    return combined([term, to, from], ([value = null, end = null, start = null], { steps }) =>
      slice(value, start, end, steps),
    );
  }

  #quotedField(term: Filter): Filter {
    const token = this.#tokens.next();
    if (token.kind !== 'text') throw unexpected(token);
    const key = this.#text(token.parts, toText);
    return combined([term, key], ([value = null, name = null]) => index(value, name));
  }

  #objectEntries(): readonly Entry[] {
    const entries: Entry[] = [];
    if (this.#tokens.takes('}')) return entries;
    do entries.push(this.#entry());
    while (this.#tokens.takes(','));
    this.#tokens.expect('}');
    return entries;
  }

  #entry(): Entry {
    const token = this.#tokens.peek();
    const from = token.at;
    const to = (): number => this.#tokens.peek().at;
    if (token.kind === 'variable') {
      return { name: null, key: () => [token.text], value: this.#term(), from, to: to() };
    }
    this.#tokens.next();
    const { name, key } = this.#entryKey(token);
    if (this.#tokens.takes(':')) {
      const start = to();
      const value = this.#entryValue();
      return { name, key, value, from: start, to: to() };
    }
    if (token.kind !== 'word' && token.kind !== 'text') throw unexpected(this.#tokens.peek());
    const value =
      name === null
        ? combined([identity, key], ([object = null, field = null]) => index(object, field))
        : fieldOf(identity, name);
    // Written as a name alone, it is no query of its own.
    return { name: null, key, value, from, to: to() };
  }

  #entryKey(token: Token): { readonly name: string | null; readonly key: Filter } {
    if (token.kind === 'word') return { name: token.text, key: () => [token.text] };
    if (token.kind === 'text') {
      const [only = '', ...more] = token.parts;
      const name = more.length === 0 && typeof only === 'string' ? only : null;
      return { name, key: this.#text(token.parts, toText) };
    }
    if (token.kind !== 'sign' || token.text !== '(') throw unexpected(token);
    const key = this.#pipe();
    this.#tokens.expect(')');
    return { name: null, key };
  }

  /** Terms with pipes between them; anything else needs parentheses. */
  #entryValue(): Filter {
    return this.#tokens.nested(() => {
      const left = this.#tokens.takes('-') ? negated(this.#postfix()) : this.#postfix();
      return this.#tokens.takes('|') ? pipe(left, this.#entryValue()) : left;
    });
  }

  #text(parts: readonly TextPart[], format: (value: Json, steps: Steps) => string): Filter {
    const filters = parts.map((part): Filter => {
      if (typeof part === 'string') return () => [part];
      const inner = new Parser(part, this.#tokens.depth + 1, this.#variables).whole();
      return pipe(
        inner,
        single((value, { steps }) => format(value, steps)),
      );
    });
    if (filters.length === 1) return filters[0] ?? identity;
    return combined(filters, (texts, { steps }) =>
      texts.reduce((sum, text) => add(sum, text, steps)),
    );
  }

  #variable(): string {
    const token = this.#tokens.next();
    if (token.kind !== 'variable') throw unexpected(token);
    return token.text;
  }

  #withVariable(name: string, parse: () => Filter): Filter {
    this.#variables.push(name);
    const filter = parse();
    this.#variables.pop();
    return filter;
  }

  #takesOne(...texts: readonly string[]): string | null {
    return texts.find((text) => this.#tokens.takes(text)) ?? null;
  }

  #takesWord(text: string): boolean {
    const token = this.#tokens.peek();
    if (token.kind !== 'word' || token.text !== text) return false;
    this.#tokens.next();
    return true;
  }
}

function unexpected(token: Token): QueryError {
  if (token.kind === 'sign' && assignments.has(token.text)) {
    return new QueryError('assignments are not of the part of jq that is here');
  }
  return unexpectedToken(token);
}

function fieldOf(term: Filter, name: string): Filter {
  const field = single((value) => index(value, name));
  return term === identity ? field : pipe(term, field);
}

function calculated(sign: string, left: Filter, right: Filter): Filter {
  return combined([left, right], ([a = null, b = null], { steps }) =>
    arithmetic(sign, a, b, steps),
  );
}

function negated(filter: Filter): Filter {
  return pipe(
    filter,
    single((value) => -numberOf(value, 'negation')),
  );
}
