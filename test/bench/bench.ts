/**
 * What a benchmark is, and how its figures are judged and shown.
 *
 * Every figure stands beside a ceiling or a peer measured in the same run on the same machine: the
 * ratio of the two is what may be compared between machines, the figure alone is not. Targets are
 * shown, never enforced: a busy machine is no reason for a failure.
 *
 * The command line is in `run.ts`; each benchmark is a file of its own beside it.
 */
import type { Scope } from '../support/scope.ts';

export interface Figure {
  /** What was measured, e.g. `append, 4 shards`. */
  readonly name: string;
  readonly value: number;
  /** e.g. `records/s`, `ms`, `MB`. */
  readonly unit: string;
  /** The ceiling or the peer, in the same unit. */
  readonly against?: { readonly name: string; readonly value: number };
  /** `value` in units of `against`, when that is of interest. */
  readonly ratio?: number;
  /** What is to be reached: by the ratio where there is one, else by the value. */
  readonly target?: { readonly atLeast: number } | { readonly atMost: number };
}

export interface BenchmarkContext extends Scope {
  /** Says what is being done, to whoever waits for it. */
  readonly note: (text: string) => void;
  /** An empty folder on the disk that is measured; removed at the end. */
  readonly folder: string;
}

export interface Benchmark {
  /** As on the command line. */
  readonly name: string;
  /** One line for the reader of the table. */
  readonly title: string;
  readonly run: (context: BenchmarkContext) => Promise<readonly Figure[]>;
}

/** Whether the figure reaches its target; null when it has none. */
export function reaches({ value, ratio, target }: Figure): boolean | null {
  if (target === undefined) return null;
  const judged = ratio ?? value;
  return 'atLeast' in target ? judged >= target.atLeast : judged <= target.atMost;
}

/** The middle one of several measurements. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The smallest measurement that at least `share` (0 to 1) of all do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const index = Math.max(0, Math.ceil(share * sorted.length) - 1);
  const value = sorted[index];
  if (value === undefined) throw new RangeError('there is nothing to take a quantile of');
  return value;
}

/** The figures as a Markdown table, as it stands in the README. */
export function markdownTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    `${showNumber(figure.value)} ${figure.unit}`,
    figure.against === undefined
      ? ''
      : `${showNumber(figure.against.value)} (${figure.against.name})`,
    figure.ratio === undefined ? '' : showNumber(figure.ratio),
    showTarget(figure),
  ]);
  const header = ['measured', 'Headgate', 'beside it', 'ratio', 'target'];
  const widths = header.map((title, column) =>
    Math.max(title.length, 3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(header), rule, ...rows.map(line)].join('\n');
}

function showTarget(figure: Figure): string {
  if (figure.target === undefined) return '';
  const { target } = figure;
  const bound =
    'atLeast' in target ? `≥ ${showNumber(target.atLeast)}` : `≤ ${showNumber(target.atMost)}`;
  return `${bound} ${reaches(figure) === true ? '✓' : '✗'}`;
}

/** Three significant digits, thousands apart: 412,000, 3.57, 0.0123. */
function showNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 3 });
}
