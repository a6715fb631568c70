/**
 * Clients of the Kinesis API for benchmarks: the SDK, and one that costs next to nothing. That one
 * sends requests that were signed before, and of an answer looks at the status and the end only, so
 * what is measured with it is the server.
 */
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import {
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  PutRecordCommand,
  PutRecordsCommand,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import {
  algorithm,
  scopeText,
  sha256Hex,
  signatureOf,
  signingKey,
  timestampOf,
} from '../../../gateway/security/sigv4.ts';

export const credentials = { accessKeyId: 'AKIABENCH', secretAccessKey: 'secret-of-the-benchmark' };
export const region = 'us-east-1';

export type Protocol = 'http1' | 'h2c';
export type Operation = 'PutRecord' | 'PutRecords' | 'GetRecords' | 'GetShardIterator';

/** The members of a request; blobs are Buffers. */
export type Input = Readonly<Record<string, unknown>>;

/** Sends the input of that index, and resolves when the whole answer has come. */
export interface Caller {
  call(index: number): Promise<void>;
}

export interface Callers {
  readonly callers: readonly Caller[];
  close(): void;
}

/** Callers that sign ahead: a connection each over HTTP/1.1, a stream at a time each over one of h2c. */
export async function bareCallers(
  port: number,
  protocol: Protocol,
  operation: Operation,
  inputs: readonly Input[],
  count: number,
): Promise<Callers> {
  if (protocol === 'h2c') {
    const bodies = inputs.map((input) => Buffer.from(jsonOf(input)));
    const signed = bodies.map((body) => signedHeaders(port, protocol, operation, body));
    const session = connectHttp2(`http://127.0.0.1:${port}`, {
      settings: { initialWindowSize: 4 * 2 ** 20 },
    });
    await once(session, 'connect');
    session.setLocalWindowSize(64 * 2 ** 20);
    const call = (index: number): Promise<void> => {
      const at = index % bodies.length;
      return callHttp2(session, signed[at] ?? {}, bodies[at] ?? Buffer.alloc(0));
    };
    const callers = Array.from({ length: count }, () => ({ call }));
    return { callers, close: () => session.destroy() };
  }
  const requests = inputs.map((input) => signedRequest(port, operation, input));
  const callers = await Promise.all(
    Array.from({ length: count }, () => Http1Caller.open(port, requests)),
  );
  return {
    callers,
    close: () => {
      for (const caller of callers) caller.close();
    },
  };
}

export function sdkClient(port: number, protocol: Protocol): KinesisClient {
  return new KinesisClient({
    // A copy: the SDK writes into what it is given.
    ...{ endpoint: `http://127.0.0.1:${port}`, region, credentials: { ...credentials } },
    maxAttempts: 1,
    ...(protocol === 'http1' ? { requestHandler: new NodeHttpHandler() } : {}),
  });
}

/** Callers that share a client of the SDK, as its users do. */
export function sdkCallers(
  port: number,
  protocol: Protocol,
  operation: Operation,
  inputs: readonly Input[],
  count: number,
): Callers {
  const client = sdkClient(port, protocol);
  const call = async (index: number): Promise<void> => {
    const input = inputs[index % inputs.length] as never;
    if (operation === 'PutRecord') await client.send(new PutRecordCommand(input));
    else if (operation === 'PutRecords') await client.send(new PutRecordsCommand(input));
    else if (operation === 'GetRecords') await client.send(new GetRecordsCommand(input));
    else await client.send(new GetShardIteratorCommand(input));
  };
  return {
    callers: Array.from({ length: count }, () => ({ call })),
    close: () => client.destroy(),
  };
}

/** A request of HTTP/1.1, whole. */
export function signedRequest(port: number, operation: Operation, input: Input): Buffer {
  const body = Buffer.from(jsonOf(input));
  const headers = {
    ...signedHeaders(port, 'http1', operation, body),
    'content-length': String(body.length),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`POST / HTTP/1.1\r\n${lines.join('')}\r\n`), body]);
}

