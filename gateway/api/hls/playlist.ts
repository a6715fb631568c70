/**
 * HLS media playlists (RFC 8216) from rows of the fragment index: pure functions and the one
 * piece of state that a live playlist needs.
 *
 * A segment is a fragment. EXT-X-DISCONTINUITY and EXT-X-MAP come where the run or the init
 * changes, EXT-X-PROGRAM-DATE-TIME with every segment: its time in the recording is what the
 * timeline and the chart are aligned by. The parts of low-latency HLS are a fragment's chunks
 * (live-parts.ts).
 */
import type { Fragment } from '../../../storage/model.ts';
import { isoFromUs } from '../rest/times.ts';

/** As many parts, and so many seconds, a player stays behind the newest one. */
const partsHeldBack = 3;
const leastHoldBackS = 0.8;

export type SegmentRow = Pick<
  Fragment,
  'number' | 'runId' | 'initId' | 'startUs' | 'durationUs' | 'damaged'
>;

export interface Segment {
  readonly row: SegmentRow;
  /** Its media does not continue that of the segment before it. */
  readonly discontinuity: boolean;
}

export interface PlaylistOptions {
  readonly segments: readonly Segment[];
  readonly mediaSequence: number;
  readonly discontinuitySequence: number;
  readonly targetDurationS: number;
  /** Complete and never to change; otherwise live, and to be asked for again. */
  readonly ended: boolean;
  /** Where playing is to begin, after the start of the first segment; 0: at it. */
  readonly startOffsetS: number;
  readonly segmentUri: (row: SegmentRow) => string;
  readonly initUri: (initId: number) => string;
  /** Left out: there are no parts. */
  readonly lowLatency?: LowLatency;
}

export interface Part {
  readonly durationUs: number;
  /** Begins with a keyframe. */
  readonly independent: boolean;
}

/** What a player needs that is closer to now than a segment is long. */
export interface LowLatency {
  /** Of a segment; null: it is listed without. */
  readonly partsOf: (row: SegmentRow) => readonly Part[] | null;
  /** What has come of the segment after the last; it continues that. */
  readonly open: {
    readonly row: Pick<SegmentRow, 'number' | 'startUs'>;
    readonly parts: readonly Part[];
  } | null;
  readonly partTargetUs: number;
  readonly partUri: (row: Pick<SegmentRow, 'number' | 'startUs'>, index: number) => string;
}

/** The playlist's text, for `application/vnd.apple.mpegurl`. */
export function playlistText(options: PlaylistOptions): string {
  const lines = [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    `#EXT-X-TARGETDURATION:${options.targetDurationS}`,
    `#EXT-X-MEDIA-SEQUENCE:${options.mediaSequence}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${options.discontinuitySequence}`,
    '#EXT-X-INDEPENDENT-SEGMENTS',
  ];
  if (options.ended) lines.push('#EXT-X-PLAYLIST-TYPE:VOD');
  if (options.startOffsetS > 0) {
    lines.push(`#EXT-X-START:TIME-OFFSET=${options.startOffsetS.toFixed(3)},PRECISE=YES`);
  }
  const { lowLatency } = options;
  if (lowLatency !== undefined) lines.push(...controlLines(lowLatency, options.targetDurationS));
  const partsFromUs = partsBegin(options);
  let initId: number | null = null;
  for (const { row, discontinuity } of options.segments) {
    if (discontinuity) lines.push('#EXT-X-DISCONTINUITY');
    if (row.initId !== initId || discontinuity) {
      initId = row.initId;
      lines.push(`#EXT-X-MAP:URI="${options.initUri(row.initId)}"`);
    }
    lines.push(`#EXT-X-PROGRAM-DATE-TIME:${isoFromUs(row.startUs)}`);
    if (lowLatency !== undefined && row.startUs >= partsFromUs) {
      lines.push(...partLines(lowLatency, row, lowLatency.partsOf(row) ?? []));
    }
    lines.push(`#EXTINF:${(row.durationUs / 1e6).toFixed(6)},`, options.segmentUri(row));
  }
  if (lowLatency?.open != null) lines.push(...openLines(lowLatency, lowLatency.open));
  if (options.ended) lines.push('#EXT-X-ENDLIST');
  lines.push('');
  return lines.join('\n');
}

/** Sections 4.4.3.7 and 4.4.3.8. */
function controlLines({ partTargetUs }: LowLatency, targetDurationS: number): string[] {
  const targetS = partTargetUs / 1e6;
  const holdBackS = Math.max(partsHeldBack * targetS, leastHoldBackS);
  const control = [
    'CAN-BLOCK-RELOAD=YES',
    `PART-HOLD-BACK=${holdBackS.toFixed(3)}`,
    `HOLD-BACK=${(3 * targetDurationS).toFixed(3)}`,
  ];
  return [
    `#EXT-X-SERVER-CONTROL:${control.join(',')}`,
    `#EXT-X-PART-INF:PART-TARGET=${targetS.toFixed(3)}`,
  ];
}

