/**
 * The manifest of a session. Its periods are those of `dash/manifest.ts`: the runs, whose media
 * counts from their start. What is replayed is dated as if it were recorded now.
 */
import type { VideoStore } from '../../../../storage/model.ts';
import { manifestText, periodsOf, type DashRow, type TrackKind } from '../../dash/manifest.ts';
import type { Inits } from '../../hls/inits.ts';
import { runOf } from '../../hls/served-fragment.ts';
import { fragmentNumber } from '../fragment-numbers.ts';
import { timestampMs } from '../selection.ts';
import type { Session } from './tokens.ts';
import type { Listing } from './window.ts';

export interface SessionManifestOptions {
  readonly video: VideoStore;
  readonly session: Session;
  /** With a fragment at least. */
  readonly listing: Listing;
  readonly inits: Inits;
  /** Where live periods were found to begin; added to. */
  readonly periods: Map<string, number>;
  readonly nowMs: number;
  readonly segmentUri: (row: DashRow, kind: TrackKind) => string;
  readonly initUri: (initId: number, kind: TrackKind) => string;
}

export async function sessionManifest(options: SessionManifestOptions): Promise<string> {
  const { video, session, listing, inits, periods } = options;
  const shiftUs = session.mode === 'LIVE_REPLAY' ? session.createdMs * 1000 - session.zeroUs : 0;
  const fragments = listing.listed.map(({ fragment }) => fragment);
  const starts = new Map<number, number>();
  for (const fragment of fragments) {
    const { runId } = fragment;
    if (!starts.has(runId)) starts.set(runId, (await runOf(video, fragment))?.startUs ?? 0);
  }
  const times = new Map(
    fragments.map((fragment) => [fragment.number, timestampMs(fragment, session.origin)]),
  );
  const rows = fragments.map((fragment) => ({ ...fragment, startUs: fragment.startUs + shiftUs }));
  const startOf = ({ runId, initId, startUs }: DashRow): number => {
    if (session.mode === 'ON_DEMAND') return startUs;
    const key = `${runId}-${initId}`;
    const known = periods.get(key) ?? startUs;
    periods.set(key, known);
    return known;
  };
  const showsAny = session.showsNumbers || session.showsTimestamps;
  return manifestText({
    periods: periodsOf(rows, (first) => ({
      tracks: inits.get(first.initId).tracks,
      runStartUs: (starts.get(first.runId) ?? 0) + shiftUs,
      startUs: startOf(first),
    })),
    live: listing.ended ? null : { nowMs: options.nowMs },
    segmentUri: options.segmentUri,
    initUri: options.initUri,
    ...(showsAny ? { namespaces: { kvs: 'urn:aws:kinesisvideo' } } : {}),
    segmentAttributes: ({ number }) => ({
      ...(session.showsNumbers ? { 'kvs:fn': fragmentNumber(number) } : {}),
      ...(session.showsTimestamps ? { 'kvs:ts': String(times.get(number) ?? 0) } : {}),
    }),
  });
}
