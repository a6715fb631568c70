/**
 * Keeps credentials off ffmpeg's command line, which every user of the machine may read.
 *
 * ffmpeg takes the password of a camera in its URL only. Its concat demuxer reads URLs and their
 * options from a script, and a script may come on standard input: so one of a single entry is
 * written there. Packets pass through it unchanged, with their sender-report times.
 *
 * Source: ffmpeg-formats, "concat", of version 5.0 on (`option`).
 */

/** Options that mean the same in the script as before `-i`. */
const optionsThatPass = new Set([
  '-rtsp_transport',
  '-rtsp_flags',
  '-allowed_media_types',
  '-timeout',
  '-buffer_size',
  '-reorder_queue_size',
  '-user_agent',
  '-analyzeduration',
  '-probesize',
  '-fflags',
  '-max_delay',
  '-use_wallclock_as_timestamps',
]);

const protocols = 'pipe,rtsp,rtsps,rtp,srtp,udp,tcp,tls,http,https,httpproxy,crypto';

/**
 * Moves a URL with credentials, and the options before it, into a script. Anything else comes back
 * as it is: other inputs, and options that the script does not know.
 * @param args input options and `-i` with its URL.
 */
export function concealed(args: readonly string[]): {
  readonly args: readonly string[];
  readonly script: string | null;
} {
  const unchanged = { args, script: null };
  const url = args.at(-1) ?? '';
  if (args.at(-2) !== '-i' || !/^rtsps?:\/\/[^/]*@/i.test(url) || /[\r\n]/.test(url)) {
    return unchanged;
  }
  const lines = ['ffconcat version 1.0', `file ${quoted(url)}`];
  for (let index = 0; index < args.length - 2; index += 2) {
    const option = args[index] ?? '';
    const value = args[index + 1] ?? '';
    if (!optionsThatPass.has(option) || /[\r\n]/.test(value)) return unchanged;
    lines.push(`option ${option.slice(1)} ${quoted(value)}`);
  }
  return {
    args: ['-f', 'concat', '-safe', '0', '-protocol_whitelist', protocols, '-i', 'pipe:0'],
    script: `${lines.join('\n')}\n`,
  };
}

/** As ffmpeg's utilities quote: nothing is special within single quotes but the quote itself. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
