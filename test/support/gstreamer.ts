import { startChild } from './child.ts';
import { within } from './deadline.ts';
import type { Scope } from './scope.ts';

/**
 * How many coded pictures GStreamer gets from an address.
 * @param demuxer elements, with `!` between them, up to the track of pictures
 * @param most ends it when there are so many, for what has no end
 */
export async function countPictures(
  scope: Scope,
  url: string,
  demuxer: readonly string[],
  most = Infinity,
): Promise<number> {
  const child = startChild(scope, 'gst-launch-1.0', [
    ...['-v', 'souphttpsrc', `location=${url}`, '!', ...demuxer, '!', 'h264parse', '!'],
    ...['identity', 'silent=false', '!', 'fakesink', 'sync=false'],
  ]);
  let [pictures, read] = [0, 0];
  const count = (): void => {
    for (const line of child.lines.slice(read)) {
      if (/chain +\*+ \(identity0:sink\)/.test(line)) pictures += 1;
    }
    read = child.lines.length;
  };
  const ended = child.exited.then(() => true);
  while (pictures < most) {
    const printed = child.next().then(
      () => false,
      () => true,
    );
    const over = await within(
      Promise.race([ended, printed]),
      () => `GStreamer got ${pictures} pictures`,
    );
    count();
    if (over) break;
  }
  if (pictures >= most) {
    await child.stop('SIGKILL');
    return most;
  }
  const { code } = await child.exited;
  if (code !== 0) throw new Error(`GStreamer failed:\n${child.lines.slice(-10).join('\n')}`);
  count();
  return pictures;
}
