/**
 * Fragments by one of the two times that the API knows.
 *
 * - The server's: when the first byte arrived here.
 * - The producer's: what its own clock said, where that is within 10 s of the fragment's place on the
 *   camera's timeline; else that place. A clock that is a day off so makes no footage that nobody
 *   finds.
 *
 * Footage is found by its place. It was placed within 12 h of its arrival (`ingest/mkv/recorder.ts`
 * takes no older backlog), so that far around a stretch of arrivals it is looked for.
 */
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import { invalid } from './errors.ts';
import type { FragmentSelector } from './members.ts';

export type Origin = FragmentSelector['FragmentSelectorType'];

export interface Selection {
  readonly origin: Origin;
  /** Both ends are included. */
  readonly fromMs: number;
  readonly toMs: number;
}

const believedMs = 10_000;
const placedWithinMs = 12 * 3_600_000;
const rowsAtOnce = 1_000;
/** Later than any footage is dated. */
export const endOfTimeMs = Date.UTC(2200, 0, 1);

/** @throws KinesisVideoError */
export function selectionOf({ FragmentSelectorType, TimestampRange }: FragmentSelector): Selection {
  const { StartTimestamp: fromMs, EndTimestamp: toMs } = TimestampRange;
  if (fromMs > toMs) throw invalid('StartTimestamp must not be after EndTimestamp.');
  return {
    origin: FragmentSelectorType,
    fromMs: Math.max(0, fromMs),
    toMs: Math.min(toMs, endOfTimeMs),
  };
}

export function producerMs({ producerMs: told, startUs }: Fragment): number {
  const placedMs = Math.round(startUs / 1000);
  return told !== null && Math.abs(told - placedMs) <= believedMs ? told : placedMs;
}

export function timestampMs(fragment: Fragment, origin: Origin): number {
  return origin === 'SERVER_TIMESTAMP' ? fragment.serverMs : producerMs(fragment);
}

export interface Selected {
  /** In order of their place on the timeline. */
  readonly fragments: readonly Fragment[];
  /** Where to go on, as `fromUs`; null: that was all. */
  readonly nextUs: number | null;
}

/**
 * Fragments whose start is within a stretch of time.
 * @param fromUs what `nextUs` was before; null: from the beginning
 * @throws StorageError
 */
export async function selectFragments(
  video: VideoStore,
  camera: string,
  selection: Selection,
  limit: number,
  fromUs: number | null = null,
): Promise<Selected> {
  const byArrival = selection.origin === 'SERVER_TIMESTAMP';
  const marginMs = byArrival ? placedWithinMs : believedMs;
  const toUs = (selection.toMs + marginMs) * 1000;
  const fragments: Fragment[] = [];
  for (let atUs = fromUs ?? (selection.fromMs - marginMs) * 1000; atUs < toUs;) {
    const wanted = Math.min(rowsAtOnce, limit - fragments.length + 2);
    const rows = await video.fragments({
      ...{ camera, fromUs: atUs, toUs, limit: wanted },
      ...(byArrival ? { arrivedMs: [selection.fromMs, selection.toMs] as const } : {}),
    });
    for (const row of rows) {
      // One that begins before was on the page before, or is not meant.
      if (row.startUs < atUs || !isWithin(row, selection)) continue;
      if (fragments.length === limit) return { fragments, nextUs: row.startUs };
      fragments.push(row);
    }
    const last = rows.at(-1);
    if (last === undefined || rows.length < wanted) break;
    atUs = Math.max(atUs, last.startUs) + 1;
  }
  return { fragments, nextUs: null };
}

function isWithin(fragment: Fragment, { origin, fromMs, toMs }: Selection): boolean {
  const atMs = timestampMs(fragment, origin);
  return atMs >= fromMs && atMs <= toMs;
}
