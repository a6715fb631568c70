/** How the parts of JMESPath's expressions are run. */
import type { Json } from '../query.ts';
import type { Steps } from '../steps.ts';
import { equals, fieldOf, isArray, isObject, itemsOf, namesOf } from '../values.ts';

/** What an expression makes of a value. */
export type Evaluate = (value: Json, steps: Steps) => Json;

export const itself: Evaluate = (value) => value;

/** Whether a value counts as true. */
export function isTrue(value: Json, steps: Steps): boolean {
  if (value === null || value === false || value === '') return false;
  if (isArray(value)) return value.length > 0;
  return !isObject(value) || namesOf(value, steps).length > 0;
}

/** `&&`, and with `decided` true `||`: the left value is the result when it is that. */
export function logical(left: Evaluate, right: Evaluate, decided: boolean): Evaluate {
  return (value, steps) => {
    const first = left(value, steps);
    return isTrue(first, steps) === decided ? first : right(value, steps);
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

/** Of a projection: what is there for each item. */
export function projected(items: readonly Json[], right: Evaluate, steps: Steps): readonly Json[] {
  return items.map((item) => right(item, steps)).filter((value) => value !== null);
}

export function projection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    return isArray(items) ? projected(itemsOf(items, steps), right, steps) : null;
  };
}

export function valueProjection(left: Evaluate, right: Evaluate): Evaluate {
  return (value, steps) => {
    const object = left(value, steps);
    return isObject(object) ? projected(itemsOf(object, steps), right, steps) : null;
  };
}

export function flatten(left: Evaluate): Evaluate {
  return (value, steps) => {
    const items = left(value, steps);
    if (!isArray(items)) return null;
    for (const item of items) steps.take(isArray(item) ? 1 + item.length : 1);
    return items.flat(1);
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