function jsonOf(input: Input): string {
  return JSON.stringify(input, function (this: Record<string, unknown>, key, value: unknown) {
    const held = this[key];
    return Buffer.isBuffer(held) ? held.toString('base64') : value;
  });
}

/** Headers with a signature that is good for five minutes. */
function signedHeaders(
  port: number,
  protocol: Protocol,
  operation: Operation,
  body: Buffer,
): Record<string, string> {
  const host = protocol === 'h2c' ? ':authority' : 'host';
  const timestamp = timestampOf(Date.now());
  const headers: Record<string, string> = {
    [host]: `127.0.0.1:${port}`,
    'content-type': 'application/x-amz-json-1.1',
    'x-amz-date': timestamp,
    'x-amz-target': `Kinesis_20131202.${operation}`,
  };
  const names = Object.keys(headers);
  const scope = { date: timestamp.slice(0, 8), region, service: 'kinesis' };
  const request = {
    method: 'POST',
    url: new URL(`http://127.0.0.1:${port}/`),
    header: (name: string) => headers[name],
    signedHeaders: names,
    payloadHash: sha256Hex(body),
  };
  const key = signingKey(credentials.secretAccessKey, scope);
  const credential = `${credentials.accessKeyId}/${scopeText(scope)}`;
  return {
    ...headers,
    authorization:
      `${algorithm} Credential=${credential}, SignedHeaders=${names.join(';')}, ` +
      `Signature=${signatureOf(request, timestamp, scope, key)}`,
  };
}

function callHttp2(
  session: ClientHttp2Session,
  headers: Record<string, string>,
  body: Buffer,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': '/', ...headers });
    stream.once('response', ({ ':status': status }) => {
      if (status !== 200) reject(new Error(`answered ${status ?? 'nothing'}`));
    });
    stream.once('error', reject);
    stream.once('end', resolve);
    stream.resume();
    stream.end(body);
  });
}

const endOfHead = Buffer.from('\r\n\r\n');
const lastChunk = '0\r\n\r\n';

/** One connection of HTTP/1.1, and one request at a time. */
class Http1Caller implements Caller {
  readonly #socket: Socket;
  readonly #requests: readonly Buffer[];
  #head: Buffer | null = Buffer.alloc(0);
  /** Of the body that is to come; null: it comes in chunks. */
  #leftBytes: number | null = null;
  #tail = '';
  #settle: { resolve: () => void; reject: (error: Error) => void } | null = null;

  private constructor(socket: Socket, requests: readonly Buffer[]) {
    this.#socket = socket;
    this.#requests = requests;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('close', () => this.#settle?.reject(new Error('the server closed the connection')));
  }

  static async open(port: number, requests: readonly Buffer[]): Promise<Http1Caller> {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    await once(socket, 'connect');
    return new Http1Caller(socket, requests);
  }

  call(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#head = Buffer.alloc(0);
      this.#socket.write(this.#requests[index % this.#requests.length] ?? Buffer.alloc(0));
    });
  }

  close(): void {
    this.#settle = null;
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    let body = chunk;
    if (this.#head !== null) {
      const head = Buffer.concat([this.#head, chunk]);
      const end = head.indexOf(endOfHead);
      this.#head = end < 0 ? head : null;
      if (end < 0) return;
      const text = head.toString('latin1', 0, end);
      if (!text.startsWith('HTTP/1.1 200')) {
        this.#settle?.reject(new Error(`${text}\n${head.toString('utf8', end)}`));
        return;
      }
      const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
      this.#leftBytes = length === undefined ? null : Number(length);
      this.#tail = '';
      body = head.subarray(end + endOfHead.length);
    }
    if (this.#leftBytes !== null) {
      this.#leftBytes -= body.length;
      if (this.#leftBytes <= 0) this.#settle?.resolve();
      return;
    }
    // No JSON ends like this.
    this.#tail = (this.#tail + body.toString('latin1', Math.max(0, body.length - 5))).slice(-5);
    if (this.#tail === lastChunk) this.#settle?.resolve();
  }
}
