/** A cluster of OpenSearch, as far as `_bulk` goes. */
import assert from 'node:assert/strict';
import { z } from 'zod';
import type { Scope } from '../../../support/scope.ts';
import { assertSigned } from './signature-check.ts';
import { startStub, type StubAnswer, type StubRequest, type StubServer } from './stub-server.ts';

export interface OpenSearchStub extends StubServer {
  /** Documents by index and id. */
  readonly indexes: Map<string, Map<string, unknown>>;
  /** Ids in the order in which they were last written. */
  readonly written: string[];
  /** Of a request; more is answered with 413. */
  maxBytes: number;
  /** What to refuse a document with, by its id; asked at each attempt. */
  refuse: (id: string, document: Record<string, unknown>) => ItemError | null;
}

export interface ItemError {
  readonly status: number;
  readonly type: string;
}

export const login = { username: 'gateway', password: 'pass:word' };

const action = z.strictObject({ _index: z.string().min(1), _id: z.string().min(1).optional() });
const actionLine = z.union([z.strictObject({ index: action }), z.strictObject({ create: action })]);

/** @param access how requests have to come */
export async function startOpenSearch(
  context: Scope,
  access: 'login' | 'es' | 'aoss' = 'login',
): Promise<OpenSearchStub> {
  const indexes = new Map<string, Map<string, unknown>>();
  const written: string[] = [];
  let made = 0;

  const bulk = (body: string): StubAnswer => {
    assert.ok(body.endsWith('\n'), 'the last line ends, too');
    const lines = body.slice(0, -1).split('\n');
    assert.equal(lines.length % 2, 0);
    const items: Record<string, Record<string, unknown>>[] = [];
    for (let at = 0; at < lines.length; at += 2) {
      const parsed = actionLine.parse(JSON.parse(lines[at] ?? ''));
      const [operation, target] =
        'index' in parsed
          ? (['index', parsed.index] as const)
          : (['create', parsed.create] as const);
      const { _index: index, _id: id = `made-${(made += 1)}` } = target;
      assert.ok(Buffer.byteLength(id) <= 512, 'a longer id fails the request');
      const document = JSON.parse(lines[at + 1] ?? '') as Record<string, unknown>;
      assert.ok(!Array.isArray(document));
      items.push({
        [operation]: { _index: index, _id: id, ...write(operation, index, id, document) },
      });
    }
    const errors = items.some((item) =>
      Object.values(item).some(({ error }) => error !== undefined),
    );
    return { status: 200, body: JSON.stringify({ took: 3, errors, items }) };
  };

  const write = (
    operation: 'index' | 'create',
    index: string,
    id: string,
    document: Record<string, unknown>,
  ): Record<string, unknown> => {
    const refused = stub.refuse(id, document);
    if (refused !== null) {
      const { status, type } = refused;
      return { status, error: { type, reason: `no ${id}` } };
    }
    const documents = indexes.get(index) ?? new Map<string, unknown>();
    indexes.set(index, documents);
    const isThere = documents.has(id);
    if (isThere && operation === 'create') {
      const error = { type: 'version_conflict_engine_exception', reason: `[${id}]: exists` };
      return { status: 409, error };
    }
    documents.set(id, document);
    written.push(id);
    return { status: isThere ? 200 : 201, result: isThere ? 'updated' : 'created', _version: 1 };
  };

  const serve = async (request: StubRequest): Promise<StubAnswer> => {
    if (access !== 'login') {
      await assertSigned(request, access);
    } else {
      const basic = Buffer.from(`${login.username}:${login.password}`).toString('base64');
      if (request.headers.authorization !== `Basic ${basic}`) {
        return { status: 401, body: 'Unauthorized' };
      }
    }
    if (request.method === 'GET') return { status: 200, body: '{}' };
    assert.equal(request.url.pathname, '/_bulk');
    assert.equal(request.headers['content-type'], 'application/x-ndjson');
    if (request.body.length > stub.maxBytes) return { status: 413, body: '' };
    return bulk(request.body.toString());
  };

  const stub: OpenSearchStub = {
    ...(await startStub(context, serve)),
    ...{ indexes, written, maxBytes: Infinity, refuse: () => null },
  };
  return stub;
}
