/** A camera of 1080p30 at 4 Mb/s, which sends its 20 s of noise over and over. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { capturePackets, PacketCamera } from '../../support/packet-camera.ts';
import { ffmpegPath } from '../../support/tools.ts';
import type { BenchmarkContext } from '../bench.ts';

const clipSeconds = 20;
export const picturesPerSecond = 30;
/** A keyframe every two seconds, so a fragment every two seconds. */
export const fragmentUs = 2_000_000;

export async function startFullHd(context: BenchmarkContext): Promise<PacketCamera> {
  const path = join(context.folder, 'camera.mp4');
  const size = `size=1920x1080:rate=${picturesPerSecond}:duration=${clipSeconds}`;
  await promisify(execFile)(ffmpegPath, [
    ...['-v', 'error', '-f', 'lavfi', '-i', `testsrc2=${size},noise=alls=12:allf=t`],
    ...['-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency'],
    ...['-g', String((fragmentUs / 1e6) * picturesPerSecond)],
    ...['-b:v', '4M', '-maxrate', '4M', '-bufsize', '4M', path],
  ]);
  const capture = await capturePackets(context, path);
  return PacketCamera.start(context, capture, { pace: 1, loop: true });
}
