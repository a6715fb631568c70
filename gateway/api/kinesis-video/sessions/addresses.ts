/** Where the playlists and the media of sessions are: as the service has it. */
export const hlsPath = {
  master: '/hls/v1/getHLSMasterPlaylist.m3u8',
  media: '/hls/v1/getHLSMediaPlaylist.m3u8',
  init: '/hls/v1/getMP4InitFragment.mp4',
  fragment: '/hls/v1/getMP4MediaFragment.mp4',
  transport: '/hls/v1/getTSFragment.ts',
} as const;

export const dashPath = {
  manifest: '/dash/v1/getDASHManifest.mpd',
  init: '/dash/v1/getMP4InitFragment.mp4',
  fragment: '/dash/v1/getMP4MediaFragment.mp4',
} as const;

/** Relative to the other addresses of the session. */
export function relativeTo(path: string, query: Readonly<Record<string, string>>): string {
  return `${path.slice(path.lastIndexOf('/') + 1)}?${new URLSearchParams(query).toString()}`;
}
