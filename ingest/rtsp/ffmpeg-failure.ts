/**
 * What went wrong, from what ffmpeg says as it gives up: its exit code is 1 for everything. The
 * phrases are those of ffmpeg 5 to 7 and of the C library's error texts.
 */
import type { SourceErrorCode } from '../source.ts';

/** The first that matches anything said is the cause: what follows from it is said later. */
const phrases: readonly (readonly [RegExp, SourceErrorCode])[] = [
  [/401 Unauthorized|403 Forbidden|authorization failed|access denied/i, 'unauthorized'],
  [/404 Not Found|Stream Not Found/i, 'not-found'],
  [
    /Connection refused|No route to host|(Network|Host) is (unreachable|down)|Failed to resolve/i,
    'unreachable',
  ],
  [/Server returned 5XX|failed: 5\d\d /i, 'unreachable'],
  [
    /Could not find tag for codec|codec not (currently )?supported|Unsupported Transport|Nonmatching transport|Protocol not found|matches no streams|415 Unsupported/i,
    'unsupported',
  ],
  [/timed out/i, 'unreachable'],
  [/Invalid data found|Could not find codec parameters/i, 'malformed'],
];

/**
 * Why ffmpeg could not read its input, or null where it said nothing that is known.
 *
 * @param said what it wrote to stderr, any number of lines, from before its first output
 */
export function classifyFfmpegFailure(said: string): SourceErrorCode | null {
  return phrases.find(([phrase]) => phrase.test(said))?.[1] ?? null;
}
