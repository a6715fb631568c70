/** Tables and quantities for people. */

/** A sentence does not make its line longer than this. */
const lineLength = 100;
/** A last cell that is longer is a sentence. */
const wordLength = 40;

/**
 * Lines of a table with an empty line before it; none without rows. A sentence in the last column that
 * would make its line too long stands below it, whole: a reason that is cut off explains nothing.
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  if (rows.length === 0) return [];
  const last = head.length - 1;
  const all = [head, ...rows.map((row) => row.map((cell, at) => oneLine(cell, at === last)))];
  const widths = head.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const lines = all.flatMap((row) => {
    const cells = row.slice(0, last).map((cell, column) => cell.padEnd(widths[column] ?? 0));
    const end = row[last] ?? '';
    const line = [...cells, end].join('  ').trimEnd();
    if (line.length <= lineLength || end.length <= wordLength) return [line];
    return [cells.join('  ').trimEnd(), `  ${end}`];
  });
  return ['', ...lines];
}

/** `1 file`, `2 files`. */
export function counted(count: number, what: string, several = `${what}s`): string {
  return `${count} ${count === 1 ? what : several}`;
}

/** In parentheses, why the newest of several failed; nothing where that is not known. */
export function becauseOf(newest: { readonly reason: string } | null): string {
  return newest === null ? '' : ` (at last: ${newest.reason})`;
}

/** `1.5 MB`; decimal units. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of ['KB', 'MB', 'GB', 'TB']) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return unit === 'B' ? `${value} B` : `${value.toFixed(1)} ${unit}`;
}

/** `0 s`, `12 s`, `5 min`, `3.5 h`, `2.0 d`. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, ageMs) / 1000;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} h`;
  return `${(seconds / 86_400).toFixed(1)} d`;
}

/** What others wrote may hold line ends and the control sequences of a terminal. */
function oneLine(text: string, isWhole: boolean): string {
  const clean = text.replace(/[\p{Cc}\p{Cf}]+/gu, ' ');
  return isWhole || clean.length <= 100 ? clean : `${clean.slice(0, 99)}…`;
}
