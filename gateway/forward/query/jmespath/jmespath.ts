/**
 * JMESPath (https://jmespath.org/specification.html), compiled once to functions.
 *
 * The specification is followed to the letter where libraries are looser: comparisons of anything
 * but numbers give null, and literals in backquotes are JSON.
 */
import type { Query } from '../query.ts';
import { Steps } from '../steps.ts';
import { checkLength, TokenReader, unexpected } from '../tokens.ts';
import { isArray, itemsOf, objectOf, QueryError, withinStack } from '../values.ts';
import {
  comparison,
  counted,
  field,
  flatten,
  isTrue,
  itself,
  logical,
  pipe,
  projection,
  projected,
  slice,
  valueProjection,
  type Evaluate,
} from './evaluate.ts';
import { functionCall, type Argument } from './functions.ts';
import { tokensOf, type Token } from './lexer.ts';

/** How tightly what follows an expression holds on to it. */
const powers: Readonly<Record<string, number>> = {
  '|': 1,
  '||': 2,
  '&&': 3,
  '==': 5,
  '!=': 5,
  '<': 5,
  '<=': 5,
  '>': 5,
  '>=': 5,
  '[]': 9,
  '*': 20,
  '[?': 21,
  '.': 40,
  '!': 45,
  '{': 50,
  '[': 55,
  '(': 60,
};

/** Whatever holds less ends a projection. */
const projectionEnd = 10;

/** @throws QueryError */
export function compileJmespath(text: string): Query {
  checkLength(text);
  const evaluate = new Parser(tokensOf(text)).whole();
  return { run: (value) => withinStack(() => [evaluate(value, new Steps())]) };
}

/** Top-down operator precedence, as the reference implementations do it. */
class Parser {
  readonly #tokens: TokenReader<Token>;

  constructor(tokens: readonly Token[]) {
    this.#tokens = new TokenReader(tokens, 0, strange);
  }

  whole(): Evaluate {
    const evaluate = this.#expression(0);
    this.#tokens.expectEnd();
    return evaluate;
  }

