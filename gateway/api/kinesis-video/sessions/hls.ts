/** Playlists of a session (RFC 8216): the text, from what is listed. */
import type { Init } from '../../../../storage/model.ts';
import { timestampMs } from '../selection.ts';
import type { Session } from './tokens.ts';
import type { Listing } from './window.ts';

export interface SessionAddresses {
  playlist(): string;
  init(init: Pick<Init, 'id' | 'hash'>): string;
  fragment(number: number): string;
}

/** @param init of the first fragment */
export function masterPlaylist(
  { listed }: Listing,
  { tracks }: Init,
  addresses: SessionAddresses,
): string {
  const video = tracks.find(({ kind }) => kind === 'video');
  const size = video?.width === undefined ? '' : `,RESOLUTION=${video.width}x${video.height ?? 0}`;
  const codecs = tracks.map(({ codec }) => codec).join(',');
  return [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    '#EXT-X-INDEPENDENT-SEGMENTS',
    `#EXT-X-STREAM-INF:BANDWIDTH=${bandwidthOf(listed)},CODECS="${codecs}"${size}`,
    addresses.playlist(),
    '',
  ].join('\n');
}

/** Of the heaviest fragment, which is what a player has to be able to fetch. */
function bandwidthOf(listed: Listing['listed']): number {
  return listed.reduce((most, { fragment: { plainBytes, durationUs } }) => {
    return Math.max(most, Math.ceil((plainBytes * 8e6) / Math.max(1, durationUs)));
  }, 1);
}

export function mediaPlaylist(
  listing: Listing,
  session: Session,
  initOf: (id: number) => Pick<Init, 'id' | 'hash'>,
  addresses: SessionAddresses,
): string {
  const isFragmented = session.container === 'FRAGMENTED_MP4';
  const lines = [
    '#EXTM3U',
    `#EXT-X-VERSION:${isFragmented ? 7 : 3}`,
    `#EXT-X-TARGETDURATION:${Math.max(1, Math.round(listing.longestUs / 1e6))}`,
    `#EXT-X-MEDIA-SEQUENCE:${listing.mediaSequence}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${listing.cutSequence}`,
    '#EXT-X-INDEPENDENT-SEGMENTS',
  ];
  if (session.mode === 'ON_DEMAND') lines.push('#EXT-X-PLAYLIST-TYPE:VOD');
  let initId: number | null = null;
  for (const { fragment, isCut } of listing.listed) {
    if (isCut) lines.push('#EXT-X-DISCONTINUITY');
    if (isFragmented && (fragment.initId !== initId || isCut)) {
      initId = fragment.initId;
      lines.push(`#EXT-X-MAP:URI="${addresses.init(initOf(initId))}"`);
    }
    if (session.showsTimestamps) {
      const shown = new Date(timestampMs(fragment, session.origin)).toISOString();
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${shown}`);
    }
    lines.push(
      `#EXTINF:${(fragment.durationUs / 1e6).toFixed(6)},`,
      addresses.fragment(fragment.number),
    );
  }
  if (listing.ended) lines.push('#EXT-X-ENDLIST');
  lines.push('');
  return lines.join('\n');
}
