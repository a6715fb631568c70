/**
 * Telling copies: files that have what was read of another one, which was copied before it was
 * truncated, compressed, or written anew.
 */
import { basename } from 'node:path';
import { openContent, UnfitFile, type Content } from './content.ts';
import { isGone, isOfSystem } from './errors.ts';
import type { FollowedFile } from './followed-file.ts';
import { headBytesMax, holds, type Place } from './place.ts';
import { stemOf } from './rotation.ts';
import type { Sighting } from './sighting.ts';

/** Files looked at as possible copies of one; the newest. */
const candidatesMax = 50;

/** The one of these that has what was read of the file; `moved`: names are being changed just now. */
export async function findCopy(
  { place }: FollowedFile,
  candidates: readonly Sighting[],
): Promise<Sighting | 'moved' | null> {
  if (place.offset === 0) return null;
  const newest = candidates.toSorted((a, b) => b.modifiedMs - a.modifiedMs);
  for (const candidate of newest.slice(0, candidatesMax)) {
    if (!isEnough(place, candidate.path)) continue;
    const content = await openCandidate(candidate.path);
    if (content === 'unfit') continue;
    const isIt = content?.key === candidate.key;
    const isCopy = isIt && (await holds(content, place));
    await content?.close();
    if (isCopy) return candidate;
    if (!isIt) return 'moved';
  }
  return null;
}

/** Under a name that may as well be a new file's, it takes more than a common first line. */
function isEnough(place: Place, path: string): boolean {
  const isOther = basename(path) !== stemOf(place.path) && path !== place.path;
  return isOther || place.head.bytes === headBytesMax;
}

async function openCandidate(path: string): Promise<Content | 'unfit' | null> {
  try {
    return await openContent(path);
  } catch (error) {
    if (isGone(error)) return null;
    if (error instanceof UnfitFile || isOfSystem(error)) return 'unfit';
    throw error;
  }
}

/**
 * Whether a new file has what was read of the original, or could have once it is written to its
 * end. One that is not named like a copy is none before it is whole.
 */
export async function mayBeCopy(
  content: Content,
  path: string,
  original: Content,
  place: Place,
): Promise<boolean> {
  if (basename(path) === stemOf(path)) return isEnough(place, path) && holds(content, place);
  const head = await content.read(0, headBytesMax);
  const begin = await original.read(0, head.length);
  if (!begin.equals(head)) return false;
  const tailBytes = Math.min(place.offset, headBytesMax);
  const tail = await content.read(place.offset - tailBytes, tailBytes);
  if (tail.length < tailBytes) return true;
  return tail.equals(await original.read(place.offset - tailBytes, tailBytes));
}
