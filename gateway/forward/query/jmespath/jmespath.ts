/**
 * JMESPath (https://jmespath.org/specification.html), compiled once to functions.
 *
 * The specification is followed to the letter where libraries are looser: comparisons of anything
 * but numbers give null, and literals in backquotes are JSON.
 */
import type { Json, Query } from '../query.ts';
import {
  equals,
  fieldOf,
  isArray,
  isObject,
  objectOf,
  QueryError,
  queryDepthMax,
  queryLengthMax,
  Steps,
  withinStack,
} from '../values.ts';
import { functionCall, isTrue, type Argument } from './functions.ts';
import { tokensOf, type Token } from './lexer.ts';

/** What an expression makes of a value. */
export type Evaluate = (value: Json, steps: Steps) => Json;

/** How tightly what follows an expression holds on to it. */
const powers: Readonly<Partial<Record<Token['kind'], number>>> = {
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

const itself: Evaluate = (value) => value;

/** @throws QueryError */
export function compileJmespath(text: string): Query {
  if (text.length > queryLengthMax) {
    throw new QueryError(`it is longer than ${queryLengthMax} characters`);
  }
  const evaluate = new Parser(tokensOf(text)).whole();
  return { run: (value) => withinStack(() => [evaluate(value, new Steps())]) };
}

/** Top-down operator precedence, as the reference implementations do it. */
class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Evaluate {
    const evaluate = this.#expression(0);
    this.#expect('end');
    return counted(evaluate);
  }

  #expression(power: number): Evaluate {
    this.#depth += 1;
    if (this.#depth > queryDepthMax) {
      throw new QueryError(`it is nested more than ${queryDepthMax} deep`);
    }
    let left = this.#prefix();
    while (power < this.#power()) left = this.#suffix(left);
    this.#depth -= 1;
    return counted(left);
  }

  /** An expression's beginning. */
  #prefix(): Evaluate {
    const token = this.#next();
    switch (token.kind) {
      case 'literal':
        return () => token.value;
      case 'name':
        return this.#peek().kind === '(' ? this.#call(token.text, token.at) : field(token.text);
      case 'quoted':
        return field(token.text);
      case '@':
        return itself;
      case '!': {
        const right = this.#expression(powers['!'] ?? 0);
        return (value, steps) => !isTrue(right(value, steps));
      }
      case '*':
        return valueProjection(itself, this.#projected(powers['*'] ?? 0));
      case '[?':
        return this.#filter(itself);
      case '[]':
        return projection(flatten(itself), this.#projected(powers['[]'] ?? 0));
      case '{':
        return this.#hash();
      case '[':
        return this.#bracket();
      case '(': {
        const inner = this.#expression(0);
        this.#expect(')');
        return inner;
      }
      default:
        throw unexpected(token);
    }
  }

  /** What goes on from an expression. */
  #suffix(left: Evaluate): Evaluate {
    const token = this.#next();
    switch (token.kind) {
      case '.':
        if (this.#peek().kind !== '*') return pipe(left, this.#afterDot(powers['.'] ?? 0));
        this.#next();
        return valueProjection(left, this.#projected(powers['.'] ?? 0));
      case '|':
        return pipe(left, this.#expression(powers['|'] ?? 0));
      case '||': {
        const right = this.#expression(powers['||'] ?? 0);
        return (value, steps) => {
          const first = left(value, steps);
          return isTrue(first) ? first : right(value, steps);
        };
      }
      case '&&': {
        const right = this.#expression(powers['&&'] ?? 0);
        return (value, steps) => {
          const first = left(value, steps);
          return isTrue(first) ? right(value, steps) : first;
        };
      }
      case '[?':
        return this.#filter(left);
      case '[]':
        return projection(flatten(left), this.#projected(powers['[]'] ?? 0));
      case '[':
        return this.#indexed(left);
      case '==':
      case '!=':
      case '<':
      case '<=':
      case '>':
      case '>=':
        return comparison(token.kind, left, this.#expression(powers[token.kind] ?? 0));
      default:
        throw unexpected(token);
    }
  }

  /** What is done to each element of a projection. */
  #projected(power: number): Evaluate {
    const { kind } = this.#peek();
    if (this.#power() < projectionEnd) return itself;
    if (kind === '[' || kind === '[?') return this.#expression(power);
    if (kind !== '.') throw unexpected(this.#next());
    this.#next();
    return this.#afterDot(power);
  }

  #afterDot(power: number): Evaluate {
    const token = this.#peek();
    switch (token.kind) {
      case 'name':
      case 'quoted':
      case '*':
        return this.#expression(power);
      case '[':
        this.#next();
        return this.#list();
      case '{':
        this.#next();
        return this.#hash();
      default:
        throw unexpected(token);
    }
  }

  #filter(left: Evaluate): Evaluate {
    const condition = this.#expression(0);
    this.#expect(']');
    const right = this.#projected(powers['[?'] ?? 0);
    return (value, steps) => {
      const items = left(value, steps);
      if (!isArray(items)) return null;
      const kept = items.filter((item) => isTrue(condition(item, steps)));
      return present(kept.map((item) => right(item, steps)));
    };
  }

  /** `[0]`, `[1:2]`, `[*]` or a list of expressions, on its own. */
  #bracket(): Evaluate {
    const { kind } = this.#peek();
    const isAll = kind === '*' && this.#tokens[this.#at + 1]?.kind === ']';
    return kind === 'number' || kind === ':' || isAll ? this.#indexed(itself) : this.#list();
  }

  /** `[0]`, `[1:2]` or `[*]` behind an expression. */
  #indexed(left: Evaluate): Evaluate {
    if (this.#peek().kind === '*') {
      this.#next();
      this.#expect(']');
      return projection(left, this.#projected(powers['*'] ?? 0));
    }
    const parts: (number | null)[] = [null];
    for (let token = this.#next(); token.kind !== ']'; token = this.#next()) {
      if (token.kind === ':' && parts.length < 3) parts.push(null);
      else if (token.kind === 'number' && parts.at(-1) === null)
        parts[parts.length - 1] = token.value;
      else throw unexpected(token);
    }
    const [start = null, stop = null, step = null] = parts;
    if (parts.length > 1) {
      if (step === 0) throw new QueryError('a slice has a step of 0');
      const sliced = slice(left, { start, stop, step: step ?? 1 });
      return projection(sliced, this.#projected(powers['*'] ?? 0));
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
      const key = this.#next();
      if (key.kind !== 'name' && key.kind !== 'quoted') throw unexpected(key);
      this.#expect(':');
      return [key.text, this.#expression(0)] as const;
    });
    if (entries.length === 0) throw new QueryError('an object of expressions is empty');
    return (value, steps) => {
      if (value === null) return null;
      return objectOf(entries.map(([name, evaluate]) => [name, evaluate(value, steps)]));
    };
  }

  #call(name: string, at: number): Evaluate {
    this.#expect('(');
    const args = this.#separated(')', (): Argument => {
      if (this.#peek().kind !== '&') return { isReference: false, evaluate: this.#expression(0) };
      this.#next();
      return { isReference: true, evaluate: this.#expression(0) };
    });
    return functionCall(name, args, at);
  }

  #separated<Item>(end: ')' | ']' | '}', item: () => Item): readonly Item[] {
    const items: Item[] = [];
    while (items.length > 0 || this.#peek().kind !== end) {
      items.push(item());
      if (this.#peek().kind === end) break;
      this.#expect(',');
    }
    this.#expect(end);
    return items;
  }

  #power(): number {
    return powers[this.#peek().kind] ?? 0;
  }

  #peek(): Token {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new QueryError('it ends too early');
    return token;
  }

  #next(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  #expect(kind: Token['kind']): void {
    const token = this.#next();
    if (token.kind !== kind) throw unexpected(token);
  }
}

function unexpected(token: Token): QueryError {
  if (token.kind === 'end') return new QueryError('it ends too early');
  return new QueryError(`character ${token.at + 1} was not expected to be there`);
}

function counted(evaluate: Evaluate): Evaluate {
  return (value, steps) => {
    steps.take(1);
    return evaluate(value, steps);
  };
}

function pipe(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => right(left(value, steps), steps);
}

function field(name: string): Evaluate {
  return (value) => (isObject(value) ? fieldOf(value, name) : null);
}

function present(values: readonly Json[]): readonly Json[] {
  return values.filter((value) => value !== null);
}

function projection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    steps.take(items.length);
    return present(items.map((item) => right(item, steps)));
  };
}

