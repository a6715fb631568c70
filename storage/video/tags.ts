/**
 * What somebody has noted of a fragment: names with a text each, as in Kinesis Video Streams. They lie
 * in the row of the fragment as JSON, and go with it.
 */
import { StorageError } from '../errors.ts';
import type { Tags } from '../model.ts';

const tagsMax = 10;
const nameBytesMax = 128;
const valueBytesMax = 256;

/** @throws StorageError `invalid-argument` */
export function checkTags(tags: Tags): void {
  const entries = Object.entries(tags);
  if (entries.length > tagsMax) {
    throw new StorageError('invalid-argument', `a fragment has at most ${tagsMax} tags`);
  }
  for (const [name, value] of entries) {
    const nameBytes = Buffer.byteLength(name);
    if (nameBytes === 0 || nameBytes > nameBytesMax) {
      throw new StorageError(
        'invalid-argument',
        `the name of a tag has 1 to ${nameBytesMax} bytes`,
      );
    }
    if (Buffer.byteLength(value) > valueBytesMax) {
      throw new StorageError('invalid-argument', `a tag has at most ${valueBytesMax} bytes`);
    }
  }
}

/** For the row; null where there are none. */
export function tagsText(tags: Tags | null): string | null {
  return tags === null || Object.keys(tags).length === 0 ? null : JSON.stringify(tags);
}

/** @throws StorageError `corrupt` */
export function tagsFrom(text: string | null): Tags | null {
  if (text === null) return null;
  let tags: unknown = null;
  try {
    tags = JSON.parse(text);
  } catch {
    // Told below.
  }
  const isSound =
    typeof tags === 'object' &&
    tags !== null &&
    !Array.isArray(tags) &&
    Object.values(tags).every((value) => typeof value === 'string');
  if (!isSound) throw new StorageError('corrupt', 'the tags of a fragment are damaged');
  return tags as Tags;
}
