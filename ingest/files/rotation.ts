/** What the names of rotated files have in common. */
import { basename, dirname } from 'node:path';

/** `.1`, `-20260131`, `.2026-01-31_12`, `.old`, `.gz` and the like. */
const suffix = /(?<=.)(?:\.(?:gz|bz2|xz|zst|old|bak|orig)|[-._]\d[-_.T\d]*)$/i;

/**
 * The name that a rotated file had when it was written to, as far as its name tells.
 *
 * @example stemOf('/var/log/app.log.2.gz') // 'app.log'
 */
export function stemOf(path: string): string {
  let stem = basename(path);
  for (;;) {
    const shorter = stem.replace(suffix, '');
    if (shorter === stem) return stem;
    stem = shorter;
  }
}

/** Whether the two may be the same file, before and after it was rotated. */
export function isAlike(a: string, b: string): boolean {
  return dirname(a) === dirname(b) && stemOf(a) === stemOf(b);
}
