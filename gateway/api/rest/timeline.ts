/** What of a camera is recorded, from its runs: a run leaves out nothing between its ends. */
import type { CameraDescription, Run } from '../../../storage/model.ts';
import type { Timeline } from './schemas.ts';
import { isoFromUs } from './times.ts';

export interface TimelineOptions {
  /** That overlap the time asked for, in order of start. */
  readonly runs: readonly Run[];
  readonly complete: boolean;
  /** The oldest and newest footage there is: retention cuts the first run, recording the last. */
  readonly footage: Pick<CameraDescription, 'firstStartUs' | 'lastEndUs'>;
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
  const { runs, footage, fromUs, toUs, mergeGapUs } = options;
  const spans: Span[] = [];
  for (const run of runs) {
    const startUs = Math.max(run.startUs, fromUs, footage.firstStartUs ?? toUs);
    const endUs = Math.min(run.endUs ?? footage.lastEndUs ?? fromUs, toUs);
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
