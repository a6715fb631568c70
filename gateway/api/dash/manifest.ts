/**
 * DASH manifests (ISO/IEC 23009-1) from rows of the fragment index: pure functions.
 *
 * A segment is one track of a fragment, as players want it. A period is what was recorded by one run
 * under one init; its media times count from the start of the run (plus a second:
 * hls/served-fragment.ts), so they stay what they are while a live manifest moves on. The clock of a
 * live manifest is the wall clock: it begins in 1970.
 */
import type { Fragment, TrackDescription } from '../../../storage/model.ts';
import type { SegmentRow } from '../hls/playlist.ts';
import { originUs } from '../hls/served-fragment.ts';
import { isoFromMs } from '../rest/times.ts';

export type TrackKind = TrackDescription['kind'];
export type DashRow = SegmentRow & Pick<Fragment, 'plainBytes'>;

export interface DashPeriod {
  readonly rows: readonly DashRow[];
  /** Of their init. */
  readonly tracks: readonly TrackDescription[];
  readonly runStartUs: number;
  /** Where it begins: with its first row, or before that in a live manifest that moved on. */
  readonly startUs: number;
}

export interface ManifestOptions {
  /** At least one, each with a row at least. */
  readonly periods: readonly DashPeriod[];
  /** It goes on, and is to be asked for again; null: complete. */
  readonly live: { readonly nowMs: number } | null;
  /** Shows no more than this time; left out: all that there is. */
  readonly fromUs?: number;
  readonly toUs?: number;
  readonly segmentUri: (row: DashRow, kind: TrackKind) => string;
  readonly initUri: (initId: number, kind: TrackKind) => string;
  /** More attributes of a segment's `S`; their names with a prefix that `namespaces` declares. */
  readonly segmentAttributes?: (row: DashRow) => Readonly<Record<string, string>>;
  /** Namespaces by prefix. */
  readonly namespaces?: Readonly<Record<string, string>>;
}

const audioBandwidth = 128_000;
/** As many segments as a player keeps between itself and the newest one. */
const delayedSegments = 3;

/** Rows in order of time, cut where a run or an init ends. */
export function periodsOf(
  rows: readonly DashRow[],
  about: (first: DashRow) => Omit<DashPeriod, 'rows'>,
): DashPeriod[] {
  const groups: DashRow[][] = [];
  for (const row of rows) {
    const group = groups.at(-1);
    const before = group?.at(-1);
    const goesOn = before?.runId === row.runId && before.initId === row.initId;
    if (group !== undefined && goesOn) group.push(row);
    else groups.push([row]);
  }
  return groups.flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [{ rows: group, ...about(first) }];
  });
}

