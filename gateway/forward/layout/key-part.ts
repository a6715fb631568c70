/** What comes out of records, as a part of a key. */

/** As Hive escapes them in the names of partitions (FileUtils.escapePathName). */
// eslint-disable-next-line no-control-regex -- it is about control characters
const escapedByHive = /[\u0000-\u001f\u007f"#%'*/:=?\\{}[\]^]/g;

/**
 * A value as it stands in a key. Slashes in it make folders; whatever would lead out of a place, or
 * makes names that no tool can show, is put right: no level is empty, `.` or `..`, there are no
 * control characters, and Unicode is well-formed.
 * @param hive escapes it as Hive does instead, slashes too
 * @returns empty when nothing of it is left
 */
export function keyPart(value: string, hive: boolean): string {
  const wellFormed = value.replace(/\p{Surrogate}/gu, '\uFFFD');
  if (hive) return withoutDots(wellFormed.replace(escapedByHive, escaped));
  return wellFormed
    .replace(/\p{Cc}/gu, '_')
    .split('/')
    .filter((level) => level !== '')
    .map(withoutDots)
    .join('/');
}

/** `%` and two hexadecimal digits. */
function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

function withoutDots(level: string): string {
  return level === '.' || level === '..' ? '_'.repeat(level.length) : level;
}
