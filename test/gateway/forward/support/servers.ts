/** Real destinations as programs of their own: an S3 server and a Kinesis server on free ports. */
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import {
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  KinesisClient,
  ListShardsCommand,
} from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { join } from 'node:path';
import { startChild, type Child } from '../../../support/child.ts';
import type { Scope } from '../../../support/scope.ts';
import { startProxy, type Passing } from './proxy.ts';

export const credentials = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };
const objectsAtOnce = 20;
const modules = join(import.meta.dirname, '../../../../node_modules');

export interface S3Server {
  readonly endpoint: string;
  readonly port: number;
  readonly child: Child;
}

/** s3rver with one bucket, `bucket`; its objects lie in `folder`. `port` 0: a free one. */
export async function startS3(context: Scope, folder: string, port = 0): Promise<S3Server> {
  const args = [
    // For lists of more than 1,000 keys: it encrypts where the next page begins with Blowfish.
    '--openssl-legacy-provider',
    join(modules, 's3rver/bin/s3rver.js'),
    ...['--directory', folder, '--address', '127.0.0.1', '--port', String(port)],
    ...['--silent', '--configure-bucket', 'bucket', '--no-vhost-buckets'],
  ];
  const child = startChild(context, process.execPath, args);
  const match = await child.line(/listening on 127\.0\.0\.1:(\d+)/);
  return { child, port: Number(match[1]), endpoint: `http://127.0.0.1:${match[1] ?? ''}` };
}

/**
 * s3rver behind a proxy that makes up for two things S3 does better: s3rver keeps the beginning of
 * an upload that broke off, and it acknowledges before the last bytes are written, so that one
 * killed in that moment loses what it acknowledged.
 */
export async function startWholeS3(
  context: Scope,
  folder: string,
): Promise<{ readonly endpoint: string; readonly server: S3Server }> {
  const server = await startS3(context, folder);
  const proxy = await startProxy(context, server.endpoint, passWhole);
  return { endpoint: proxy.endpoint, server };
}

/** Passes a request on once it is whole, and acknowledges it once it can be read back. */
export async function passWhole(passing: Passing): Promise<void> {
  const body = await passing.body();
  const answer = await passing.ask(body);
  if (passing.request.method === 'PUT' && answer.status === 200) {
    for (let stored = -1; stored !== body.length;) stored = await passing.storedBytes();
  }
  passing.response.writeHead(answer.status, answer.headers);
  passing.response.end(answer.body);
}

export function s3Client(context: Scope, endpoint: string): S3Client {
  const client = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
  context.after(() => {
    client.destroy();
  });
  return client;
}

export async function listKeys(client: S3Client): Promise<string[]> {
  const keys: string[] = [];
  for (let token: string | undefined; ;) {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket: 'bucket', ContinuationToken: token }),
    );
    keys.push(...(page.Contents ?? []).flatMap(({ Key }) => Key ?? []));
    token = page.NextContinuationToken;
    if (token === undefined) return keys;
  }
}

export async function getObject(client: S3Client, key: string): Promise<Buffer> {
  const answer = await client.send(new GetObjectCommand({ Bucket: 'bucket', Key: key }));
  return Buffer.from((await answer.Body?.transformToByteArray()) ?? []);
}

/** In the order of their keys, some at a time: whoever waits for a connection for long loses it. */
export async function getObjects(client: S3Client, keys: readonly string[]): Promise<Buffer[]> {
  const objects: Buffer[] = [];
  for (let at = 0; at < keys.length; at += objectsAtOnce) {
    const some = keys.slice(at, at + objectsAtOnce);
    objects.push(...(await Promise.all(some.map((key) => getObject(client, key)))));
  }
  return objects;
}

const kinesaliteProgram = `
  const server = require('kinesalite')({ createStreamMs: 0, deleteStreamMs: 0 });
  server.listen(0, '127.0.0.1', () => console.log('listening on ' + server.address().port));
`;

/** kinesalite, everything in its memory. */
export async function startKinesis(context: Scope): Promise<{
  readonly endpoint: string;
  readonly child: Child;
  readonly client: KinesisClient;
}> {
  const cwd = join(modules, '..');
  const child = startChild(context, process.execPath, ['-e', kinesaliteProgram], { cwd });
  const match = await child.line(/listening on (\d+)/);
  const endpoint = `http://127.0.0.1:${match[1] ?? ''}`;
  return { endpoint, child, client: kinesisClient(context, endpoint, credentials) };
}

export function kinesisClient(
  context: Scope,
  endpoint: string,
  known: typeof credentials,
): KinesisClient {
  const client = new KinesisClient({
    ...{ endpoint, region: 'us-east-1', credentials: known },
    requestHandler: new NodeHttpHandler(),
  });
  context.after(() => {
    client.destroy();
  });
  return client;
}

export async function createStream(
  client: KinesisClient,
  stream: string,
  shards: number,
): Promise<void> {
  await client.send(new CreateStreamCommand({ StreamName: stream, ShardCount: shards }));
  for (;;) {
    const summary = await client.send(new DescribeStreamSummaryCommand({ StreamName: stream }));
    if (summary.StreamDescriptionSummary?.StreamStatus === 'ACTIVE') return;
  }
}

/** Everything a stream holds, shard after shard, each in the order of its sequence numbers. */
export async function readStream(
  client: KinesisClient,
  stream: string,
): Promise<{ key: string; data: Buffer }[]> {
  return (await readShards(client, stream)).flat();
}

/** Everything that each shard of a stream holds. */
export async function readShards(
  client: KinesisClient,
  stream: string,
): Promise<{ key: string; data: Buffer }[][]> {
  const { Shards: shards = [] } = await client.send(new ListShardsCommand({ StreamName: stream }));
  const all: { key: string; data: Buffer }[][] = [];
  for (const shard of shards) {
    const records: { key: string; data: Buffer }[] = [];
    all.push(records);
    const first = await client.send(
      new GetShardIteratorCommand({
        StreamName: stream,
        ShardId: shard.ShardId,
        ShardIteratorType: 'TRIM_HORIZON',
      }),
    );
    for (let iterator = first.ShardIterator; iterator !== undefined;) {
      const page = await client.send(new GetRecordsCommand({ ShardIterator: iterator }));
      for (const { PartitionKey, Data } of page.Records ?? []) {
        records.push({ key: PartitionKey ?? '', data: Buffer.from(Data ?? []) });
      }
      if ((page.Records ?? []).length === 0) break;
      iterator = page.NextShardIterator;
    }
  }
  return all;
}
