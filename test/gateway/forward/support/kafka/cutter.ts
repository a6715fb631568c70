/** Cuts connections between a sink and a broker. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import type { Scope } from '../../../../support/scope.ts';

export interface Cutter {
  upstreamPort: number;
  isCutting: boolean;
  losesNextAnswer: boolean;
  readonly cuts: number;
  /** Nobody gets through any more. */
  down(): Promise<void>;
  /** As if nothing had been; twice is harmless. */
  up(): Promise<void>;
}

/**
 * Stands before a broker, and once it is told to cuts connections: now and then, in place of a
 * request or of its answer; or in place of the answer to the next records.
 */
export async function startCutter(context: Scope, port: number): Promise<Cutter> {
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const broker = connect(cutter.upstreamPort, '127.0.0.1');
    const cut = (): void => {
      client.destroy();
      broker.destroy();
    };
    for (const socket of [client, broker]) {
      open.add(socket);
      socket.on('error', cut).on('close', () => {
        open.delete(socket);
        cut();
      });
    }
    let isLost = false;
    const pass = (bytes: Buffer, to: Socket): void => {
      if (!isLost && (!cutter.isCutting || Math.random() > 0.06)) {
        to.write(bytes);
        return;
      }
      cutter.cuts += 1;
      cut();
    };
    client.on('data', (bytes) => {
      pass(bytes, broker);
      if (!cutter.losesNextAnswer || !isOfRecords(bytes)) return;
      cutter.losesNextAnswer = false;
      isLost = true;
    });
    broker.on('data', (bytes) => {
      pass(bytes, client);
    });
  });
  const cutter = {
    ...{ upstreamPort: 0, isCutting: false, losesNextAnswer: false, cuts: 0 },
    down: async (): Promise<void> => {
      server.close();
      for (const socket of open) socket.destroy();
      await once(server, 'close');
    },
    up: async (): Promise<void> => {
      if (server.listening) return;
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
  await cutter.up();
  context.after(() => (server.listening ? cutter.down() : undefined));
  return cutter;
}

/** Whether a request is one of records: its length is before the number of its kind, 0. */
function isOfRecords(request: Buffer): boolean {
  return request.length >= 6 && request.readInt16BE(4) === 0;
}
