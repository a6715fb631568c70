/** How values are written where a configuration is printed. */
import { formatSize } from './leaves.ts';
import type { LeafNode } from './tree.ts';

/** The value of a key as YAML that reads back as the same value. */
export function showLeaf(leaf: LeafNode, value: unknown): string {
  if (leaf.kind === 'size' && typeof value === 'number') return formatSize(value);
  return typeof value === 'string' ? showText(value) : JSON.stringify(value);
}

/** A text as YAML writes it: plain where nothing can be misread. */
export function showText(text: string): string {
  const plain = /^([a-zA-Z./][a-zA-Z0-9_./-]*|(\d{1,3}\.){3}\d{1,3})$/.test(text);
  const misread = /^(true|false|null|\.nan|\.inf)$/i.test(text);
  if (plain && !misread) return text;
  return /^[^'\p{C}\u2028\u2029]*$/u.test(text) ? `'${text}'` : JSON.stringify(text);
}

/** Lines of at most 98 characters, each beginning with `lead`. */
export function wrap(text: string, lead: string): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && lead.length + line.length + 1 + word.length > 98) {
      lines.push(`${lead}${line}`);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, `${lead}${line}`];
}
