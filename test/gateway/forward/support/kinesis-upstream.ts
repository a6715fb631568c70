/** A real Kinesis server, kinesalite or another Headgate, behind a stub that a test makes misbehave. */
import type { TestContext } from 'node:test';
import type { KinesisClient } from '@aws-sdk/client-kinesis';
import { systemClock } from '../../../../storage/clock.ts';
import { serveKinesis } from '../../api/kinesis/support.ts';
import {
  kinesisClient,
  createStream,
  credentials,
  readShards,
  readStream,
  startKinesis,
} from './servers.ts';
import { startStub, type Serve, type StubServer } from './stub-server.ts';

export interface KinesisUpstream {
  readonly stub: StubServer;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Past the stub. */
  readonly client: KinesisClient;
  /** What the stream `upstream` holds. */
  read(): Promise<{ key: string; data: Buffer }[]>;
  /** The same, of each shard. */
  readByShard(): Promise<{ key: string; data: Buffer }[][]>;
}

/** kinesalite with a stream `upstream`. */
export async function startKinesalite(
  context: TestContext,
  shards: number,
): Promise<KinesisUpstream> {
  const { endpoint, client } = await startKinesis(context);
  return behindStub(context, { endpoint, client, credentials, shards });
}

/** The Kinesis API of another Headgate, with a stream `upstream`. */
export async function startHeadgate(
  context: TestContext,
  shards: number,
): Promise<KinesisUpstream> {
  const { server } = await serveKinesis(context, { clock: systemClock });
  const known = { accessKeyId: 'AKIATEST', secretAccessKey: 'secret' };
  const client = kinesisClient(context, server.url, known);
  return behindStub(context, { endpoint: server.url, client, credentials: known, shards });
}

async function behindStub(
  context: TestContext,
  server: Pick<KinesisUpstream, 'client' | 'credentials'> & {
    readonly endpoint: string;
    readonly shards: number;
  },
): Promise<KinesisUpstream> {
  const { endpoint, client, shards } = server;
  await createStream(client, 'upstream', shards);
  const stub = await startStub(context, passOn(endpoint));
  return {
    ...{ stub, client, credentials: server.credentials },
    read: () => readStream(client, 'upstream'),
    readByShard: () => readShards(client, 'upstream'),
  };
}

function passOn(endpoint: string): Serve {
  return async ({ method, headers, body }) => {
    const passed = ['x-amz-target', 'content-type', 'authorization', 'x-amz-date'].map(
      (name) => [name, String(headers[name])] as const,
    );
    const answer = await fetch(endpoint, { method, headers: Object.fromEntries(passed), body });
    const type = answer.headers.get('content-type') ?? 'application/x-amz-json-1.1';
    return { status: answer.status, headers: { 'content-type': type }, body: await answer.text() };
  };
}
