import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';

/** The `id` of every line of gzipped NDJSON objects, object after object. */
export function idsOf(objects: Iterable<Buffer>): number[] {
  return [...objects].flatMap((object) =>
    gunzipSync(object)
      .toString()
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { id: number }).id),
  );
}

/** Asserts that every id from 0 to `count` is there, and none twice. */
export function assertExactlyOnce(ids: readonly number[], count: number): void {
  const sorted = ids.toSorted((a, b) => a - b);
  assert.equal(new Set(sorted).size, sorted.length, 'a record arrived twice');
  assert.deepEqual(
    sorted,
    Array.from({ length: count }, (_, id) => id),
  );
}

/** Each after the one before it. */
export function ascending(ids: readonly number[]): boolean {
  return ids.every((id, index) => index === 0 || id > ids[index - 1]!);
}
