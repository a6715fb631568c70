/**
 * How jq's expressions are run: each makes any number of values of one. Whoever takes a value from
 * an expression pays a step for it: it may have come through as many hands as expressions nest.
 */
import type { Json } from '../query.ts';
import type { Steps } from '../steps.ts';
import { isArray, isObject, itemsOf, objectOf, QueryError, typeOf } from '../values.ts';

/** What it takes to raise an error: it keeps where it was raised. */
const errorSteps = 100;
/** What it takes to have an expression begin: it remembers where it is. */
const beginSteps = 4;
/** Characters of an error's message; the error of jq itself is as long as it likes. */
const messageMax = 200;

export interface Scope {
  readonly steps: Steps;
  readonly variables: ReadonlyMap<string, Json>;
}

export type Filter = (value: Json, scope: Scope) => Iterable<Json>;

/** Of a filter that makes one value of one. */
export function single(work: (value: Json, scope: Scope) => Json): Filter {
  return (value, scope) => {
    scope.steps.take(1);
    return [work(value, scope)];
  };
}

export const identity: Filter = (value) => [value];

/** A step for each value. */
function* paid(values: Iterable<Json>, steps: Steps): Generator<Json> {
  for (const value of values) {
    steps.take(1);
    yield value;
  }
}

export function pipe(left: Filter, right: Filter): Filter {
  return function* (value, scope) {
    for (const between of left(value, scope)) {
      scope.steps.take(beginSteps);
      yield* paid(right(between, scope), scope.steps);
    }
  };
}

/** `left, right` and more */
export function comma(filters: readonly Filter[]): Filter {
  return function* (value, scope) {
    for (const filter of filters) {
      scope.steps.take(beginSteps);
      yield* paid(filter(value, scope), scope.steps);
    }
  };
}

/** Each combination of what the filters give, the last one's values changing slowest. */
export function combined(
  filters: readonly Filter[],
  work: (values: readonly Json[], scope: Scope) => Json,
): Filter {
  return function* (value, scope) {
    for (const values of combinations(filters, value, scope)) yield work(values, scope);
  };
}

function combinations(
  filters: readonly Filter[],
  value: Json,
  scope: Scope,
): Generator<readonly Json[]> {
  const { steps } = scope;
  const values: Json[] = filters.map(() => null);
  const upTo = function* (last: number): Generator<readonly Json[]> {
    steps.take(2 * beginSteps);
    for (const slow of filters[last]?.(value, scope) ?? []) {
      steps.take(1);
      values[last] = slow;
      if (last === 0) {
        steps.takeItems(values.length);
        yield [...values];
        continue;
      }
      for (const whole of upTo(last - 1)) {
        steps.take(1);
        yield whole;
      }
    }
  };
  return upTo(filters.length - 1);
}

/** What jq takes for true. */
export function isTrue(value: Json): boolean {
  return value !== null && value !== false;
}

/** What a query raises by itself, which another part of it may catch. */
export class JqError extends QueryError {
  readonly value: Json;

  constructor(value: Json) {
    super(typeof value === 'string' ? value.slice(0, messageMax) : `it raises ${typeOf(value)}`);
    this.value = value;
  }
}

/** `left // right` */
export function alternative(left: Filter, right: Filter): Filter {
  const tried = trying(left, null);
  return function* (value, scope) {
    let isAny = false;
    for (const found of tried(value, scope)) {
      scope.steps.take(1);
      if (!isTrue(found)) continue;
      isAny = true;
      yield found;
    }
    if (isAny) return;
    yield* paid(right(value, scope), scope.steps);
  };
}

/** `and`, and with `decided` true `or`: the left value alone decides when it is that. */
export function logical(left: Filter, right: Filter, decided: boolean): Filter {
  return function* (value, scope) {
    for (const first of left(value, scope)) {
      scope.steps.take(beginSteps);
      if (isTrue(first) === decided) {
        yield decided;
        continue;
      }
      for (const second of right(value, scope)) {
        scope.steps.take(1);
        yield isTrue(second);
      }
    }
  };
}

