/** An endpoint of Firehose's HTTP protocol that takes nothing but what the protocol allows. */
import assert from 'node:assert/strict';
import { gunzipSync } from 'node:zlib';
import { z } from 'zod';
import type { Scope } from '../../../support/scope.ts';
import { startStub, type StubAnswer, type StubRequest, type StubServer } from './stub-server.ts';

export interface FirehoseEndpoint extends StubServer {
  /** What was taken, in order. */
  readonly taken: { readonly requestId: string; readonly data: Buffer }[];
  /** Of a body, before compression; more is answered with 413. */
  maxBytes: number;
}

export const accessKey = 'let-me-in-4711';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const bodyShape = z.strictObject({
  requestId: z.string().regex(uuid),
  timestamp: z.int().min(Date.UTC(2026, 0, 1)),
  records: z
    .array(z.strictObject({ data: z.base64() }))
    .min(1)
    .max(10_000),
});

export async function startFirehoseEndpoint(
  context: Scope,
  tls: { readonly key: string; readonly cert: string } | null = null,
): Promise<FirehoseEndpoint> {
  const taken: { requestId: string; data: Buffer }[] = [];
  const serve = (request: StubRequest): StubAnswer => {
    const { method, headers } = request;
    if (method === 'HEAD') return { status: 405, body: '' };
    assert.equal(method, 'POST');
    const said = (name: string): string | undefined => {
      const value = headers[`x-amz-firehose-${name}`];
      return Array.isArray(value) ? value.join() : value;
    };
    const zipped = headers['content-encoding'] === 'gzip';
    const plain = zipped ? gunzipSync(request.body) : request.body;
    const id = said('request-id') ?? '';
    const answer = (status: number, errorMessage?: string): StubAnswer => ({
      status,
      body: JSON.stringify({ requestId: id, timestamp: 1578090903599, errorMessage }),
    });
    if (said('access-key') !== accessKey) {
      return answer(401, `Access key ${said('access-key') ?? 'missing'} is not ours`);
    }
    assert.equal(said('protocol-version'), '1.0');
    assert.equal(headers['content-type'], 'application/json');
    assert.match(said('source-arn') ?? '', /^arn:aws:firehose:[\w-]+:\d{12}:deliverystream\/\S+$/);
    const attributes = said('common-attributes');
    if (attributes !== undefined) {
      z.strictObject({ commonAttributes: z.record(z.string(), z.string()) }).parse(
        JSON.parse(attributes),
      );
    }
    assert.ok(plain.length <= 64 * 1024 ** 2, 'at most 64 MiB');
    if (plain.length > endpoint.maxBytes) return answer(413, 'Payload too large');
    const body = bodyShape.parse(JSON.parse(plain.toString()));
    assert.equal(body.requestId, id);
    taken.push(
      ...body.records.map(({ data }) => ({ requestId: id, data: Buffer.from(data, 'base64') })),
    );
    return answer(200);
  };
  const endpoint: FirehoseEndpoint = {
    ...(await startStub(context, serve, tls)),
    ...{ taken, maxBytes: Infinity },
  };
  return endpoint;
}
