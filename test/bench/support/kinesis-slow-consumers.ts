/** Consumers that ask for as much as an answer can hold and take it slowly, while others put. */
import { readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { signedRequest } from './kinesis-callers.ts';
import { load, written, type KinesisServer } from './kinesis-servers.ts';

export const slowConsumers = 20;
/** Each takes what its socket holds so often: a few hundred kilobytes a second. */
const sipMs = 200;
const settleSeconds = 3;
const seconds = 12;

/** What the process of the server takes, soon after the consumers began and at the end. */
export async function memoryUnderSlowConsumers(
  server: KinesisServer,
  pid: number,
): Promise<{ readonly beginBytes: number; readonly endBytes: number }> {
  const port = server.port('http1');
  const [input] = server.reads;
  if (input === undefined) throw new Error('there is nothing to read');
  const request = signedRequest(port, 'GetRecords', input);
  const stop = Array.from({ length: slowConsumers }, () => readSlowly(port, request));
  const puts = load({
    ...{ client: 'bare', protocol: 'http1', operation: 'PutRecords', callers: 4 },
    ...{ port, seconds, stream: written },
  });
  try {
    await new Promise((wake) => setTimeout(wake, settleSeconds * 1000));
    const beginBytes = await memoryOf(pid);
    await puts;
    return { beginBytes, endBytes: await memoryOf(pid) };
  } finally {
    for (const end of stop) end();
  }
}

/** Asks again as soon as an answer is through; returns how to end it. */
function readSlowly(port: number, request: Buffer): () => void {
  const socket: Socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    socket.pause();
    if (chunk.toString('latin1', Math.max(0, chunk.length - 5)) === '0\r\n\r\n') {
      socket.write(request);
    }
  });
  const timer = setInterval(() => socket.resume(), sipMs);
  socket.write(request);
  return () => {
    clearInterval(timer);
    socket.destroy();
  };
}

/** The memory of a process, with its share of what it shares with others, in bytes. */
async function memoryOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1024;
}
