/** Where media sinks send to: our own PutMedia, and a service that does as a test tells it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { Hono } from 'hono';
import { KinesisVideoService } from '../../../../gateway/api/kinesis-video/kinesis-video.ts';
import { putMediaHandler } from '../../../../gateway/api/kinesis-video/put-media.ts';
import { putMediaCamera } from '../../../../gateway/config/schema.ts';
import type { AppEnv } from '../../../../gateway/http/authentication.ts';
import { createHttpServer } from '../../../../gateway/http/server.ts';
import { createAwsAuthenticator } from '../../../../gateway/security/aws-authenticator.ts';
import { createAuthorizer } from '../../../../gateway/security/policies.ts';
import { StreamCameras } from '../../../../gateway/stream-cameras.ts';
import { PutMediaEntrance } from '../../../../ingest/mkv/entrance.ts';
import { MkvReader } from '../../../../ingest/mkv/mkv-reader.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { VideoStore } from '../../../../storage/model.ts';
import { cameraOptions, openVideo } from '../../../storage/video/footage.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { credentials } from './servers.ts';

export interface OwnService {
  readonly url: string;
  readonly video: VideoStore;
}

/** The stream `gate` of a gateway of our own: signatures, GetDataEndpoint and PutMedia are real. */
export async function ownService(t: TestContext): Promise<OwnService> {
  const clock = systemClock;
  const { store, logger, metrics } = await openVideo(t, await memoryFolder(t), { clock });
  const { video } = store;
  await video.ensureCamera(cameraOptions('gate'));
  const configured = { gate: putMediaCamera(1) };
  const cameras = new StreamCameras(video, () => configured);
  const entrance = new PutMediaEntrance(clock);
  const stop = new AbortController();
  const served = entrance.serve('gate', stop.signal);
  const authenticator = createAwsAuthenticator({
    ...{ mode: 'sigv4', accountId: '000000000000', region: null, clock },
    keys: {
      find: (id) =>
        Promise.resolve(
          id === credentials.accessKeyId
            ? { name: 'box', secretAccessKey: credentials.secretAccessKey }
            : null,
        ),
    },
  });
  const authorizer = createAuthorizer({ keys: { policiesOf: () => [] }, clock });
  const service = new KinesisVideoService({
    ...{ video, cameras, clock, logger, metrics, authenticator, authorizer },
    images: { imageOf: () => Promise.reject(new Error('no images')) },
    account: { region: 'us-east-1', accountId: '000000000000' },
    secret: Buffer.alloc(32, 7),
    audit: { record: () => undefined, countStranger: () => undefined },
  });
  const server = await createHttpServer({
    ...{ host: '127.0.0.1', port: 0, clock, logger, metrics, limits: { drainMs: 1_000 } },
    fetch: new Hono<AppEnv>().route('/', service.routes).fetch,
    streaming: putMediaHandler({
      ...{ entrance, video, clock, logger, metrics, authenticator, authorizer },
      arnOf: (StreamName) => service.streams.arnOf({ StreamName }),
      fragmentNumber: String,
    }),
  });
  t.after(async () => {
    stop.abort();
    await served;
    service.close();
    await server.close();
  });
  return { url: server.url, video };
}

/** A connection as the stub sees it. */
export interface StubConnection {
  /** Times of the fragments that came, whole, in milliseconds. */
  readonly timecodes: number[];
  readonly headers: IncomingMessage['headers'];
  /** Resolves when it is closed. */
  readonly closed: Promise<void>;
  readonly say: (text: string) => void;
  readonly ack: (
    type: string,
    timecodeMs: number,
    more?: Readonly<Record<string, unknown>>,
  ) => void;
  /** Ends the answer. */
  readonly end: () => void;
  readonly cut: () => void;
}

export interface Behaviour {
  /** Instead of an answer. */
  readonly refuse?: { readonly status: number; readonly type: string } | undefined;
  /** As soon as it stands. */
  readonly opened?: (connection: StubConnection) => void;
  /** A fragment is there. Left out: it is acknowledged as it should be. */
  readonly fragment?: (connection: StubConnection, timecodeMs: number) => void;
}

export interface Stub {
  readonly url: string;
  /** In order. */
  readonly connections: readonly StubConnection[];
  /** Names that the service was asked for the address of. */
  readonly asked: readonly string[];
}

const honest = (connection: StubConnection, timecodeMs: number): void => {
  for (const type of ['BUFFERING', 'RECEIVED', 'PERSISTED']) connection.ack(type, timecodeMs);
};

/**
 * @param script what each connection meets, in order; those after it are served as they should be
 * @param endpoint what GetDataEndpoint answers: status and body; by default this server
 */
export async function lyingService(
  t: TestContext,
  script: readonly Behaviour[],
  endpoint: (url: string) => { status: number; type?: string; body: string } = (url) => ({
    ...{ status: 200, body: JSON.stringify({ DataEndpoint: url }) },
  }),
): Promise<Stub> {
  const connections: StubConnection[] = [];
  const asked: string[] = [];
  let begun = 0;
  const server = createServer((request, response) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    if (request.url === '/getDataEndpoint') {
      answerEndpoint(request, response);
      return;
    }
    const { refuse, opened, fragment = honest } = script[begun++] ?? {};
    if (refuse !== undefined) {
      response.writeHead(refuse.status, { 'x-amzn-errortype': refuse.type });
      response.end('{"Message": "no"}');
      return;
    }
    response.writeHead(200).flushHeaders();
    const connection = connectionOf(request, response);
    connections.push(connection);
    opened?.(connection);
    const reader = new MkvReader();
    let timecodeMs = 0;
    request.on('data', (piece: Buffer) => {
      for (const event of reader.push(piece)) {
        if (event.type === 'cluster') timecodeMs = event.ticks;
        if (event.type !== 'cluster-end') continue;
        connection.timecodes.push(timecodeMs);
        fragment(connection, timecodeMs);
      }
    });
    request.on('end', () => response.end());
  });
  function answerEndpoint(request: IncomingMessage, response: ServerResponse): void {
    let text = '';
    request.on('data', (piece: Buffer) => (text += piece.toString()));
    request.on('end', () => {
      asked.push(text);
      const { status, type = '', body } = endpoint(url);
      response.writeHead(status, { 'x-amzn-errortype': type }).end(body);
    });
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.after(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  return { url, connections, asked };
}

function connectionOf(request: IncomingMessage, response: ServerResponse): StubConnection {
  const say = (text: string): void => {
    if (!response.writableEnded) response.write(text);
  };
  return {
    timecodes: [],
    closed: new Promise((resolve) => request.socket.once('close', () => resolve())),
    headers: request.headers,
    say,
    ack: (EventType, FragmentTimecode, more = {}) => {
      say(`${JSON.stringify({ EventType, FragmentTimecode, FragmentNumber: '1', ...more })}\r\n`);
    },
    end: () => response.end(),
    cut: () => request.socket.destroy(),
  };
}
