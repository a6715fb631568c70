/** A configuration as it may be shown: secrets and the passwords of URLs are masked. */
import { masked, maskUrls } from '../observe/mask.ts';
import type { Config } from './schema.ts';
import { configTree, mapLeaves, type LeafNode } from './tree.ts';

export function redact(config: Config): Config {
  return mapLeaves(configTree, config, maskLeaf) as Config;
}

/** What may be shown of the value of a key, whatever was written there. */
export function maskLeaf(leaf: LeafNode, value: unknown): unknown {
  if (leaf.secret) return masked;
  if (typeof value !== 'string') return value;
  const text = maskUrls(value);
  // What should be a URL and is not one may still hold a password.
  const isUrl = /^[a-z]+:\/\//i.test(text);
  return leaf.url && !isUrl && text.includes('@')
    ? masked + text.slice(text.lastIndexOf('@'))
    : text;
}
