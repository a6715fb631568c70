/**
 * A camera that we fetch from, as a source: ffmpeg is its RTSP client, and one run is one
 * connection. When it breaks, the supervisor comes again.
 */
import { maskCredentials } from '../camera/ffmpeg-log.ts';
import type { Source } from '../source.ts';
import type { RecordRun } from './recording.ts';

export interface RtspPullOptions {
  readonly camera: string;
  /** `rtsp://` or `rtsps://`, with user and password where the camera wants them. */
  readonly url: string;
  /** How packets come. Default `tcp`; `udp` for cameras that know nothing else. */
  readonly transport?: 'tcp' | 'udp';
  readonly record: RecordRun;
}

/** A camera that sends nothing for this long, or does not answer, is gone. */
const silenceUs = 10_000_000;

/**
 * @example
 * rtspPullSource({ camera: 'gate', url: 'rtsp://viewer:pw@192.0.2.10/stream1', record });
 */
export function rtspPullSource(options: RtspPullOptions): Source {
  const { camera, url, transport = 'tcp', record } = options;
  const input = {
    args: ['-rtsp_transport', transport, '-timeout', String(silenceUs), '-i', url],
    description: maskCredentials(url),
  };
  return {
    name: `camera/${camera}`,
    run: (context) =>
      record({ input, signal: context.signal, onFirstFragment: () => context.ready() }),
  };
}
