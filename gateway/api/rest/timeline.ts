/** What of a camera is recorded, from its runs: a run leaves out nothing between its ends. */
import type { Fragment, Run } from '../../../storage/model.ts';
import type { Timeline } from './camera-schemas.ts';
import { isoFromUs } from './times.ts';

export interface TimelineOptions {
  /** That overlap the time asked for, in order of start. */
  readonly runs: readonly Run[];
  readonly complete: boolean;
  /** The fragment recorded last, if there is one: a run that goes on has come to its end. */
  readonly newest: Pick<Fragment, 'runId' | 'startUs' | 'durationUs'> | undefined;
  readonly fromUs: number;
  readonly toUs: number;
  /** Spans closer together are joined: what is narrower than a pixel need not be sent. */
  readonly mergeGapUs: number;
}

interface Span {
  readonly startUs: number;
  endUs: number;
  endReason: string | null;
}

/** Spans of footage within [fromUs, toUs) and the gaps between them. */
export function timelineOf(options: TimelineOptions): Timeline {
  const { runs, newest, fromUs, toUs, mergeGapUs } = options;
  const spans: Span[] = [];
  for (const run of runs) {
    const startUs = Math.max(run.keptFromUs, fromUs);
    const endUs = Math.min(run.endUs ?? reachedUs(run, newest), toUs);
    if (startUs >= endUs) continue;
    const before = spans.at(-1);
    if (before !== undefined && startUs - before.endUs <= mergeGapUs) {
      before.endUs = Math.max(before.endUs, endUs);
      before.endReason = run.endReason;
    } else spans.push({ startUs, endUs, endReason: run.endReason });
  }
  return {
    startTime: isoFromUs(fromUs),
    endTime: isoFromUs(toUs),
    spans: spans.map((span) => ({
      startTime: isoFromUs(span.startUs),
      endTime: isoFromUs(span.endUs),
    })),
    gaps: spans.slice(1).map((span, index) => ({
      startTime: isoFromUs(spans[index]?.endUs ?? fromUs),
      endTime: isoFromUs(span.startUs),
      reason: spans[index]?.endReason ?? null,
    })),
    complete: options.complete,
  };
}

/** Where a run that goes on has come to; its start before its first fragment. */
function reachedUs(run: Run, newest: TimelineOptions['newest']): number {
  return newest?.runId === run.id ? newest.startUs + newest.durationUs : run.startUs;
}
