import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Task } from '../supervisor.ts';

export interface DemoCameraOptions {
  readonly ffmpegPath: string;
  /** Where to push, with credentials. */
  readonly url: string;
}

/** A synthetic camera: a test pattern with a running clock and a beep, pushed over real RTSP. */
export function demoCameraTask({ ffmpegPath, url }: DemoCameraOptions): Task {
  return {
    name: 'demonstration camera',
    async run(context) {
      const { signal } = context;
      const child = spawn(ffmpegPath, [...pattern, ...encoding, url], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let said = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-2000);
      });
      const stop = (): void => void child.kill('SIGTERM');
      signal.addEventListener('abort', stop, { once: true });
      if (signal.aborted) stop();
      try {
        await once(child, 'spawn');
        context.ready();
        await once(child, 'close');
      } finally {
        signal.removeEventListener('abort', stop);
      }
      if (!signal.aborted) throw new Error(`ffmpeg ended: ${lastLine(said)}`);
    },
  };
}

const pattern = [
  ...['-hide_banner', '-loglevel', 'error', '-nostdin', '-re'],
  ...['-f', 'lavfi', '-i', 'testsrc2=size=960x540:rate=15'],
  ...['-f', 'lavfi', '-i', 'sine=frequency=220:beep_factor=4:sample_rate=48000'],
];

const encoding = [
  ...['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p'],
  ...['-g', '30', '-b:v', '800k', '-maxrate', '1200k', '-bufsize', '1200k'],
  ...['-c:a', 'aac', '-b:a', '48k', '-af', 'volume=0.05'],
  ...['-f', 'rtsp', '-rtsp_transport', 'tcp'],
];

/** ffmpeg's last word, without the address, which holds a password. */
function lastLine(said: string): string {
  const line = said.trim().split('\n').at(-1) ?? '';
  return line === '' ? 'it said nothing' : line.replaceAll(/rtsp:\/\/\S+/g, 'rtsp://…');
}
