/** Parts of items: ProjectionExpression, and what an update has touched. */
import type { Item, Value } from '../values.ts';
import type { Placeholders } from './placeholders.ts';
import { checkApart, Reader } from './reader.ts';
import type { Path } from './syntax.ts';

/** @throws DynamoDbError, without the name of the parameter */
export function readProjection(expression: string, placeholders: Placeholders): readonly Path[] {
  const reader = new Reader(expression, placeholders);
  const paths = [reader.path()];
  while (reader.take(',')) paths.push(reader.path());
  reader.end();
  checkApart(paths);
  return paths;
}

/** What is wanted below a place; all of it where nothing is. */
type Wanted = Map<string | number, Wanted>;

/** What is at the paths, with what is around it: lists hold what is wanted of them, in order. */
export function project(item: Item, paths: readonly Path[]): Item {
  const wanted: Wanted = new Map();
  for (const path of paths) {
    let level = wanted;
    for (const part of path) {
      const next = level.get(part) ?? new Map<string | number, Wanted>();
      level.set(part, next);
      level = next;
    }
  }
  return partOfMap(item, wanted);
}

function partOfMap(map: Item, wanted: Wanted): Item {
  const part = new Map<string, Value>();
  for (const [name, inner] of wanted) {
    const value = typeof name === 'string' ? map.get(name) : undefined;
    const found = value === undefined ? null : partOf(value, inner);
    if (found !== null) part.set(String(name), found);
  }
  return part;
}

function partOf(value: Value, wanted: Wanted): Value | null {
  if (wanted.size === 0) return value;
  if (value.type === 'M') {
    const map = partOfMap(value.value, wanted);
    return map.size === 0 ? null : { type: 'M', value: map };
  }
  if (value.type !== 'L') return null;
  const elements = [...wanted]
    .filter((entry): entry is [number, Wanted] => typeof entry[0] === 'number')
    .sort(([one], [other]) => one - other)
    .flatMap(([index, inner]) => {
      const element = value.value[index];
      const found = element === undefined ? null : partOf(element, inner);
      return found === null ? [] : [found];
    });
  return elements.length === 0 ? null : { type: 'L', value: elements };
}
