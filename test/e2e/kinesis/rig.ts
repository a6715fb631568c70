/** A whole gateway with its signatures checked, and what AWS clients need to find it. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { CreateStreamCommand, KinesisClient, waitUntilStreamExists } from '@aws-sdk/client-kinesis';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { Authority } from '../../support/certificates.ts';
import { GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export const run = promisify(execFile);

export interface KinesisGateway {
  readonly gateway: GatewayProcess;
  /** Plaintext. */
  readonly endpoint: string;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** What programs made for AWS find in their environment: the key, the region, and no others. */
  readonly environment: NodeJS.ProcessEnv;
}

/** @param sections YAML, of the configuration */
export async function startGateway(t: TestContext, sections = ''): Promise<KinesisGateway> {
  const gateway = await GatewayProcess.start(t, await temporaryFolder(t), sections);
  const [program, args] = headgateCommand('access-key', 'create', 'plant');
  const { stdout } = await run(program, args, { cwd: gateway.folder });
  const [, accessKeyId = '', secretAccessKey = ''] = /ID=(.+)\n.+KEY=(.+)\n/.exec(stdout) ?? [];
  const environment = {
    ...process.env,
    NODE_OPTIONS: '',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_REGION: 'us-east-1',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_PAGER: '',
  };
  const credentials = { accessKeyId, secretAccessKey };
  return { gateway, endpoint: gateway.url, credentials, environment };
}

/** The same with a certificate. Needs `openssl`. */
export async function startTlsGateway(
  t: TestContext,
): Promise<KinesisGateway & { readonly caFile: string }> {
  const folder = await temporaryFolder(t);
  const authority = new Authority(folder, 'plant');
  const { cert, key } = authority.issue('localhost');
  const [certFile, keyFile, caFile] = ['cert.pem', 'key.pem', 'authority.pem'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  await writeFile(certFile, cert);
  await writeFile(keyFile, key);
  await writeFile(caFile, authority.cert);
  const tls = `tls: { certFile: ${certFile}, keyFile: ${keyFile} }`;
  const started = await startGateway(t, tls);
  return {
    ...started,
    endpoint: `https://localhost:${started.gateway.httpPort}`,
    environment: { ...started.environment, NODE_EXTRA_CA_CERTS: caFile, AWS_CA_BUNDLE: caFile },
    caFile,
  };
}

/** Makes a stream; resolves when it is ACTIVE. */
export async function createStream(
  client: KinesisClient,
  StreamName: string,
  ShardCount: number,
): Promise<void> {
  await client.send(new CreateStreamCommand({ StreamName, ShardCount }));
  const often = { client, maxWaitTime: 20, minDelay: 1, maxDelay: 1 };
  await waitUntilStreamExists(often, { StreamName });
}

/** The SDK over HTTP/1.1, for what a test does beside its subject. */
export function clientOf(t: TestContext, { endpoint, credentials }: KinesisGateway): KinesisClient {
  const client = new KinesisClient({
    ...{ region: 'us-east-1', endpoint, credentials, requestHandler: new NodeHttpHandler() },
  });
  t.after(() => {
    client.destroy();
  });
  return client;
}