/** Parts are listed of the last three target durations. */
function partsBegin({ segments, targetDurationS }: PlaylistOptions): number {
  const last = segments.at(-1)?.row;
  return last === undefined ? 0 : last.startUs + last.durationUs - 3e6 * targetDurationS;
}

function partLines(
  { partUri }: LowLatency,
  row: Pick<SegmentRow, 'number' | 'startUs'>,
  parts: readonly Part[],
): string[] {
  return parts.map(({ durationUs, independent }, index) => {
    const more = independent ? ',INDEPENDENT=YES' : '';
    const durationS = (durationUs / 1e6).toFixed(6);
    return `#EXT-X-PART:DURATION=${durationS},URI="${partUri(row, index)}"${more}`;
  });
}

function openLines(
  lowLatency: LowLatency,
  { row, parts }: NonNullable<LowLatency['open']>,
): string[] {
  const next = lowLatency.partUri(row, parts.length);
  return [
    `#EXT-X-PROGRAM-DATE-TIME:${isoFromUs(row.startUs)}`,
    ...partLines(lowLatency, row, parts),
    `#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${next}"`,
  ];
}

/** Two rows of one run under one init that leave out nothing belong together. */
export function continues(before: SegmentRow, after: SegmentRow): boolean {
  const gapUs = after.startUs - (before.startUs + before.durationUs);
  return before.runId === after.runId && before.initId === after.initId && gapUs < 500_000;
}

/** Marks where rows, in order of time, do not continue each other. */
export function segmentsOf(rows: readonly SegmentRow[], before?: SegmentRow): Segment[] {
  let last = before;
  return rows.map((row) => {
    const segment = { row, discontinuity: last !== undefined && !continues(last, row) };
    last = row;
    return segment;
  });
}

/** The longest segment, rounded as RFC 8216 section 4.3.3.1 compares it; at least 1. */
export function targetDurationS(rows: readonly SegmentRow[]): number {
  return rows.reduce((longest, row) => Math.max(longest, Math.round(row.durationUs / 1e6)), 1);
}

/**
 * The sliding window of one live camera. Between two looks at it the sequence numbers rise by
 * exactly what left the window, whoever looks and however often, and the target duration never
 * falls.
 *
 * The media sequence begins at the number of the window's first fragment: numbers rise by one at
 * least from fragment to fragment, whatever the clock says, so after a restart of the gateway, or
 * when nobody looked for longer than the window, it goes on above where it was. The discontinuity sequence
 * begins at the number of the run, which rises too, and stays small: hls.js keeps an array that is
 * as long, and one of 10^9 froze the browser.
 */
export class LiveWindow {
  #segments: Segment[] = [];
  #mediaSequence = 0;
  #discontinuitySequence = 0;
  #targetDurationS = 1;

  /** @param rows the newest of the camera, oldest first, always asked for in the same number */
  update(rows: readonly SegmentRow[]): void {
    const first = rows[0];
    if (first === undefined) return;
    const last = this.#segments.at(-1)?.row;
    if (last === undefined || first.number > last.number) {
      this.#beginAt(first);
      this.#segments = segmentsOf(rows);
    } else {
      const added = rows.filter((row) => row.number > last.number);
      this.#segments.push(...segmentsOf(added, last));
      this.#dropBefore(first.number);
    }
    this.#targetDurationS = Math.max(this.#targetDurationS, targetDurationS(rows));
  }

  /** What it has now. */
  get rows(): readonly SegmentRow[] {
    return this.#segments.map(({ row }) => row);
  }

  get playlist(): Pick<
    PlaylistOptions,
    'segments' | 'mediaSequence' | 'discontinuitySequence' | 'targetDurationS'
  > {
    return {
      segments: [...this.#segments],
      mediaSequence: this.#mediaSequence,
      discontinuitySequence: this.#discontinuitySequence,
      targetDurationS: this.#targetDurationS,
    };
  }

  #beginAt(first: SegmentRow): void {
    const marks = this.#segments.filter((segment) => segment.discontinuity).length;
    this.#mediaSequence = Math.max(this.#mediaSequence + this.#segments.length, first.number);
    this.#discontinuitySequence = Math.max(this.#discontinuitySequence + marks + 1, first.runId);
  }

  #dropBefore(number: number): void {
    for (;;) {
      const oldest = this.#segments[0];
      if (oldest === undefined || oldest.row.number >= number) return;
      this.#segments.shift();
      this.#mediaSequence += 1;
      if (oldest.discontinuity) this.#discontinuitySequence += 1;
    }
  }
}
