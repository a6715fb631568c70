/** What browsers play of what cameras send, over WebRTC. */
import type { Publication } from '../../../ingest/rtsp/publication.ts';

/** Why browsers can't play a camera over WebRTC, in words for people; null: they can. */
export function whyUnplayable(publication: Publication): string | null {
  const { session, tracksSetUp, hasReorderedPictures } = publication;
  const video = session.media.find(({ kind }, track) => kind === 'video' && tracksSetUp.has(track));
  if (video?.codec !== 'H264') {
    const name = video?.codec === 'H265' ? 'H.265' : (video?.codec ?? 'no video');
    return `The camera sends ${name}; over WebRTC browsers play H.264: watch it over HLS, or set it to H.264.`;
  }
  return hasReorderedPictures
    ? 'The camera sends B-frames, which browsers do not show over WebRTC: watch it over HLS, or set it to a profile without them (baseline).'
    : null;
}
