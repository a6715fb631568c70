/** The checker behind the gateway's own listener, against the AWS SDK as programs use it. */
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { test, type TestContext } from 'node:test';
import { KinesisClient, PutRecordCommand } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { createHttpServer } from '../../../gateway/http/server.ts';
import { createAwsAuthenticator } from '../../../gateway/security/aws-authenticator.ts';
import { AwsAuthError } from '../../../gateway/security/aws-error.ts';
import { systemClock } from '../../../storage/clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { credentials } from './signing.ts';

interface Served {
  readonly endpoint: string;
  /** Who was let in, and by which version of HTTP. */
  readonly callers: string[];
}

async function serve(t: TestContext): Promise<Served> {
  const authenticator = createAwsAuthenticator({
    mode: 'sigv4',
    accountId: '000000000000',
    region: null,
    keys: {
      find: (id) =>
        Promise.resolve(
          id === credentials.accessKeyId
            ? { name: 'plant', secretAccessKey: credentials.secretAccessKey }
            : null,
        ),
    },
    clock: systemClock,
  });
  const callers: string[] = [];
  const server = await createHttpServer({
    host: '127.0.0.1',
    port: 0,
    fetch: async (request, env) => {
      const { method, headers } = request;
      const body = new Uint8Array(await request.arrayBuffer());
      try {
        const asked = { method, url: new URL(request.url), headers, body };
        const { arn } = await authenticator.authenticate(asked, 'kinesis');
        callers.push(`HTTP/${env.incoming.httpVersion} ${arn}`);
        return Response.json({ ShardId: 'shardId-000000000000', SequenceNumber: '1' });
      } catch (error) {
        if (!(error instanceof AwsAuthError)) throw error;
        return Response.json(
          { __type: error.type, message: error.message },
          { status: error.status },
        );
      }
    },
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  });
  t.after(() => server.close());
  return { endpoint: server.url, callers };
}

function client(
  t: TestContext,
  endpoint: string,
  change: Partial<ConstructorParameters<typeof KinesisClient>[0]> = {},
): KinesisClient {
  const made = new KinesisClient({
    endpoint,
    region: 'eu-central-1',
    credentials,
    maxAttempts: 1,
    ...change,
  });
  t.after(() => {
    made.destroy();
  });
  return made;
}

const put = new PutRecordCommand({
  StreamName: 'readings',
  PartitionKey: 'ü',
  Data: Buffer.from('x'.repeat(1000)),
});

test('the SDK gets in over HTTP/2, its default, and over HTTP/1.1', async (t) => {
  const { endpoint, callers } = await serve(t);
  assert.equal((await client(t, endpoint).send(put)).SequenceNumber, '1');
  const named = endpoint.replace('127.0.0.1', 'localhost');
  await client(t, named, { requestHandler: new NodeHttpHandler() }).send(put);
  const arn = 'arn:aws:iam::000000000000:user/plant';
  assert.deepEqual(callers, [`HTTP/2.0 ${arn}`, `HTTP/1.1 ${arn}`]);
});

test('the SDK is told what is wrong with its key', async (t) => {
  const { endpoint, callers } = await serve(t);
  for (const [wrong, name] of [
    [{ ...credentials, secretAccessKey: 'x' }, 'InvalidSignatureException'],
    [{ ...credentials, accessKeyId: 'AKIAOTHER' }, 'UnrecognizedClientException'],
  ] as const) {
    for (const requestHandler of [undefined, new NodeHttpHandler()]) {
      const made = client(t, endpoint, {
        credentials: wrong,
        ...(requestHandler === undefined ? {} : { requestHandler }),
      });
      await assert.rejects(made.send(put), { name });
    }
  }
  assert.deepEqual(callers, []);
});

test('a request caught on the wire and sent again with another body is refused', async (t) => {
  const { endpoint, callers } = await serve(t);
  const caught: { headers: Record<string, string>; body: string }[] = [];
  const made = client(t, endpoint, { requestHandler: new NodeHttpHandler() });
  made.middlewareStack.add(
    (next) => (args) => {
      const { headers, body } = args.request as { headers: Record<string, string>; body: string };
      caught.push({ headers: { ...headers }, body });
      return next(args);
    },
    { step: 'finalizeRequest', priority: 'low' },
  );
  await made.send(put);
  const [{ headers, body } = { headers: {}, body: '' }] = caught;
  const send = (sent: string): Promise<number> =>
    new Promise((resolve, reject) => {
      const length = String(Buffer.byteLength(sent));
      const request = httpRequest(
        endpoint,
        { method: 'POST', headers: { ...headers, 'content-length': length } },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      request.on('error', reject);
      request.end(sent);
    });
  assert.equal(await send(body), 200);
  assert.equal(await send(body.replace('readings', 'commands')), 400);
  assert.equal(callers.length, 2);
});
