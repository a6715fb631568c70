/**
 * The schema of headgate.yaml as a plain tree of keys, for all that has to walk it: coercion,
 * environment variables, masking, printing. The only reader of zod's inside.
 */
import type { z } from 'zod';
import { keyNotes } from './leaves.ts';
import { configSchema } from './schema.ts';

interface Common {
  readonly description: string;
  /** What may be written there, in words. */
  readonly allowed: string;
  /** Set when the key may be left out and then has this value. */
  readonly fallback: { readonly value: unknown } | null;
  /** Whether the value null is allowed. */
  readonly nullable: boolean;
  readonly example: unknown;
}

export interface SectionNode extends Common {
  readonly kind: 'section';
  readonly keys: ReadonlyMap<string, KeyNode>;
  /** Exactly one of the keys is given. */
  readonly oneOf: boolean;
}

export interface MapNode extends Common {
  readonly kind: 'map';
  /** What an entry may be called, in words. */
  readonly nameAllowed: string;
  readonly entry: KeyNode;
}

export interface ListNode extends Common {
  readonly kind: 'list';
  readonly item: KeyNode;
}

export interface LeafNode extends Common {
  readonly kind: 'text' | 'number' | 'flag' | 'choice' | 'size';
  readonly secret: boolean;
  /** A file or folder name. */
  readonly path: boolean;
  /** A program: without a slash it is looked for in PATH. */
  readonly program: boolean;
  readonly url: boolean;
  /** The values of a choice. */
  readonly choices: readonly string[];
}

export type KeyNode = SectionNode | MapNode | ListNode | LeafNode;

const shownNameLength = 128;

/** Keys, entry names and list positions from the root. */
export type KeyPath = readonly (string | number)[];

/** `mqtt.routes[0].topic`. */
export function showPath(path: KeyPath): string {
  const text = path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part.slice(0, shownNameLength)}`))
    .join('');
  return text.startsWith('.') ? text.slice(1) : text;
}

/** The node below `node` that a part of a path leads to; undefined for an unknown key. */
export function childOf(node: KeyNode, part: string | number): KeyNode | undefined {
  if (node.kind === 'section') return typeof part === 'string' ? node.keys.get(part) : undefined;
  if (node.kind === 'map') return node.entry;
  return node.kind === 'list' ? node.item : undefined;
}

export function nodeAt(root: KeyNode, path: KeyPath): KeyNode | undefined {
  let node: KeyNode | undefined = root;
  for (const part of path) node = node === undefined ? undefined : childOf(node, part);
  return node;
}

export function isLeaf(node: KeyNode): node is LeafNode {
  return node.kind !== 'section' && node.kind !== 'map' && node.kind !== 'list';
}

/**
 * A copy of a configuration (or a part of it) with every leaf replaced. Values that are null stay.
 */
export function mapLeaves(
  node: KeyNode,
  value: unknown,
  replace: (leaf: LeafNode, value: unknown) => unknown,
): unknown {
  if (value === null || value === undefined) return value;
  if (isLeaf(node)) return replace(node, value);
  if (Array.isArray(value)) {
    return value.map((item, index) => {
      const child = childOf(node, index);
      return child === undefined ? (item as unknown) : mapLeaves(child, item, replace);
    });
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const child = childOf(node, key);
      return [key, child === undefined ? (inner as unknown) : mapLeaves(child, inner, replace)];
    }),
  );
}

/** Whether the node or anything below it is a secret. */
export function holdsSecret(node: KeyNode): boolean {
  if (isLeaf(node)) return node.secret;
  if (node.kind === 'section') return [...node.keys.values()].some(holdsSecret);
  return holdsSecret(node.kind === 'map' ? node.entry : node.item);
}

/** Describes a schema built of the leaves in leaves.ts. Any other shape is a programmer's mistake. */
export function describeTree(schema: z.core.$ZodType): KeyNode {
  let fallback: Common['fallback'] = null;
  let nullable = false;
  let description = '';
  let inner = schema as z.core.$ZodTypes;
  for (;;) {
    description ||= (inner as unknown as z.ZodType).description ?? '';
    const def = inner._zod.def;
    if (def.type === 'default' || def.type === 'prefault') {
      fallback ??= { value: def.defaultValue };
    } else if (def.type === 'nullable') {
      nullable = true;
    } else if (def.type !== 'optional') {
      break;
    }
    inner = def.innerType as z.core.$ZodTypes;
  }
  const notes = keyNotes.get(inner) ?? {};
  return describeInner(inner, {
    description,
    allowed: `${notes.allowed ?? ''}${nullable ? ', or null' : ''}`,
    fallback,
    nullable,
    example: notes.example,
  });
}

function describeInner(schema: z.core.$ZodTypes, common: Common): KeyNode {
  const notes = keyNotes.get(schema) ?? {};
  const def = schema._zod.def;
  const leaf = (kind: LeafNode['kind'], choices: readonly string[] = []): LeafNode => ({
    ...common,
    kind,
    choices,
    secret: notes.secret === true,
    path: notes.path === true,
    program: notes.program === true,
    url: notes.url === true,
  });
  if (notes.size === true) return leaf('size');
  if (def.type === 'object') {
    const keys = new Map<string, KeyNode>();
    for (const [key, child] of Object.entries(def.shape)) keys.set(key, describeTree(child));
    const allowed = notes.allowed ?? `a map with the keys ${[...keys.keys()].join(', ')}`;
    return { ...common, allowed, kind: 'section', keys, oneOf: notes.oneOf === true };
  }
  if (def.type === 'record') {
    const nameAllowed = describeTree(def.keyType).allowed;
    return { ...common, kind: 'map', nameAllowed, entry: describeTree(def.valueType) };
  }
  if (def.type === 'array') return { ...common, kind: 'list', item: describeTree(def.element) };
  if (def.type === 'enum') return leaf('choice', Object.values(def.entries).map(String));
  if (def.type === 'string') return leaf('text');
  if (def.type === 'number') return leaf('number');
  if (def.type === 'boolean') return leaf('flag');
  throw new TypeError(`a configuration key can't be of the kind ${def.type}`);
}

/** All keys of headgate.yaml. */
export const configTree = describeTree(configSchema);
