/** The addresses of a camera's media for DASH: those of HLS, with the track before the name. */
import type { Fragment, Init } from '../../../storage/model.ts';
import { fragmentFile, initFile, parseFragmentFile, parseInitFile } from '../hls/urls.ts';
import type { TrackKind } from './manifest.ts';

export function trackFragmentFile(
  kind: TrackKind,
  fragment: Pick<Fragment, 'number' | 'startUs'>,
): string {
  return `${kind}-${fragmentFile(fragment)}`;
}

export function trackInitFile(kind: TrackKind, init: Pick<Init, 'id' | 'hash'>): string {
  return `${kind}-${initFile(init)}`;
}

/** Without the track: what the names of HLS say; null when it is none of ours. */
export function parseTrackFile(file: string): {
  readonly kind: TrackKind;
  readonly fragment: ReturnType<typeof parseFragmentFile>;
  readonly init: ReturnType<typeof parseInitFile>;
} | null {
  const match = /^(video|audio)-(.+)$/.exec(file);
  if (match?.[2] === undefined) return null;
  const kind = match[1] === 'video' ? 'video' : 'audio';
  return { kind, fragment: parseFragmentFile(match[2]), init: parseInitFile(match[2]) };
}
