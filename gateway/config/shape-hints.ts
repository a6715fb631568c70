/** How what is written in one value is written in keys: `function: ./a.mjs` as `{ module: { path: ./a.mjs } }`. */
import type { KeyPath } from './tree.ts';

const isTime = (text: string): boolean => /^\d{4}-\d{2}-\d{2}T/.test(text);
const isPath = (text: string): boolean => text.includes('/');

/** By the last key; null: what is written says nothing of it. */
const hints: Readonly<Record<string, (text: string) => string | null>> = {
  function: (text) => `{ module: { path: ${text} } }`,
  transform: (text) => `{ function: { module: { path: ${text} } } }`,
  backup: (text) => `{ to: { folder: { path: ${text} } } }`,
  failed: (text) => `{ to: { folder: { path: ${text} } } }`,
  folder: (text) => `{ path: ${text} }`,
  deadLetter: (text) => (isPath(text) ? `{ folder: ${text} }` : `{ stream: ${text} }`),
  startAt: (text) => {
    if (text === 'earliest' || text === 'latest') return `{ edge: ${text} }`;
    return isTime(text) ? `{ time: ${text} }` : null;
  },
};

/** @param text what is written; it is shown @returns null: there is nothing to show */
export function shapeHint(path: KeyPath, text: string): string | null {
  const key = String(path.at(-1));
  const hint = Object.hasOwn(hints, key) ? hints[key] : undefined;
  const written = hint?.(text) ?? null;
  return written === null ? null : `${key}: ${written}`;
}

/** Whether the text is the path of a folder or a module, and no secret by mistake. */
export function isPlainPath(text: string): boolean {
  return /^\.{0,2}\/[a-z0-9_./-]*$|^[\w./-]+\.[cm]?js$/.test(text);
}
