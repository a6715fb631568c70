/**
 * The addresses of a camera's media. Each names its content for good, so that it may be cached
 * for ever: a fragment's carries its start and an init's its hash, because numbers begin anew
 * when a data folder is emptied, and the browser's cache does not know.
 */
import type { Fragment, Init } from '../../../storage/model.ts';

type FragmentName = Pick<Fragment, 'number' | 'startUs'>;
type InitName = Pick<Init, 'id' | 'hash'>;

/** Relative to the camera's playlists. */
export function fragmentFile({ number, startUs }: FragmentName): string {
  return `${number}-${startUs}.m4s`;
}

/** A chunk of a fragment, counted from 0. Relative to the camera's playlists. */
export function partFile({ number, startUs }: FragmentName, index: number): string {
  return `${number}-${startUs}.${index}.m4s`;
}

/** Relative to the camera's playlists. */
export function initFile({ id, hash }: InitName): string {
  return `init-${id}-${hash.slice(0, 16)}.mp4`;
}

/** @example cameraUrl('gate', 'live.m3u8') // '/hls/gate/live.m3u8' */
export function cameraUrl(camera: string, file: string): string {
  return `/hls/${encodeURIComponent(camera)}/${file}`;
}

/** What a fragment's file name says, or null when it is none of ours. */
export function parseFragmentFile(file: string): FragmentName | null {
  const match = /^(\d{1,16})-(\d{1,16})\.m4s$/.exec(file);
  if (match === null) return null;
  const [number, startUs] = [Number(match[1]), Number(match[2])];
  return Number.isSafeInteger(number) && Number.isSafeInteger(startUs) ? { number, startUs } : null;
}

/** What a part's file name says, or null when it is none of ours. */
export function parsePartFile(file: string): { fragment: FragmentName; index: number } | null {
  const match = /^(\d{1,16}-\d{1,16})\.(\d{1,4})\.m4s$/.exec(file);
  const fragment = parseFragmentFile(`${match?.[1] ?? ''}.m4s`);
  return fragment === null ? null : { fragment, index: Number(match?.[2]) };
}

/** What an init's file name says, or null when it is none of ours. The hash may be shortened. */
export function parseInitFile(file: string): InitName | null {
  const match = /^init-(\d{1,15})-([0-9a-f]{16})\.mp4$/.exec(file);
  return match?.[2] === undefined ? null : { id: Number(match[1]), hash: match[2] };
}
