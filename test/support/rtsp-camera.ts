import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { startChild, type Child } from './child.ts';

export interface RtspCamera {
  readonly child: Child;
  readonly port: number;
}

/**
 * Starts a camera to fetch from, GStreamer's RTSP server: `gst-rtsp-server.py` says which options
 * it takes. Null, and a skip, where that is not installed.
 */
export async function startRtspCamera(
  context: TestContext,
  ...args: readonly string[]
): Promise<RtspCamera | null> {
  const script = join(import.meta.dirname, 'gst-rtsp-server.py');
  const child = startChild(context, '/usr/bin/python3', [script, ...args]);
  try {
    const [, port] = await child.line(/^port (\d+)$/);
    return { child, port: Number(port) };
  } catch {
    context.skip(`needs GStreamer's RTSP server: ${child.lines.at(-1) ?? 'not on this machine'}`);
    return null;
  }
}