/** The manifest's text, for `application/dash+xml`. */
export function manifestText(options: ManifestOptions): string {
  const { periods, live } = options;
  const all = periods.flatMap(({ rows }) => rows);
  const longestUs = all.reduce((longest, { durationUs }) => Math.max(longest, durationUs), 0);
  const totalUs = periods.reduce((sum, period) => sum + shownUs(period, options), 0);
  const kind: Attributes =
    live === null
      ? { type: 'static', mediaPresentationDuration: seconds(totalUs) }
      : {
          type: 'dynamic',
          availabilityStartTime: isoFromMs(0),
          publishTime: isoFromMs(live.nowMs),
          minimumUpdatePeriod: seconds(longestUs),
          timeShiftBufferDepth: seconds(totalUs),
          suggestedPresentationDelay: seconds(Math.min(delayedSegments * longestUs, totalUs)),
        };
  const namespaces = Object.entries(options.namespaces ?? {}).map(
    ([prefix, uri]) => [`xmlns:${prefix}`, uri] as const,
  );
  let startUs = 0;
  const bodies = periods.map((period) => {
    const body = periodElement(period, options, startUs);
    startUs += shownUs(period, options);
    return body;
  });
  const root = {
    xmlns: 'urn:mpeg:dash:schema:mpd:2011',
    ...Object.fromEntries(namespaces),
    profiles: 'urn:mpeg:dash:profile:isoff-main:2011',
    ...kind,
    minBufferTime: seconds(longestUs),
    maxSegmentDuration: seconds(longestUs),
  };
  const timing =
    live === null
      ? []
      : [
          element('UTCTiming', {
            schemeIdUri: 'urn:mpeg:dash:utc:direct:2014',
            value: isoFromMs(live.nowMs),
          }),
        ];
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element('MPD', root, ...bodies, ...timing)}\n`;
}

/** What of a period is shown. */
function shownUs(period: DashPeriod, options: ManifestOptions): number {
  return Math.max(0, endUs(period, options) - beginUs(period, options));
}

function beginUs({ rows }: DashPeriod, { fromUs = -Infinity }: ManifestOptions): number {
  return Math.max(rows[0]?.startUs ?? 0, fromUs);
}

function endUs({ rows }: DashPeriod, { toUs = Infinity }: ManifestOptions): number {
  const last = rows.at(-1);
  return Math.min(last === undefined ? 0 : last.startUs + last.durationUs, toUs);
}

function periodElement(period: DashPeriod, options: ManifestOptions, startUs: number): string {
  const { rows, runStartUs, tracks } = period;
  const [first] = rows;
  const isLive = options.live !== null;
  const beginsUs = isLive ? period.startUs : beginUs(period, options);
  const times: Attributes = isLive
    ? { start: seconds(beginsUs) }
    : { start: seconds(startUs), duration: seconds(shownUs(period, options)) };
  const offsetUs = beginsUs - runStartUs + originUs;
  const sets = tracks.map((track) => adaptationSet(period, track, offsetUs, options));
  const id = `${first?.runId}-${first?.initId}-${period.startUs}`;
  return element('Period', { id, ...times }, ...sets);
}

function adaptationSet(
  { rows, runStartUs }: DashPeriod,
  track: TrackDescription,
  offsetUs: number,
  options: ManifestOptions,
): string {
  const { kind, codec, width, height, sampleRate, channels } = track;
  const isVideo = kind === 'video';
  const initId = rows[0]?.initId ?? 0;
  const entries = rows.map((row) =>
    element('S', {
      t: row.startUs - runStartUs + originUs,
      d: row.durationUs,
      ...options.segmentAttributes?.(row),
    }),
  );
  const addresses = rows.map((row) =>
    element('SegmentURL', { media: options.segmentUri(row, kind) }),
  );
  const channelScheme = 'urn:mpeg:dash:23003:3:audio_channel_configuration:2011';
  return element(
    'AdaptationSet',
    {
      contentType: kind,
      mimeType: isVideo ? 'video/mp4' : 'audio/mp4',
      segmentAlignment: 'true',
      startWithSAP: 1,
    },
    element(
      'Representation',
      {
        id: kind,
        codecs: codec,
        bandwidth: isVideo ? bandwidthOf(rows) : audioBandwidth,
        ...(isVideo ? { width, height } : { audioSamplingRate: sampleRate }),
      },
      ...(isVideo || channels === undefined
        ? []
        : [element('AudioChannelConfiguration', { schemeIdUri: channelScheme, value: channels })]),
      element(
        'SegmentList',
        { timescale: 1_000_000, presentationTimeOffset: offsetUs },
        element('Initialization', { sourceURL: options.initUri(initId, kind) }),
        element('SegmentTimeline', {}, ...entries),
        ...addresses,
      ),
    ),
  );
}

/** Bits per second of the heaviest segment, which is what a player has to be able to fetch. */
function bandwidthOf(rows: readonly DashRow[]): number {
  const each = rows.map(
    ({ plainBytes, durationUs }) => (plainBytes * 8e6) / Math.max(1, durationUs),
  );
  return Math.ceil(each.reduce((most, one) => Math.max(most, one), 1));
}

type Attributes = Readonly<Record<string, string | number | undefined>>;

function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const said = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${escaped(String(value))}"`)
    .join('');
  return children.length === 0
    ? `<${name}${said}/>`
    : `<${name}${said}>\n${children.join('\n')}\n</${name}>`;
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

/** ISO 8601. */
function seconds(us: number): string {
  return `PT${(us / 1e6).toFixed(6)}S`;
}
