/**
 * Stands between a sink and a real server and lets a test do to the traffic what networks and
 * servers do: refuse, drop, hold back, answer something else.
 */
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Scope } from '../../../support/scope.ts';

export interface Answer {
  readonly status: number;
  readonly body: Buffer;
  /** Its type, and the name of what was kept. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Passing {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Sends the request on, and returns the answer. `body` replaces the request's own. */
  ask(body?: Buffer): Promise<Answer>;
  /** How much lies upstream at the request's address. */
  storedBytes(): Promise<number>;
  /** The request's body. */
  body(): Promise<Buffer>;
}

export interface Proxy {
  readonly endpoint: string;
  readonly port: number;
  /** Ends every connection and listens no more. */
  close(): void;
}

/** @param upstream null: there is nothing behind, the handler answers everything */
export async function startProxy(
  context: Scope,
  upstream: string | null,
  handler: (passing: Passing) => Promise<void> | void,
): Promise<Proxy> {
  const server = createServer((incoming, response) => {
    const passing = passingOf(upstream, incoming, response);
    Promise.resolve(handler(passing)).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): void => {
    server.closeAllConnections();
    server.close();
  };
  context.after(close);
  return { port, endpoint: `http://127.0.0.1:${port}`, close };
}

function passingOf(
  upstream: string | null,
  incoming: IncomingMessage,
  response: ServerResponse,
): Passing {
  const body = async (): Promise<Buffer> => {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  };
  const ask = async (method: string | undefined, content: Buffer): Promise<Answer> => {
    const headers = { ...incoming.headers, 'content-length': String(content.length) };
    delete headers.expect;
    return new Promise((resolve, reject) => {
      const url = new URL(incoming.url ?? '/', upstream ?? '');
      const outgoing = request(url, { method, headers }, (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('error', reject);
        answer.on('end', () => {
          resolve({
            status: answer.statusCode ?? 500,
            body: Buffer.concat(pieces),
            headers: {
              'content-type': answer.headers['content-type'] ?? 'application/xml',
              ...(answer.headers.etag !== undefined && { etag: answer.headers.etag }),
            },
          });
        });
      });
      outgoing.on('error', reject);
      outgoing.end(content);
    });
  };
  return {
    request: incoming,
    response,
    body,
    ask: async (given) => ask(incoming.method, given ?? (await body())),
    storedBytes: async () => (await ask('GET', Buffer.alloc(0))).body.length,
  };
}
