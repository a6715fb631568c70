/** The promises of the sink for OpenSearch, asked of OpenSearch itself: from Maven, on request. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test, type TestContext } from 'node:test';
import type { BatchItem } from '../../../../gateway/forward/sink.ts';
import { idsBy } from '../../../../gateway/forward/sinks/opensearch/bulk.ts';
import {
  openSearchSink,
  type OpenSearchSinkOptions,
} from '../../../../gateway/forward/sinks/opensearch/opensearch-sink.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { startChild } from '../../../support/child.ts';
import { mavenJars, taken } from '../../../support/maven.ts';
import type { Scope } from '../../../support/scope.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import {
  losesAnswer,
  startStub,
  type StubAnswer,
  type StubRequest,
  type StubServer,
} from '../support/stub-server.ts';
import { batchOf, batchSinkContract, itemsOf } from './batch-sink-contract.ts';

const variable = 'HEADGATE_TEST_OPENSEARCH';
const isWanted = taken(variable);
const sources = join(import.meta.dirname, 'opensearch');
const never = new AbortController().signal;

/** One server for all tests, which takes a while to start: each has indexes of its own. */
let server: Promise<string> | null = null;
const undoing: (() => unknown)[] = [];
after(async () => {
  for (const undo of undoing.reverse()) await undo();
});

async function startServer(jars: string): Promise<string> {
  const scope: Scope = { after: (undo) => undoing.push(undo) };
  const child = startChild(scope, 'java', [
    ...['-Xmx512m', '-cp', join(jars, '*'), join(sources, 'OpenSearchServer.java')],
    await temporaryFolder(scope),
  ]);
  const [, port = ''] = await child.line(/^listening on (\d+)/, 120_000);
  return `http://127.0.0.1:${port}`;
}

/** A cluster of one node, behind a server that passes everything on; null: skipped. */
async function startCluster(context: TestContext): Promise<StubServer | null> {
  const jars = await mavenJars(context, {
    ...{ name: 'opensearch', title: 'OpenSearch', megabytes: 40 },
    ...{ pom: join(sources, 'pom.xml'), variable, isWanted },
  });
  if (jars === null) return null;
  server ??= startServer(jars);
  const origin = await server;
  const serve = async ({ method, url, headers, body }: StubRequest): Promise<StubAnswer> => {
    const answer = await fetch(`${origin}${url.pathname}${url.search}`, {
      method,
      headers: { 'content-type': headers['content-type'] ?? 'application/json' },
      ...(method === 'POST' && { body: new Uint8Array(body) }),
    });
    return { status: answer.status, body: await answer.text() };
  };
  return startStub(context, serve);
}

let indexes = 0;
const newIndex = (): string => `readings-${(indexes += 1)}`;

function sinkTo(
  context: TestContext,
  cluster: StubServer,
  options: Partial<OpenSearchSinkOptions> & { readonly index: string },
) {
  const sink = openSearchSink({
    ...{ endpoint: cluster.url, rotation: 'none', operation: 'index', access: null },
    ...{ documentId: 'record', maxBytes: 5 * 1024 ** 2, clock: systemClock },
    ...options,
  });
  context.after(() => sink.close());
  return sink;
}

interface Hit {
  readonly _index: string;
  readonly _id: string;
  readonly _source: Readonly<Record<string, unknown>>;
}

/** All documents of the indexes that a pattern names. */
async function documents({ url }: StubServer, pattern: string): Promise<readonly Hit[]> {
  await fetch(`${url}/${pattern}/_refresh`, { method: 'POST' });
  const query = 'size=10000&allow_no_indices=true&ignore_unavailable=true';
  const answer = await fetch(`${url}/${pattern}/_search?${query}`);
  return ((await answer.json()) as { hits: { hits: readonly Hit[] } }).hits.hits;
}

batchSinkContract('a cluster of OpenSearch', async (context) => {
  const cluster = await startCluster(context);
  if (cluster === null) return null;
  const index = newIndex();
  return {
    ...{ sink: sinkTo(context, cluster, { index }), isOrdered: false, deduplicates: true },
    ...{ down: () => cluster.down(), up: () => cluster.up() },
    loseNextAnswer: () => {
      cluster.next.push(losesAnswer);
    },
    taken: async () =>
      (await documents(cluster, index)).map(({ _id, _source }) => ({ id: _id, value: _source })),
  };
});

test('OpenSearch refuses single documents, conflicts and large requests as expected', async (context) => {
  const cluster = await startCluster(context);
  if (cluster === null) return;
  const index = newIndex();
  const itemsWith = (texts: readonly string[]): readonly BatchItem[] =>
    itemsOf(0, texts.length).map((item, at) => ({ ...item, data: Buffer.from(texts[at] ?? '') }));
  const codes = async (sink: ReturnType<typeof sinkTo>, items: readonly BatchItem[]) =>
    (await sink.deliver(batchOf(items), never)).map((outcome) => outcome?.code ?? null);

  const mixed = itemsWith([
    ...[
      '{"n":1}',
      '{"n":"text"}',
      '{"n":2,\r\n"m":\n{"a":null}}',
      '{"n":3,"n":4}',
      '{"n":{"a":1}}',
    ],
    ...[`{"deep":${'{"a":'.repeat(200)}1${'}'.repeat(200)}}`, '{"n":5}', '{"":1}'],
  ]);
  assert.deepEqual(await codes(sinkTo(context, cluster, { index }), mixed), [
    ...[null, 'rejected', null, 'rejected', 'rejected', 'rejected', null, 'rejected'],
  ]);

  const created = sinkTo(context, cluster, { index, operation: 'create', rotation: 'week' });
  for (let time = 0; time < 2; time += 1) {
    assert.deepEqual(await codes(created, itemsOf(0, 3)), [null, null, null]);
  }
  assert.equal((await documents(cluster, `${index}-2026-w09`)).length, 3);

  const byQuery = sinkTo(context, cluster, { index: 'twins', documentId: idsBy('id') });
  const writes = Array.from({ length: 50 }, (_none, v) => `{"id":"d${v % 5}","v":${v}}`);
  assert.ok((await codes(byQuery, itemsWith(writes))).every((code) => code === null));
  const values = (await documents(cluster, 'twins')).map(({ _source }) => Number(_source['v']));
  assert.deepEqual(
    values.sort((one, other) => one - other),
    [45, 46, 47, 48, 49],
  );

  // The cluster takes 1 MiB a request.
  const many = itemsOf(0, 60, 'x'.repeat(50_000));
  const large = itemsOf(100, 1, 'x'.repeat(1_200_000));
  const pieces = sinkTo(context, cluster, { index: 'large' });
  assert.deepEqual(await codes(pieces, [...many, ...large]), [
    ...many.map(() => null),
    'too-large',
  ]);
  assert.equal((await documents(cluster, 'large')).length, 60);

  const closed = sinkTo(context, cluster, { index: 'closed' });
  await closed.deliver(batchOf(itemsOf(0, 1)), never);
  await fetch(`${cluster.url}/closed/_close`, { method: 'POST' });
  assert.deepEqual(await codes(closed, itemsOf(0, 1)), ['missing']);
});
