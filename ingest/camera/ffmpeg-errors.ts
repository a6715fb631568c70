/**
 * Reads the reason of a failure off ffmpeg's last words: its exit code says nothing.
 */
import { SourceError, type SourceErrorCode } from '../source.ts';

/** The first that matches counts; the order goes from the specific to the general. */
const reasons: readonly (readonly [RegExp, SourceErrorCode])[] = [
  [/401 Unauthorized|403 Forbidden|authorization failed/i, 'unauthorized'],
  [/404 |Not Found|No such file or directory/i, 'not-found'],
  [/matches no streams/i, 'unsupported'],
  [/not currently supported in container|Unsupported transport|Protocol not found/i, 'unsupported'],
  [/461 |method \w+ failed: 461/i, 'unsupported'],
  [
    /Connection refused|timed out|No route to host|is unreachable|resolve hostname|Name or service/i,
    'unreachable',
  ],
  [/5\d\d |Server returned 5XX/i, 'unreachable'],
  [/Connection reset|Broken pipe|End of file|Input\/output error/i, 'ended'],
  [/Invalid data found|could not find codec parameters/i, 'malformed'],
];

/** The error for an ffmpeg that ended by itself with a failure. */
export function failureOf(description: string, lastLines: readonly string[]): SourceError {
  for (const [pattern, code] of reasons) {
    const line = lastLines.findLast((candidate) => pattern.test(candidate));
    if (line !== undefined) return new SourceError(code, `${description}: ${plain(line)}`);
  }
  const last = lastLines.at(-1);
  return new SourceError(
    'ended',
    `${description}: ${last === undefined ? 'ffmpeg failed without a word' : plain(last)}`,
  );
}

/** Whether ffmpeg gave up because of the audio, as it was told to treat it. */
export function isAudioFailure(lastLines: readonly string[]): boolean {
  return lastLines.some((line) =>
    /Could not find tag for codec|not currently supported in container|Too many packets buffered for output stream|incorrect codec parameters|Unknown decoder|Decoder .* not found|decoder \(codec \w+\) not found/i.test(
      line,
    ),
  );
}

/** Without ffmpeg's own addresses and levels: `[rtsp @ 0x55…] [error] text` is `text`. */
function plain(line: string): string {
  return line.replace(/^(\[[^\]]*\]\s*)+/, '');
}
