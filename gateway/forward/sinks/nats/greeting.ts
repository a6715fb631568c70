/**
 * Finds the server that is to be connected to. The client never lets go of a connection to a server
 * that takes it and then says nothing (its time-out forgets the socket), and each attempt would
 * leave another behind. So each is asked for its greeting first, on a connection of our own:
 * a NATS server begins with `INFO`, whatever comes after.
 */
import { connect } from 'node:net';
import { SinkError } from '../../sink.ts';
import { natsError } from './errors.ts';

const usualPort = 4222;
const greeting = Buffer.from('INFO ');

/**
 * The first, in their order, that greets.
 * @param servers URLs
 * @param timeoutMs for each
 * @throws SinkError the last one's, when none does
 */
export async function firstThatGreets(
  servers: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string> {
  let failure = new SinkError('unreachable', 'no server is configured');
  for (const server of servers) {
    if (signal.aborted) break;
    try {
      await greets(new URL(server), timeoutMs);
      return server;
    } catch (error) {
      failure = natsError(error);
    }
  }
  throw failure;
}

async function greets({ hostname, port }: URL, timeoutMs: number): Promise<void> {
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const socket = connect({ host, port: port === '' ? usualPort : Number(port) });
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      let heard = Buffer.alloc(0);
      timer = setTimeout(() => {
        reject(new SinkError('timeout', `no greeting from ${host} within ${timeoutMs / 1000} s`));
      }, timeoutMs);
      socket.on('data', (bytes) => {
        heard = Buffer.concat([heard, bytes]);
        const length = Math.min(heard.length, greeting.length);
        if (!heard.subarray(0, length).equals(greeting.subarray(0, length))) reject(noServer(host));
        else if (length === greeting.length) resolve();
      });
      socket.on('error', reject);
      socket.on('close', () => {
        reject(new SinkError('unreachable', `${host} closed the connection`));
      });
    });
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function noServer(host: string): SinkError {
  return new SinkError('unreachable', `what answers at ${host} is no NATS server`, {
    advice: 'Check to.nats.servers: address and port.',
  });
}
