/**
 * What a user may publish and subscribe to: topic filters, in which `{username}` and `{clientId}` stand
 * for who is connected.
 */
import { TopicTree } from './topics.ts';

export interface Permissions {
  mayPublish(topic: string): boolean;
  /** Whether everything that the filter asks for is allowed. */
  maySubscribe(filter: string): boolean;
}

export interface PermittedTopics {
  /** Topic filters; left out, or one that is `#`: all topics. */
  readonly publish?: readonly string[];
  readonly subscribe?: readonly string[];
}

export const unrestricted: Permissions = { mayPublish: () => true, maySubscribe: () => true };

export function permissionsOf(
  { publish = ['#'], subscribe = ['#'] }: PermittedTopics,
  who: { readonly username: string; readonly clientId: string },
): Permissions {
  const topics = publish.includes('#') ? null : treeOf(filled(publish, who));
  const filters = subscribe.includes('#') ? null : filled(subscribe, who);
  if (topics === null && filters === null) return unrestricted;
  return {
    mayPublish: (topic) => topics === null || topics.match(topic).length > 0,
    maySubscribe: (filter) =>
      filters === null || filters.some((allowed) => covers(allowed, filter)),
  };
}

/** Whether every topic that `asked` matches is matched by `allowed` too. Both are valid filters. */
export function covers(allowed: string, asked: string): boolean {
  const allowedLevels = allowed.split('/');
  const askedLevels = asked.split('/');
  // A wildcard in front does not match topics that begin with $ (4.7.2).
  if (asked.startsWith('$') && !allowed.startsWith('$')) return false;
  for (const [index, level] of allowedLevels.entries()) {
    if (level === '#') return true;
    const wanted = askedLevels[index];
    if (wanted === undefined || wanted === '#') return false;
    if (level !== '+' && level !== wanted) return false;
  }
  return allowedLevels.length === askedLevels.length;
}

/** A name with a wildcard or a level in it would open more than its own topics: such a filter is left out. */
function filled(
  filters: readonly string[],
  who: { readonly username: string; readonly clientId: string },
): string[] {
  return filters
    .filter((filter) => placeholdersOf(filter).every((name) => isOneLevel(who[name])))
    .map((filter) => filter.replace(PLACEHOLDER, (_, name: Placeholder) => who[name]));
}

type Placeholder = 'username' | 'clientId';
const PLACEHOLDER = /\{(username|clientId)\}/g;

function placeholdersOf(filter: string): Placeholder[] {
  return [...filter.matchAll(PLACEHOLDER)].map(([, name]) => name as Placeholder);
}

function isOneLevel(text: string): boolean {
  return text !== '' && !/[+#/\0]/.test(text);
}

function treeOf(filters: readonly string[]): TopicTree<true> {
  const tree = new TopicTree<true>();
  for (const filter of filters) tree.add(filter, true);
  return tree;
}