function valueProjection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const object = left(value, steps);
    if (!isObject(object)) return null;
    const items = Object.values(object);
    steps.take(items.length);
    return present(items.map((item) => right(item, steps)));
  };
}

function flatten(left: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    const flat = items.flat(1) as readonly Json[];
    steps.take(flat.length);
    return flat;
  };
}

function slice(
  left: Evaluate,
  cut: { readonly start: number | null; readonly stop: number | null; readonly step: number },
): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    const { length } = items;
    const forward = cut.step > 0;
    const [low, high] = forward ? [0, length] : [-1, length - 1];
    const bound = (index: number | null, otherwise: number): number =>
      index === null
        ? otherwise
        : Math.min(Math.max(index < 0 ? index + length : index, low), high);
    const start = bound(cut.start, forward ? low : high);
    const stop = bound(cut.stop, forward ? high : low);
    const taken: Json[] = [];
    for (let at = start; forward ? at < stop : at > stop; at += cut.step) {
      steps.take(1);
      taken.push(items[at] ?? null);
    }
    return taken;
  };
}

function comparison(
  sign: '==' | '!=' | '<' | '<=' | '>' | '>=',
  left: Evaluate,
  right: Evaluate,
): Evaluate {
  return (value, steps) => {
    const a = left(value, steps);
    const b = right(value, steps);
    if (sign === '==') return equals(a, b, steps);
    if (sign === '!=') return !equals(a, b, steps);
    if (typeof a !== 'number' || typeof b !== 'number') return null;
    if (sign === '<') return a < b;
    if (sign === '<=') return a <= b;
    return sign === '>' ? a > b : a >= b;
  };
}
