/** Whether a request bears the signature that the AWS SDK's own signer gives it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { Sha256 } from '../../security/signing.ts';
import { credentials } from './servers.ts';
import type { StubRequest } from './stub-server.ts';

/** @param service as signatures name it */
export async function assertSigned(request: StubRequest, service: string): Promise<void> {
  const { authorization = '', ...headers } = request.headers;
  const [, keyId, date, region = '', named, list = ''] =
    /^AWS4-HMAC-SHA256 Credential=(\w+)\/(\d{8})\/([\w-]+)\/(\w+)\/aws4_request, SignedHeaders=([\w;-]+), Signature=[0-9a-f]{64}$/.exec(
      authorization,
    ) ?? [];
  assert.equal(keyId, credentials.accessKeyId, `an access key of ours: ${authorization}`);
  assert.equal(named, service);
  const sentAt = String(headers['x-amz-date']);
  assert.ok(date !== undefined && sentAt.startsWith(date));
  const names = list.split(';');
  for (const name of ['host', 'x-amz-date']) assert.ok(names.includes(name), `${name} is signed`);
  assert.equal(
    headers['x-amz-content-sha256'],
    createHash('sha256').update(request.body).digest('hex'),
  );
  const signer = new SignatureV4({ credentials, region, service, sha256: Sha256 });
  const signed = await signer.sign(
    {
      ...{ method: request.method, protocol: 'http:', hostname: request.url.hostname },
      path: request.url.pathname,
      query: Object.fromEntries(request.url.searchParams),
      headers: Object.fromEntries(
        names.filter((name) => name !== 'x-amz-date').map((name) => [name, String(headers[name])]),
      ),
      body: request.body,
    },
    {
      signingDate: new Date(
        sentAt.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'),
      ),
    },
  );
  assert.equal(signed.headers['authorization'], authorization);
}