/** `term as $name | body` */
export function binding(term: Filter, name: string, body: Filter): Filter {
  return function* (value, scope) {
    for (const bound of term(value, scope)) {
      yield* paid(body(value, bind(scope, name, bound)), scope.steps);
    }
  };
}

function bind(scope: Scope, name: string, value: Json): Scope {
  scope.steps.take(2 * beginSteps + 2 * scope.variables.size);
  return { ...scope, variables: new Map([...scope.variables, [name, value]]) };
}

export function conditional(condition: Filter, consequence: Filter, otherwise: Filter): Filter {
  return function* (value, scope) {
    for (const decision of condition(value, scope)) {
      scope.steps.take(beginSteps);
      yield* paid((isTrue(decision) ? consequence : otherwise)(value, scope), scope.steps);
    }
  };
}

/** `try filter catch handler` */
export function trying(filter: Filter, handler: Filter | null): Filter {
  return function* (value, scope) {
    const { steps } = scope;
    steps.take(beginSteps);
    try {
      yield* paid(filter(value, scope), scope.steps);
    } catch (error) {
      if (!(error instanceof JqError)) throw error;
      steps.take(errorSteps);
      if (handler === null) return;
      yield* paid(handler(error.value, scope), scope.steps);
    }
  };
}

/** `reduce items as $name (start; step)` */
export function reduction(items: Filter, name: string, start: Filter, step: Filter): Filter {
  return function* (value, scope) {
    for (const first of start(value, scope)) {
      let state = first;
      for (const item of items(value, scope)) {
        let last: Json = null;
        for (const found of step(state, bind(scope, name, item))) {
          scope.steps.take(1);
          last = found;
        }
        state = last;
      }
      yield state;
    }
  };
}

/** `[items]` */
export function collected(items: Filter): Filter {
  return function* (value, scope) {
    const list: Json[] = [];
    for (const item of items(value, scope)) {
      scope.steps.take(1);
      list.push(item);
    }
    yield list;
  };
}

/** `{key: value, …}`, each combination of them, the first one's values changing slowest. */
export function objects(
  entries: readonly { readonly key: Filter; readonly value: Filter }[],
): Filter {
  return function* (value, scope) {
    const { steps } = scope;
    const fields: (readonly [string, Json])[] = [];
    const from = function* (first: number): Generator<Json> {
      const entry = entries[first];
      if (entry === undefined) {
        yield objectOf(fields, steps);
        return;
      }
      for (const key of entry.key(value, scope)) {
        for (const field of entry.value(value, scope)) {
          steps.take(2 * beginSteps);
          if (typeof key !== 'string') throw new JqError('Object keys must be strings');
          fields[first] = [key, field];
          for (const object of from(first + 1)) {
            steps.take(1);
            yield object;
          }
        }
      }
    };
    yield* from(0);
  };
}

/** `.[]` */
export function iterate(value: Json, { steps }: Scope): Iterable<Json> {
  if (!isArray(value) && !isObject(value))
    throw new JqError(`Cannot iterate over ${typeOf(value)}`);
  return itemsOf(value, steps);
}

/** `..` */
export function* descend(value: Json, scope: Scope): Generator<Json> {
  const waiting: Json[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    scope.steps.take(1);
    yield next;
    if (!isArray(next) && !isObject(next)) continue;
    for (const item of itemsOf(next, scope.steps).toReversed()) waiting.push(item);
  }
}

export function textOf(value: Json | undefined, what: string): string {
  if (typeof value !== 'string') throw new JqError(`${what} needs a string`);
  return value;
}

export function numberOf(value: Json | undefined, what: string): number {
  if (typeof value !== 'number') throw new JqError(`${what} needs a number`);
  return value;
}

export function arrayOf(value: Json | undefined, what: string): readonly Json[] {
  if (value === undefined || !isArray(value)) throw new JqError(`${what} needs an array`);
  return value;
}
