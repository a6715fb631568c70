/**
 * From what the schema says about a value to problems that people can act on: with the line it is
 * written in, what is there (masked), what is allowed, and what may have been meant.
 */
import type { z } from 'zod';
import { masked } from '../observe/mask.ts';
import type { RawMap, RawNode } from './document.ts';
import { problem, type Origin, type Problem } from './problems.ts';
import { maskLeaf } from './redact.ts';
import type { RuleParams } from './report.ts';
import { isPlainPath, shapeHint } from './shape-hints.ts';
import { suggest } from './suggest.ts';
import {
  configTree,
  holdsSecret,
  isLeaf,
  nodeAt,
  showPath,
  type KeyNode,
  type KeyPath,
} from './tree.ts';

const valueShownLength = 80;
/** Of the unknown keys of one section; a file of nothing else has hundreds of thousands. */
const suggestionsMax = 100;

/** The node at a path, or the deepest one on the way to it. */
export function locate(root: RawNode, path: KeyPath): { node: RawNode; exact: boolean } {
  let node = root;
  for (const part of path) {
    const child: RawNode | undefined =
      node.kind === 'map'
        ? node.entries.get(String(part))
        : node.kind === 'list'
          ? node.items[Number(part)]
          : undefined;
    if (child === undefined) return { node, exact: false };
    node = child;
  }
  return { node, exact: true };
}

/** Where a key itself is written. */
function keyOrigin(root: RawNode, path: KeyPath, key: string): Origin {
  const { node } = locate(root, path);
  const origin = node.kind === 'map' ? node.keyOrigins.get(key) : undefined;
  return origin ?? locate(root, [...path, key]).node.origin;
}

/** What the schema found, in words, with its place. */
export function explain(issue: z.core.$ZodIssue, root: RawMap): readonly Problem[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)));
  const { node: raw, exact } = locate(root, path);
  const node = nodeAt(configTree, path);
  const key = showPath(path);

  if (issue.code === 'unrecognized_keys') {
    const known = node?.kind === 'section' ? [...node.keys.keys()] : [];
    return issue.keys.map((unknown, index) =>
      problem(keyOrigin(root, path, unknown), showPath([...path, unknown]), 'is not a known key', {
        allowed: node?.kind === 'section' && node.oneOf ? node.allowed : known.join(', '),
        suggestion:
          index < suggestionsMax
            ? (suggest(unknown, known) ?? begunBy(unknown, known) ?? below(unknown, node))
            : null,
      }),
    );
  }
  // What is given in place of one of its keys is told as a key that is not known.
  if (exact && raw.kind === 'map' && node?.kind === 'section' && node.oneOf) {
    const given = [...raw.entries.keys()];
    if (given.length > 0 && !given.some((known) => node.keys.has(known))) return [];
  }
  if (issue.code === 'invalid_key') {
    const map = nodeAt(configTree, path.slice(0, -1));
    const allowed = map?.kind === 'map' ? map.nameAllowed : null;
    return [
      problem(
        keyOrigin(root, path.slice(0, -1), String(path.at(-1))),
        key,
        'is not allowed as a name',
        { allowed },
      ),
    ];
  }
  const value = exact ? showValue(raw, node) : null;
  const written = exact && raw.kind === 'scalar' ? raw.text : '';
  if (issue.code === 'custom' && issue.params !== undefined) {
    // A rule: it may also be about a default, which is written nowhere.
    const { allowed = null, candidates = [] } = issue.params as RuleParams;
    const suggestion = suggest(written, candidates);
    return [problem(raw.origin, key, issue.message, { value, allowed, suggestion })];
  }
  const allowed = node?.allowed ?? null;
  if (!exact) return [problem(raw.origin, key, 'is missing', { allowed })];
  if (issue.code === 'too_big' && node?.kind === 'list') {
    const most = `at most ${issue.maximum}`;
    return [problem(raw.origin, key, 'has too many entries', { allowed: most })];
  }
  const own = issue.code === 'custom' && issue.message !== 'Invalid input';
  const shape = node === undefined || own ? null : shapeProblem(raw, node);
  if (shape !== null) {
    const isShown = value !== null && value !== masked && written.length <= valueShownLength;
    const hint = isShown ? shapeHint(path, written) : null;
    const ways = hint === null ? allowed : `${allowed ?? ''}, as in ${hint}`;
    return [problem(raw.origin, key, shape, { value, allowed: ways })];
  }
  const choices = node !== undefined && isLeaf(node) ? node.choices : [];
  return [
    problem(raw.origin, key, own ? issue.message : 'is not allowed', {
      value,
      allowed,
      suggestion: suggest(written, choices),
    }),
  ];
}

/** The only key that begins so: `username` for `user`. */
function begunBy(unknown: string, known: readonly string[]): string | null {
  const [meant, other] = known.filter((key) => key.startsWith(unknown));
  return unknown.length < 3 || other !== undefined ? null : (meant ?? null);
}

/** The key below another of the section that is called so: `to.folder` for `folder`. */
function below(unknown: string, node: KeyNode | undefined): string | null {
  if (node?.kind !== 'section') return null;
  const having = [...node.keys].filter(
    ([, child]) => child.kind === 'section' && child.keys.has(unknown),
  );
  const needed = having.filter(([, child]) => child.fallback === null);
  const [meant, other] = having.length > 1 ? needed : having;
  return meant === undefined || other !== undefined ? null : `${meant[0]}.${unknown}`;
}

/** Keys where there is one value, or the other way round; null: what is there has the right shape. */
function shapeProblem(raw: RawNode, node: KeyNode): string | null {
  const wanted = isLeaf(node) ? 'scalar' : node.kind === 'list' ? 'list' : 'map';
  if (raw.kind === wanted) return null;
  const written = { map: 'has keys below it', list: 'is a list', scalar: 'is one value' }[raw.kind];
  const takes = { map: 'keys below it', list: 'a list', scalar: 'one value' }[wanted];
  return `${written}, and takes ${takes}`;
}

/** What is written at a key, as far as it may be shown. */
function showValue(raw: RawNode, node: KeyNode | undefined): string | null {
  if (raw.kind !== 'scalar' || node === undefined) return null;
  if (holdsSecret(node) && (isLeaf(node) || !isPlainPath(raw.text))) return masked;
  const shown = isLeaf(node) ? maskLeaf(node, raw.text) : raw.text;
  const text = typeof raw.value === 'string' ? JSON.stringify(shown) : raw.text;
  return text.length > valueShownLength ? `${text.slice(0, valueShownLength)}…` : text;
}
