/**
 * Where a line through the means of time's buckets breaks, in the words of uPlot: `null` breaks it,
 * `undefined` has nothing to say.
 */
export type Point = number | null | undefined;

/** So much longer than usual between two readings is a gap. */
const gapFactor = 5;

/**
 * Breaks the line where nothing came for much longer than is usual in this series.
 * @param means of the buckets, `null` where nothing came
 * @param records in all of them: of several in most buckets, the next bucket is the usual distance
 */
export function brokenAtGaps(means: readonly (number | null)[], records: number): Point[] {
  const filled = means.flatMap((mean, index) => (mean === null ? [] : [index]));
  const distances = filled.slice(1).map((index, at) => index - (filled[at] ?? index));
  const usual = records >= 2 * filled.length ? 1 : median(distances);
  const points: Point[] = means.map((mean) => mean ?? undefined);
  distances.forEach((distance, at) => {
    const before = filled[at] ?? 0;
    // All of it: uPlot takes the line up again behind the last `null`.
    if (distance > gapFactor * usual) points.fill(null, before + 1, before + distance);
  });
  return points;
}

/** The indexes of the points that no line reaches: they are to be drawn as such. */
export function standingAlone(points: readonly Point[]): number[] {
  const alone: number[] = [];
  let line: number[] = [];
  const end = (): void => {
    if (line.length === 1) alone.push(...line);
    line = [];
  };
  points.forEach((point, index) => {
    if (point === null) end();
    else if (point !== undefined) line.push(index);
  });
  end();
  return alone;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 1;
}
