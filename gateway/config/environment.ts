/**
 * Every key of headgate.yaml from the environment.
 *
 * `http.port` is HEADGATE_HTTP_PORT: the keys in capitals, words and sections joined with `_`. The
 * name of a map's entry and the position in a list (from 0) stand between double underscores:
 * HEADGATE_CAMERAS__front__RETENTION_HOURS, HEADGATE_MQTT_USERS__0__PASSWORD. A name finds the
 * entry that differs from it only in case and in - and . for _, else it makes a new one.
 * A whole part (HEADGATE_STREAMS) takes YAML or JSON and replaces what the file has; what is set
 * below it is put on top. With _FILE after the name of a single key, its value is the text of that
 * file. An empty variable counts as not set.
 */
import { parseVariable, type RawList, type RawMap, type RawNode } from './document.ts';
import { problem, type Origin, type Problem } from './problems.ts';
import { messageOf, type Environment } from './substitute.ts';
import { suggest } from './suggest.ts';
import { holdsSecret, isLeaf, nodeAt, showPath, type KeyNode, type KeyPath } from './tree.ts';

const prefix = 'HEADGATE_';

/** Variables with our prefix that say something else than the value of a key. */
export const otherVariables: readonly string[] = ['HEADGATE_CONFIG', 'HEADGATE_TOKEN'];

/** `off` as the value of a whole part leaves it out; the set-up looks at this one as well. */
const switches: ReadonlySet<string> = new Set(['HEADGATE_WEBRTC']);

interface Assignment {
  readonly variable: string;
  readonly path: KeyPath;
  readonly node: KeyNode;
  readonly text: string;
}

/** Puts what the environment says onto the tree of a file. Returns what could not be put there. */
export function applyEnvironment(
  root: RawMap,
  tree: KeyNode,
  env: Environment,
  readText: (path: string) => string,
): readonly Problem[] {
  const problems: Problem[] = [];
  const assignments: Assignment[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || otherVariables.includes(variable)) continue;
    if (text === undefined || text === '') continue;
    const isOff = text === 'off' && switches.has(variable);
    const found = interpret(variable, isOff ? '{ enabled: false }' : text, tree, readText);
    if ('path' in found) assignments.push(found);
    else problems.push(found);
  }
  // The whole before its parts, and the entries of a list in their order.
  assignments.sort((a, b) => comparePaths(a.path, b.path));
  for (const assignment of assignments) problems.push(...assign(root, assignment));
  return problems;
}

/** The variable that sets a key; `<name>` and `<n>` stand for the entry of a map or list. */
export function variableOf(tree: KeyNode, path: KeyPath): string {
  let name = prefix.slice(0, -1);
  let node: KeyNode | undefined = tree;
  let afterEntry = false;
  for (const part of path) {
    const inSection: boolean = node?.kind === 'section';
    if (inSection) name += `${afterEntry ? '__' : '_'}${capitals(String(part))}`;
    else name += `__${part}`;
    afterEntry = !inSection;
    node = node === undefined ? undefined : nodeAt(node, [part]);
  }
  return name;
}

function interpret(
  variable: string,
  text: string,
  tree: KeyNode,
  readText: (path: string) => string,
): Assignment | Problem {
  const origin: Origin = { kind: 'variable', name: variable };
  const path = pathOf(tree, variable.slice(prefix.length));
  const node = path === null ? undefined : nodeAt(tree, path);
  if (path !== null && node !== undefined) return { variable, path, node, text };

  const filePath = variable.endsWith('_FILE')
    ? pathOf(tree, variable.slice(prefix.length, -'_FILE'.length))
    : null;
  const fileNode = filePath === null ? undefined : nodeAt(tree, filePath);
  if (filePath !== null && fileNode !== undefined && isLeaf(fileNode)) {
    try {
      return { variable, path: filePath, node: fileNode, text: readText(text) };
    } catch (error) {
      return problem(
        origin,
        showPath(filePath),
        `names a file that can't be read: ${messageOf(error)}`,
      );
    }
  }
  return problem(origin, '', 'sets no key of the configuration', {
    suggestion: suggest(variable, candidates(tree, variable)),
  });
}

/** The variables that set a key: those whose value may be shown, and those that hold a secret. */
export function settingVariables(
  tree: KeyNode,
  env: Environment,
): { readonly plain: readonly string[]; readonly secret: readonly string[] } {
  const secret: string[] = [];
  const plain: string[] = [];
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || otherVariables.includes(variable)) continue;
    if (text === undefined || text === '') continue;
    const path = pathOf(tree, variable.slice(prefix.length));
    const node = path === null ? undefined : nodeAt(tree, path);
    // With _FILE behind the name, it is the file that holds the secret.
    const mayShow = node === undefined || (!holdsSecret(node) && !(isLeaf(node) && node.url));
    (mayShow ? plain : secret).push(variable);
  }
  return { plain, secret };
}

