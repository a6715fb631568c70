/** Reads UpdateExpression, and does to an item what it says. */
import { invalid } from '../errors.ts';
import { addNumbers, negated } from '../numbers.ts';
import { isSet, setLike, setTexts, type Item, type SetValue, type Value } from '../values.ts';
import { valueAt } from './evaluate.ts';
import type { Placeholders } from './placeholders.ts';
import { checkApart, Reader, wrongCount } from './reader.ts';
import type { Action, Assigned, Path } from './syntax.ts';

const sections = ['SET', 'REMOVE', 'ADD', 'DELETE'] as const;
type Section = (typeof sections)[number];

/** @throws DynamoDbError, without the name of the parameter */
export function readUpdate(expression: string, placeholders: Placeholders): readonly Action[] {
  const reader = new Reader(expression, placeholders);
  const actions: Action[] = [];
  const seen = new Set<Section>();
  while (reader.token.kind !== 'end') {
    const section = sections.find((word) => reader.isAt(word));
    if (section === undefined) throw reader.unexpected();
    if (seen.has(section)) {
      throw invalid(`The "${section}" section can only be used once in an update expression;`);
    }
    seen.add(section);
    reader.advance();
    do actions.push(readAction(section, reader));
    while (reader.take(','));
  }
  checkApart(actions.map(({ path }) => path));
  return actions;
}

function readAction(section: Section, reader: Reader): Action {
  if (!reader.isAtPath()) throw reader.unexpected();
  const path = reader.path();
  if (section === 'REMOVE') return { kind: 'remove', path };
  if (section === 'SET') {
    reader.expect('=');
    return { kind: 'set', path, to: readAssigned(reader) };
  }
  const operand = reader.plainOperand();
  if (operand?.kind !== 'value') throw reader.unexpected();
  const { value } = operand;
  if (section === 'DELETE') {
    if (!isSet(value)) throw wrongOperand(section, value);
    return { kind: 'delete', path, value };
  }
  if (value.type !== 'N' && !isSet(value)) throw wrongOperand(section, value);
  return { kind: 'add', path, value };
}

const longNames = {
  ...{ S: 'STRING', N: 'NUMBER', B: 'BINARY', BOOL: 'BOOLEAN', NULL: 'NULL', L: 'LIST', M: 'MAP' },
  ...{ SS: 'STRING_SET', NS: 'NUMBER_SET', BS: 'BINARY_SET' },
} as const;

function wrongOperand(section: Section, { type }: Value): Error {
  return invalid(
    `Incorrect operand type for operator or function; operator: ${section}, operand type: ${longNames[type]}`,
  );
}

function readAssigned(reader: Reader): Assigned {
  const left = readTerm(reader);
  for (const kind of ['+', '-'] as const) {
    if (reader.take(kind)) return { kind, left, right: readTerm(reader) };
  }
  return left;
}

function readTerm(reader: Reader): Assigned {
  if (reader.take('(')) {
    const inner = reader.nested(() => readAssigned(reader));
    reader.expect(')');
    return inner;
  }
  const operand = reader.plainOperand();
  if (operand !== null) return operand;
  if (!reader.isAtCall()) throw reader.unexpected();
  const name = reader.advance().text;
  const [left, right, ...more] = reader.nested(() => reader.list(() => readAssigned(reader)));
  if (name !== 'if_not_exists' && name !== 'list_append') {
    throw invalid(`Invalid function name; function: ${name}`);
  }
  if (left === undefined || right === undefined || more.length > 0) {
    throw wrongCount(name, right === undefined ? 1 : 2 + more.length);
  }
  if (name === 'list_append') return { kind: 'list-append', left, right };
  if (left.kind !== 'path') {
    throw invalid(`Operator or function requires a document path; operator or function: ${name}`);
  }
  return { kind: 'if-not-exists', path: left.path, otherwise: right };
}

/**
 * What becomes of an item. Every value is that of the item as it was, and places in lists are those
 * that were: elements go when all else is done, the last ones first.
 * @throws DynamoDbError
 */
export function updated(item: Item, actions: readonly Action[]): Item {
  const changes = actions
    .filter((action) => action.kind !== 'remove')
    .map((action) => ({ path: action.path, value: newValue(action, item) }));
  const gone = [
    ...changes.filter(({ value }) => value === null).map(({ path }) => path),
    ...actions.filter(({ kind }) => kind === 'remove').map(({ path }) => path),
  ];
  const draft = new Draft(item);
  // What is behind the end of a list is appended in the order of the places.
  for (const { path, value } of changes.sort((one, other) => lastPlace(one) - lastPlace(other))) {
    if (value !== null) draft.set(path, value);
  }
  for (const path of gone.sort(
    (one, other) => lastPlace({ path: other }) - lastPlace({ path: one }),
  )) {
    draft.set(path, null);
  }
  return draft.item;
}

