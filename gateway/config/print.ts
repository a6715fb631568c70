/** A configuration in force as YAML, secrets masked. The reference file is made in reference.ts. */
import { maskLeaf } from './redact.ts';
import type { Config } from './schema.ts';
import { childOf, configTree, isLeaf, type KeyNode, type KeyPath } from './tree.ts';
import { showLeaf, showText } from './yaml-text.ts';

/** What stands as a comment behind the value of a key; empty: nothing. */
type Comment = (path: KeyPath) => string;

/** @param comment says something about a key, for example where its value comes from */
export function printConfig(config: Config, comment: Comment): string {
  return `${printNode(configTree, config, [], comment).join('\n')}\n`;
}

/** The lines of a value; a leaf is one line, without its key. */
function printNode(
  node: KeyNode,
  value: unknown,
  path: KeyPath,
  comment: Comment,
): readonly string[] {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    const text =
      isLeaf(node) && value !== null
        ? showLeaf(node, maskLeaf(node, value))
        : JSON.stringify(value);
    const note = comment(path);
    return [note === '' ? text : `${text} # ${note}`];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item: unknown, index) => {
      const child = childOf(node, index);
      if (child === undefined) return [];
      const [first = '', ...rest] = printNode(child, item, [...path, index], comment);
      return [`- ${first}`, ...rest.map((line) => `  ${line}`)];
    });
  }
  return Object.entries(value).flatMap(([key, inner]) => {
    const child = childOf(node, key);
    if (child === undefined) return [];
    const lines = printNode(child, inner, [...path, key], comment);
    const single =
      typeof inner !== 'object' || inner === null || Object.keys(inner as object).length === 0;
    if (single) return [`${showText(key)}: ${lines.join('')}`];
    return [`${showText(key)}:`, ...lines.map((line) => `  ${line}`)];
  });
}
