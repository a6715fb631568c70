/** "Did you mean …?": the nearest of some names, or none that is near enough. */

const longestCompared = 64;

/** Edits (insert, delete, replace, swap two neighbours) that turn one text into the other. */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (last[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const swaps = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      current.push(
        Math.min(
          replaced,
          (last[column] ?? 0) + 1,
          (current[column - 1] ?? 0) + 1,
          swaps && row > 1 && column > 1 ? (beforeLast[column - 2] ?? 0) + 1 : Infinity,
        ),
      );
    }
    beforeLast = last;
    last = current;
  }
  return last[b.length] ?? 0;
}

/** The candidate nearest to `written`, at most a third of its letters away; null if none is. */
export function suggest(written: string, candidates: Iterable<string>): string | null {
  if (written.length > longestCompared) return null;
  const wanted = plain(written);
  let best: string | null = null;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - written.length) > longestCompared / 2) continue;
    const distance = editDistance(wanted, plain(candidate));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Case, dashes and underscores are what people mix up first. */
function plain(text: string): string {
  return text.toLowerCase().replaceAll(/[-_ ]/g, '');
}
