/**
 * Topic filters (OASIS MQTT 3.1.1, chapter 4.7): their syntax, and a tree that finds the values whose
 * filters match a topic.
 */

/** Says what is wrong with a filter, or null when it is right. */
export function filterProblem(filter: string): string | null {
  if (filter === '') return 'is empty';
  if (filter.includes('\0')) return 'contains a null character';
  const levels = filter.split('/');
  if (levels.length > TOPIC_LEVELS_MAX) return `has more than ${TOPIC_LEVELS_MAX} levels`;
  for (const [index, level] of levels.entries()) {
    if (level.includes('#') && (level !== '#' || index !== levels.length - 1)) {
      return 'may have # only as its whole last level';
    }
    if (level.includes('+') && level !== '+') return 'may have + only as a whole level';
  }
  return null;
}

/** The deepest topic or filter taken; aedes' matchers know no more. */
export const TOPIC_LEVELS_MAX = 100;

interface Node<T> {
  readonly children: Map<string, Node<T>>;
  readonly values: Set<T>;
}

export class TopicTree<T> {
  readonly #root: Node<T> = newNode();

  add(filter: string, value: T): void {
    let node = this.#root;
    for (const level of filter.split('/')) {
      let child = node.children.get(level);
      if (child === undefined) {
        child = newNode();
        node.children.set(level, child);
      }
      node = child;
    }
    node.values.add(value);
  }

  remove(filter: string, value: T): void {
    const path: { parent: Node<T>; level: string; node: Node<T> }[] = [];
    let node = this.#root;
    for (const level of filter.split('/')) {
      const child = node.children.get(level);
      if (child === undefined) return;
      path.push({ parent: node, level, node: child });
      node = child;
    }
    node.values.delete(value);
    for (const step of path.reverse()) {
      if (step.node.values.size > 0 || step.node.children.size > 0) return;
      step.parent.children.delete(step.level);
    }
  }

  /** All values with a matching filter. A wildcard in front does not match topics that begin with $. */
  match(topic: string): T[] {
    const found: T[] = [];
    collect(this.#root, topic.split('/'), 0, topic.startsWith('$'), found);
    return found;
  }
}

function newNode<T>(): Node<T> {
  return { children: new Map(), values: new Set() };
}

function collect<T>(
  node: Node<T>,
  levels: readonly string[],
  depth: number,
  hidden: boolean,
  found: T[],
): void {
  // `a/#` matches `a` too, so # is looked for at the end of the topic as well (4.7.1.2).
  const wildcards = !(hidden && depth === 0);
  const rest = wildcards ? node.children.get('#') : undefined;
  if (rest !== undefined) found.push(...rest.values);
  const level = levels[depth];
  if (level === undefined) {
    found.push(...node.values);
    return;
  }
  const same = level === '+' || level === '#' ? undefined : node.children.get(level);
  if (same !== undefined) collect(same, levels, depth + 1, hidden, found);
  const any = wildcards ? node.children.get('+') : undefined;
  if (any !== undefined) collect(any, levels, depth + 1, hidden, found);
}