  #expression(power: number): Evaluate {
    return this.#tokens.nested(() => {
      let left = this.#prefix();
      while (power < this.#power()) left = counted(this.#suffix(left));
      return counted(left);
    });
  }

  /** An expression's beginning. */
  #prefix(): Evaluate {
    const token = this.#tokens.next();
    switch (token.kind) {
      case 'literal':
        return () => token.value;
      case 'name':
        return this.#tokens.takes('(') ? this.#call(token.text, token.at) : field(token.text);
      case 'quoted':
        return field(token.text);
      case 'sign':
        return this.#prefixSign(token);
      case 'number': {
        const place = `character ${token.at + 1}`;
        throw new QueryError(`the number at ${place} stands between two backticks, as in \`3\``);
      }
      case 'end':
        throw unexpected(token);
    }
  }

  #prefixSign(token: Token & { kind: 'sign' | 'name' | 'quoted' }): Evaluate {
    switch (token.text) {
      case '@':
        return itself;
      case '!': {
        const right = this.#expression(powerOf('!'));
        return (value, steps) => !isTrue(right(value, steps), steps);
      }
      case '*':
        return valueProjection(itself, this.#projected('*'));
      case '[?':
        return this.#filter(itself);
      case '[]':
        return projection(flatten(itself), this.#projected('[]'));
      case '{':
        return this.#hash();
      case '[':
        return this.#bracket();
      case '(': {
        const inner = this.#expression(0);
        this.#tokens.expect(')');
        return inner;
      }
      default:
        throw unexpected(token);
    }
  }

  /** What goes on from an expression. */
  #suffix(left: Evaluate): Evaluate {
    const token = this.#tokens.next();
    const sign = token.kind === 'sign' ? token.text : '';
    switch (sign) {
      case '.':
        if (this.#tokens.takes('*')) return valueProjection(left, this.#projected('.'));
        return pipe(left, this.#afterDot('.'));
      case '|':
        return pipe(left, this.#expression(powerOf('|')));
      case '||':
        return logical(left, this.#expression(powerOf('||')), true);
      case '&&':
        return logical(left, this.#expression(powerOf('&&')), false);
      case '[?':
        return this.#filter(left);
      case '[]':
        return projection(flatten(left), this.#projected('[]'));
      case '[':
        return this.#indexed(left);
      case '==':
      case '!=':
      case '<':
      case '<=':
      case '>':
      case '>=':
        return comparison(sign, left, this.#expression(powerOf(sign)));
      default:
        throw unexpected(token);
    }
  }

  /** What is done to each element of a projection, behind the sign that makes it. */
  #projected(sign: string): Evaluate {
    if (this.#power() < projectionEnd) return itself;
    if (this.#tokens.isSign('[') || this.#tokens.isSign('[?'))
      return this.#expression(powerOf(sign));
    if (!this.#tokens.takes('.')) throw unexpected(this.#tokens.peek());
    return this.#afterDot(sign);
  }

  #afterDot(sign: string): Evaluate {
    const token = this.#tokens.peek();
    if (token.kind === 'name' || token.kind === 'quoted' || this.#tokens.isSign('*')) {
      return this.#expression(powerOf(sign));
    }
    if (this.#tokens.takes('[')) return this.#list();
    if (this.#tokens.takes('{')) return this.#hash();
    throw unexpected(token);
  }

  #filter(left: Evaluate): Evaluate {
    const condition = this.#expression(0);
    this.#tokens.expect(']');
    const right = this.#projected('[?');
    return (value, steps) => {
      const items = left(value, steps);
      if (!isArray(items)) return null;
      const kept = itemsOf(items, steps).filter((item) => isTrue(condition(item, steps), steps));
      return projected(kept, right, steps);
    };
  }

  /** `[0]`, `[1:2]`, `[*]` or a list of expressions, on its own. */
  #bracket(): Evaluate {
    const isAll = this.#tokens.isSign('*') && this.#tokens.isSign(']', 1);
    const isIndex = this.#tokens.peek().kind === 'number' || this.#tokens.isSign(':');
    return isIndex || isAll ? this.#indexed(itself) : this.#list();
  }

  /** `[0]`, `[1:2]` or `[*]` behind an expression. */
  #indexed(left: Evaluate): Evaluate {
    if (this.#tokens.takes('*')) {
      this.#tokens.expect(']');
      return projection(left, this.#projected('*'));
    }
    const parts: (number | null)[] = [null];
    while (!this.#tokens.takes(']')) {
      const token = this.#tokens.next();
      if (token.kind === 'sign' && token.text === ':' && parts.length < 3) parts.push(null);
      else if (token.kind === 'number' && parts.at(-1) === null) {
        parts[parts.length - 1] = token.value;
      } else throw unexpected(token);
    }
    const [start = null, stop = null, step = null] = parts;
    if (parts.length > 1) {
      if (step === 0) throw new QueryError('a slice has a step of 0');
      const sliced = slice(left, { start, stop, step: step ?? 1 });
      return projection(sliced, this.#projected('*'));
    }
    if (start === null) throw new QueryError('an index is missing');
    return (value, steps) => {
      const items = left(value, steps);
      return isArray(items) ? (items.at(start) ?? null) : null;
    };
  }

  #list(): Evaluate {
    const items = this.#separated(']', () => this.#expression(0));
    if (items.length === 0) throw new QueryError('a list of expressions is empty');
    return (value, steps) => (value === null ? null : items.map((item) => item(value, steps)));
  }

  #hash(): Evaluate {
    const entries = this.#separated('}', () => {
      const key = this.#tokens.next();
      if (key.kind !== 'name' && key.kind !== 'quoted') throw unexpected(key);
      this.#tokens.expect(':');
      return [key.text, this.#expression(0)] as const;
    });
    if (entries.length === 0) throw new QueryError('an object of expressions is empty');
    return (value, steps) => {
      if (value === null) return null;
      const fields = entries.map(([name, evaluate]) => [name, evaluate(value, steps)] as const);
      return objectOf(fields, steps);
    };
  }

  #call(name: string, at: number): Evaluate {
    const args = this.#separated(')', (): Argument => {
      const isReference = this.#tokens.takes('&');
      return { isReference, evaluate: this.#expression(0) };
    });
    return functionCall(name, args, at);
  }

  #separated<Item>(end: ')' | ']' | '}', item: () => Item): readonly Item[] {
    const items: Item[] = [];
    if (this.#tokens.takes(end)) return items;
    do items.push(item());
    while (this.#tokens.takes(','));
    this.#tokens.expect(end);
    return items;
  }

  /** Of what comes next. */
  #power(): number {
    const token = this.#tokens.peek();
    return token.kind === 'sign' ? powerOf(token.text) : 0;
  }
}

/** Words of other languages. */
const writtenAs: Readonly<Record<string, string>> = { and: '&&', or: '||' };

function strange(token: Token): QueryError {
  const sign = token.kind === 'name' ? writtenAs[token.text] : undefined;
  if (token.kind !== 'name' || sign === undefined) return unexpected(token);
  return new QueryError(`${token.text} at character ${token.at + 1} is written ${sign} here`);
}

function powerOf(sign: string): number {
  return powers[sign] ?? 0;
}
