/**
 * Texts in texts, in time that grows with their lengths alone. What JavaScript has for it multiplies
 * them: a search for a few hundred thousand letters that are alike takes it a minute.
 */
import type { Steps } from './steps.ts';

/** Below, JavaScript's own search costs no more than a few looks at each character. */
const shortMax = 8;

/** Where it begins first; -1: nowhere. */
export function placeIn(text: string, searched: string, steps: Steps): number {
  steps.takeCharacters(text.length);
  if (searched.length <= shortMax) return text.indexOf(searched);
  for (const place of placesIn(text, searched, steps)) return place;
  return -1;
}

/** Where it begins last; -1: nowhere. */
export function lastPlaceIn(text: string, searched: string, steps: Steps): number {
  steps.takeCharacters(text.length);
  if (searched.length <= shortMax) return text.lastIndexOf(searched);
  let last = -1;
  for (const place of placesIn(text, searched, steps)) last = place;
  return last;
}

/** What `text.split(separator)` gives. */
export function partsOf(text: string, separator: string, steps: Steps): readonly string[] {
  steps.takeItems(text.length);
  if (separator.length <= shortMax) return text.split(separator);
  const parts: string[] = [];
  let from = 0;
  for (const place of placesIn(text, separator, steps)) {
    if (place < from) continue;
    parts.push(text.slice(from, place));
    from = place + separator.length;
  }
  parts.push(text.slice(from));
  return parts;
}

/** All places, those that overlap as well: the algorithm of Knuth, Morris and Pratt. */
function* placesIn(text: string, searched: string, steps: Steps): Generator<number> {
  if (searched.length > text.length) return;
  steps.takeItems(text.length + searched.length);
  const shorter = repeats(searched);
  let matched = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charCodeAt(at);
    matched = longer(searched, shorter, matched, character);
    if (matched < searched.length) continue;
    yield at + 1 - matched;
    matched = shorter[matched - 1] ?? 0;
  }
}

/** For each beginning of a text, how long a shorter one it ends with is. */
function repeats(text: string): Int32Array {
  const shorter = new Int32Array(text.length);
  let matched = 0;
  for (let at = 1; at < text.length; at += 1) {
    matched = longer(text, shorter, matched, text.charCodeAt(at));
    shorter[at] = matched;
  }
  return shorter;
}

/** How many characters match after one more. */
function longer(text: string, shorter: Int32Array, before: number, character: number): number {
  let matched = before;
  while (matched > 0 && text.charCodeAt(matched) !== character) matched = shorter[matched - 1] ?? 0;
  return text.charCodeAt(matched) === character ? matched + 1 : matched;
}
