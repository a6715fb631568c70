/** How the parts of JMESPath's expressions are run. */
import type { Json } from '../query.ts';
import { equals, fieldOf, isArray, isObject, type Steps } from '../values.ts';

/** What an expression makes of a value. */
export type Evaluate = (value: Json, steps: Steps) => Json;

export const itself: Evaluate = (value) => value;

/** Whether a value counts as true. */
export function isTrue(value: Json): boolean {
  if (value === null || value === false || value === '') return false;
  if (isArray(value)) return value.length > 0;
  return !isObject(value) || Object.keys(value).length > 0;
}

/** `&&`, and with `decided` true `||`: the left value is the result when it is that. */
export function logical(left: Evaluate, right: Evaluate, decided: boolean): Evaluate {
  return (value, steps) => {
    const first = left(value, steps);
    return isTrue(first) === decided ? first : right(value, steps);
  };
}

export function counted(evaluate: Evaluate): Evaluate {
  return (value, steps) => {
    steps.take(1);
    return evaluate(value, steps);
  };
}

export function pipe(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => right(left(value, steps), steps);
}

export function field(name: string): Evaluate {
  return (value) => (isObject(value) ? fieldOf(value, name) : null);
}

export function present(values: readonly Json[]): readonly Json[] {
  return values.filter((value) => value !== null);
}

export function projection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    steps.take(items.length);
    return present(items.map((item) => right(item, steps)));
  };
}

export function valueProjection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const object = left(value, steps);
    if (!isObject(object)) return null;
    const items = Object.values(object);
    steps.take(items.length);
    return present(items.map((item) => right(item, steps)));
  };
}

export function flatten(left: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    const flat = items.flat(1) as readonly Json[];
    steps.take(flat.length);
    return flat;
  };
}

export function slice(
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

export function comparison(
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
