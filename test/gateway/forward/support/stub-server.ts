/**
 * A server of a protocol that can't be had for real, which a test makes misbehave: refuse, drop,
 * fall silent, lose its answer, answer something else.
 */
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Scope } from '../../../support/scope.ts';

export interface StubRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  /** As it came. */
  readonly body: Buffer;
}

export interface StubAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What comes of a request: an answer, half of one, none and the end, none at all. */
export type Outcome = StubAnswer | { readonly half: StubAnswer } | 'drop' | 'silence';

export type Serve = (request: StubRequest) => Promise<StubAnswer> | StubAnswer;

/** In place of the right answer, which `serve` gives. */
export type Behaviour = (request: StubRequest, serve: Serve) => Promise<Outcome> | Outcome;

export const drops: Behaviour = () => 'drop';
export const silence: Behaviour = () => 'silence';

/** All is done as asked; only nobody hears of it. */
export const losesAnswer = async (request: StubRequest, serve: Serve): Promise<Outcome> => {
  await serve(request);
  return 'drop';
};

export const breaksOff: Behaviour = async (request, serve) => ({
  half: await serve(request),
});

export function answers(
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Behaviour {
  return () => ({ status, headers, body: typeof body === 'string' ? body : JSON.stringify(body) });
}

/** An answer with its JSON changed. */
export function lies(change: (answer: Record<string, unknown>) => unknown): Behaviour {
  return async (request, serve) => {
    const answer = await serve(request);
    const changed = change(JSON.parse(answer.body) as Record<string, unknown>);
    return { ...answer, body: JSON.stringify(changed) };
  };
}

export interface StubServer {
  readonly url: string;
  /** For the next requests, one each; then all is as it should be. */
  readonly next: Behaviour[];
  /** All that came. */
  readonly requests: readonly StubRequest[];
  /** Resolves when the request of that number, from 1 on, is there. */
  came(count: number): Promise<void>;
  /** Ends every connection, and listens no more. */
  down(): Promise<void>;
  /** Listens again, where it did. */
  up(): Promise<void>;
}

export async function startStub(
  context: Scope,
  serve: Serve,
  tls: { readonly key: string; readonly cert: string } | null = null,
): Promise<StubServer> {
  const next: Behaviour[] = [];
  const requests: StubRequest[] = [];
  const waiting = new Set<{ readonly count: number; readonly resolve: () => void }>();
  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const request = await whole(incoming);
    requests.push(request);
    const behaviour = next.shift();
    for (const one of waiting) if (requests.length >= one.count) one.resolve();
    give(response, await (behaviour?.(request, serve) ?? serve(request)));
  };
  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    handle(incoming, response).catch((error: unknown) => {
      // A request that is not of the protocol is a mistake of ours, and shall be seen.
      give(response, { status: 400, body: error instanceof Error ? error.message : String(error) });
    });
  };
  let server: Server | null = null;
  let port = 0;
  const up = async (): Promise<void> => {
    const opened = tls === null ? createServer(listener) : createTlsServer(tls, listener);
    server = opened;
    await new Promise<void>((resolve) => opened.listen(port, '127.0.0.1', resolve));
    ({ port } = opened.address() as AddressInfo);
  };
  const down = async (): Promise<void> => {
    const closing = server;
    server = null;
    if (closing === null) return;
    const closed = new Promise((resolve) => closing.close(resolve));
    closing.closeAllConnections();
    await closed;
  };
  await up();
  context.after(down);
  return {
    url: `${tls === null ? 'http' : 'https'}://127.0.0.1:${port}`,
    ...{ next, requests, up, down },
    came: (count) =>
      new Promise((resolve) => {
        if (requests.length >= count) resolve();
        else waiting.add({ count, resolve });
      }),
  };
}

async function whole(incoming: IncomingMessage): Promise<StubRequest> {
  const pieces: Buffer[] = [];
  for await (const piece of incoming) pieces.push(piece as Buffer);
  const { method = '', headers } = incoming;
  const url = new URL(incoming.url ?? '/', `http://${headers.host ?? 'nowhere'}`);
  return { method, url, headers, body: Buffer.concat(pieces) };
}

function give(response: ServerResponse, outcome: Outcome): void {
  if (outcome === 'silence') return;
  if (outcome === 'drop') {
    response.destroy();
    return;
  }
  const answer = 'half' in outcome ? outcome.half : outcome;
  const body = Buffer.from(answer.body);
  response.writeHead(answer.status, {
    'content-type': 'application/json',
    ...answer.headers,
    'content-length': String(body.length),
  });
  if ('half' in outcome) {
    response.write(body.subarray(0, body.length / 2), () => response.destroy());
  } else {
    response.end(body);
  }
}