/** The path that the rest of a variable's name stands for. */
function pathOf(node: KeyNode, rest: string): KeyPath | null {
  if (node.kind !== 'section') return null;
  for (const [key, child] of node.keys) {
    const written = capitals(key);
    if (rest === written) return [key];
    if (!rest.startsWith(`${written}_`)) continue;
    const below = pathBelow(child, rest.slice(written.length));
    if (below !== null) return [key, ...below];
  }
  return null;
}

/** `rest` begins with the separator. */
function pathBelow(node: KeyNode, rest: string): KeyPath | null {
  if (node.kind === 'section') return rest.startsWith('__') ? null : pathOf(node, rest.slice(1));
  if (isLeaf(node) || !rest.startsWith('__')) return null;
  const [name = '', ...others] = rest.slice(2).split('__');
  if (name === '' || name === '__proto__') return null;
  if (node.kind === 'list' && !/^\d{1,5}$/.test(name)) return null;
  const part = node.kind === 'list' ? Number(name) : name;
  if (others.length === 0) return [part];
  const below = pathOf(node.kind === 'list' ? node.item : node.entry, others.join('__'));
  return below === null ? null : [part, ...below];
}

/** Names that may have been meant: all of them, with the entries that `variable` itself names. */
function candidates(tree: KeyNode, variable: string): readonly string[] {
  const [, entry = '0'] = variable.split('__');
  const names: string[] = [...otherVariables];
  const collect = (node: KeyNode, path: KeyPath): void => {
    if (path.length > 0) names.push(variableOf(tree, path));
    if (node.kind === 'section')
      for (const [key, child] of node.keys) collect(child, [...path, key]);
    else if (node.kind === 'map') collect(node.entry, [...path, entry]);
    else if (node.kind === 'list') collect(node.item, [...path, entry]);
  };
  collect(tree, []);
  return names;
}

function assign(root: RawMap, { variable, path, node, text }: Assignment): readonly Problem[] {
  const origin: Origin = { kind: 'variable', name: variable };
  let value: RawNode | null = { kind: 'scalar', origin, value: text, text, substituted: true };
  if (!isLeaf(node)) {
    const parsed = parseVariable(variable, path, text);
    if (parsed.problems.length > 0) return parsed.problems;
    value = parsed.root;
  }
  if (value === null) return [];
  let container: RawMap | RawList = root;
  for (const [index, part] of path.entries()) {
    const last = index === path.length - 1;
    const place: string | number =
      container.kind === 'map' ? entryName(container, String(part)) : part;
    const existing = childAt(container, place);
    if (container.kind === 'list' && Number(part) > container.items.length) {
      const allowed = `0 to ${container.items.length}`;
      const list = showPath(path.slice(0, index));
      return [problem(origin, list, `has no entry ${part} and none before it`, { allowed })];
    }
    if (last) {
      put(container, place, value);
    } else if (existing !== undefined && existing.kind !== 'scalar') {
      container = existing;
    } else {
      const made: RawMap | RawList =
        typeof path[index + 1] === 'number'
          ? { kind: 'list', origin, items: [] }
          : { kind: 'map', origin, entries: new Map(), keyOrigins: new Map() };
      put(container, place, made);
      container = made;
    }
  }
  return [];
}

function childAt(container: RawMap | RawList, part: string | number): RawNode | undefined {
  return container.kind === 'map'
    ? container.entries.get(String(part))
    : container.items[Number(part)];
}

function put(container: RawMap | RawList, part: string | number, value: RawNode): void {
  if (container.kind === 'map') container.entries.set(String(part), value);
  else container.items[Number(part)] = value;
}

/** The entry that is meant: a shell can't put - or . into a name, and often has only capitals. */
function entryName(map: RawMap, written: string): string {
  if (map.entries.has(written)) return written;
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[-.]/g, '_');
  const alike = [...map.entries.keys()].filter((name) => plain(name) === plain(written));
  return alike.length === 1 ? (alike[0] ?? written) : written;
}

function comparePaths(a: KeyPath, b: KeyPath): number {
  for (const [index, part] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    if (part === other) continue;
    if (typeof part === 'number' && typeof other === 'number') return part - other;
    return String(part) < String(other) ? -1 : 1;
  }
  return a.length === b.length ? 0 : -1;
}

/** `retentionHours` → `RETENTION_HOURS`. */
function capitals(key: string): string {
  return key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
