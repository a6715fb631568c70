/** How jq's expressions are run: each makes any number of values of one. */
import type { Json } from '../query.ts';
import { isArray, isObject, objectOf, QueryError, typeOf, type Steps } from '../values.ts';

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

export function pipe(left: Filter, right: Filter): Filter {
  return function* (value, scope) {
    for (const between of left(value, scope)) {
      scope.steps.take(1);
      yield* right(between, scope);
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

function* combinations(
  filters: readonly Filter[],
  value: Json,
  scope: Scope,
): Generator<readonly Json[]> {
  const last = filters.at(-1);
  if (last === undefined) {
    yield [];
    return;
  }
  for (const slow of last(value, scope)) {
    scope.steps.take(1);
    for (const rest of combinations(filters.slice(0, -1), value, scope)) yield [...rest, slow];
  }
}

/** What jq takes for true. */
export function isTrue(value: Json): boolean {
  return value !== null && value !== false;
}

/** What a query raises by itself, which another part of it may catch. */
export class JqError extends QueryError {
  readonly value: Json;

  constructor(value: Json) {
    super(typeof value === 'string' ? value : JSON.stringify(value));
    this.value = value;
  }
}

/** `left // right` */
export function alternative(left: Filter, right: Filter): Filter {
  const tried = trying(left, null);
  return function* (value, scope) {
    let isAny = false;
    for (const found of tried(value, scope)) {
      if (!isTrue(found)) continue;
      isAny = true;
      yield found;
    }
    if (!isAny) yield* right(value, scope);
  };
}

/** `and`, and with `decided` true `or`: the left value alone decides when it is that. */
export function logical(left: Filter, right: Filter, decided: boolean): Filter {
  return function* (value, scope) {
    for (const first of left(value, scope)) {
      scope.steps.take(1);
      if (isTrue(first) === decided) yield decided;
      else for (const second of right(value, scope)) yield isTrue(second);
    }
  };
}

/** `term as $name | body` */
export function binding(term: Filter, name: string, body: Filter): Filter {
  return function* (value, scope) {
    for (const bound of term(value, scope)) {
      scope.steps.take(1);
      yield* body(value, bind(scope, name, bound));
    }
  };
}

function bind(scope: Scope, name: string, value: Json): Scope {
  return { ...scope, variables: new Map([...scope.variables, [name, value]]) };
}

export function conditional(condition: Filter, consequence: Filter, otherwise: Filter): Filter {
  return function* (value, scope) {
    for (const decision of condition(value, scope)) {
      scope.steps.take(1);
      yield* (isTrue(decision) ? consequence : otherwise)(value, scope);
    }
  };
}

/** `try filter catch handler` */
export function trying(filter: Filter, handler: Filter | null): Filter {
  return function* (value, scope) {
    try {
      yield* filter(value, scope);
    } catch (error) {
      if (!(error instanceof JqError)) throw error;
      if (handler !== null) yield* handler(error.value, scope);
    }
  };
}

/** `reduce items as $name (start; step)` */
export function reduction(items: Filter, name: string, start: Filter, step: Filter): Filter {
  return function* (value, scope) {
    for (const first of start(value, scope)) {
      let state = first;
      for (const item of items(value, scope)) {
        scope.steps.take(1);
        state = [...step(state, bind(scope, name, item))].at(-1) ?? null;
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
    for (const fields of fieldsOf(entries, value, scope)) yield objectOf(fields);
  };
}

function* fieldsOf(
  [entry, ...rest]: readonly { readonly key: Filter; readonly value: Filter }[],
  value: Json,
  scope: Scope,
): Generator<readonly (readonly [string, Json])[]> {
  if (entry === undefined) {
    yield [];
    return;
  }
  for (const key of entry.key(value, scope)) {
    for (const field of entry.value(value, scope)) {
      scope.steps.take(1);
      if (typeof key !== 'string') throw new JqError('Object keys must be strings');
      for (const fields of fieldsOf(rest, value, scope)) yield [[key, field], ...fields];
    }
  }
}

/** `.[]` */
export function iterate(value: Json, { steps }: Scope): Iterable<Json> {
  if (!isArray(value) && !isObject(value))
    throw new JqError(`Cannot iterate over ${typeOf(value)}`);
  const items = isArray(value) ? value : Object.values(value);
  steps.take(items.length);
  return items;
}

/** `..` */
export function* descend(value: Json, scope: Scope): Generator<Json> {
  const waiting: Json[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    scope.steps.take(1);
    yield next;
    if (isArray(next) || isObject(next)) waiting.push(...Object.values(next).reverse());
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