function lastPlace({ path }: { readonly path: Path }): number {
  const last = path.at(-1);
  return typeof last === 'number' ? last : -1;
}

/** null: nothing is left of it. */
function newValue(action: Exclude<Action, { readonly kind: 'remove' }>, item: Item): Value | null {
  if (action.kind === 'set') return assigned(action.to, item);
  const there = valueAt(item, action.path);
  if (action.kind === 'delete') return there === null ? null : without(there, action.value);
  return there === null ? action.value : added(there, action.value);
}

function assigned(to: Assigned, item: Item): Value {
  switch (to.kind) {
    case 'value':
      return to.value;
    case 'path': {
      const value = valueAt(item, to.path);
      if (value !== null) return value;
      throw invalid(
        'The provided expression refers to an attribute that does not exist in the item',
      );
    }
    case 'if-not-exists':
      return valueAt(item, to.path) ?? assigned(to.otherwise, item);
    case 'list-append': {
      const [left, right] = [assigned(to.left, item), assigned(to.right, item)];
      if (left.type !== 'L' || right.type !== 'L') throw wrongData();
      return { type: 'L', value: [...left.value, ...right.value] };
    }
    case '+':
    case '-': {
      const [left, right] = [assigned(to.left, item), assigned(to.right, item)];
      if (left.type !== 'N' || right.type !== 'N') throw wrongData();
      const addend = to.kind === '+' ? right.value : negated(right.value);
      return { type: 'N', value: addNumbers(left.value, addend) };
    }
  }
}

function added(there: Value, value: Value): Value {
  if (there.type === 'N' && value.type === 'N') {
    return { type: 'N', value: addNumbers(there.value, value.value) };
  }
  if (there.type === 'L' && value.type === 'L') {
    return { type: 'L', value: [...there.value, ...value.value] };
  }
  if (!isSet(there) || !isSet(value) || there.type !== value.type) throw wrongData();
  return setLike(there, [...new Set([...setTexts(there), ...setTexts(value)])]);
}

function without(there: Value, value: SetValue): Value | null {
  if (!isSet(there) || there.type !== value.type) throw wrongData();
  const gone = new Set(setTexts(value));
  const left = setTexts(there).filter((text) => !gone.has(text));
  return left.length === 0 ? null : setLike(there, left);
}

function wrongData(): Error {
  return invalid('An operand in the update expression has an incorrect data type');
}

/** An item that is being changed: of maps and lists that change there is one copy each. */
class Draft {
  #root: Value;
  /** Those that are copies already. */
  readonly #own = new Set<object>();

  constructor(item: Item) {
    this.#root = { type: 'M', value: item };
  }

  get item(): Item {
    if (this.#root.type !== 'M') throw wrongPath();
    return this.#root.value;
  }

  /** @param value null: what is there goes */
  set(path: Path, value: Value | null): void {
    this.#root = this.#replaced(this.#root, path, value);
  }

  #replaced(there: Value, path: Path, value: Value | null): Value {
    const [part, ...rest] = path;
    if (there.type === 'M' && typeof part === 'string') {
      const map = this.#ownCopy(there.value, (all) => new Map(all)) as Map<string, Value>;
      if (rest.length > 0) map.set(part, this.#replaced(existing(map.get(part)), rest, value));
      else if (value === null) map.delete(part);
      else map.set(part, value);
      return { type: 'M', value: map };
    }
    if (there.type === 'L' && typeof part === 'number') {
      const list = this.#ownCopy(there.value, (all) => [...all]) as Value[];
      if (rest.length > 0) list[part] = this.#replaced(existing(list[part]), rest, value);
      else if (value !== null) list[Math.min(part, list.length)] = value;
      else list.splice(part, 1);
      return { type: 'L', value: list };
    }
    throw wrongPath();
  }

  #ownCopy<T extends object>(of: T, copy: (of: T) => T): T {
    if (this.#own.has(of)) return of;
    const own = copy(of);
    this.#own.add(own);
    return own;
  }
}

function existing(value: Value | undefined): Value {
  if (value === undefined) throw wrongPath();
  return value;
}

function wrongPath(): Error {
  return invalid('The document path provided in the update expression is invalid for update');
}
