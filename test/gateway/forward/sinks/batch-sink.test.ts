/** The promises of batch sinks, asked of those that speak HTTP. */
import { type TestContext } from 'node:test';
import { dynamoDbSink } from '../../../../gateway/forward/sinks/dynamodb/dynamodb-sink.ts';
import { httpSink } from '../../../../gateway/forward/sinks/http/http-sink.ts';
import { openSearchSink } from '../../../../gateway/forward/sinks/opensearch/opensearch-sink.ts';
import { idField } from '../../../../gateway/forward/sinks/splunk/events.ts';
import { splunkSink } from '../../../../gateway/forward/sinks/splunk/splunk-sink.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { startTable } from '../support/dynamodb-table.ts';
import { accessKey, startFirehoseEndpoint } from '../support/firehose-endpoint.ts';
import { login, startOpenSearch } from '../support/opensearch-stub.ts';
import { credentials } from '../support/servers.ts';
import { startSplunk, token } from '../support/splunk-stub.ts';
import { losesAnswer, type StubServer } from '../support/stub-server.ts';
import { batchSinkContract, type BatchPlace } from './batch-sink-contract.ts';

const clock = systemClock;

/** What a test does to the server. */
function disturbing(server: StubServer): Pick<BatchPlace, 'down' | 'up' | 'loseNextAnswer'> {
  return {
    down: () => server.down(),
    up: () => server.up(),
    loseNextAnswer: () => {
      server.next.push(losesAnswer);
    },
  };
}

const places: Readonly<Record<string, (context: TestContext) => Promise<BatchPlace>>> = {
  http: async (context) => {
    const endpoint = await startFirehoseEndpoint(context);
    const sink = httpSink({
      ...{ url: `${endpoint.url}/v1`, accessKey, commonAttributes: { site: 'süd' }, clock },
      ...{
        compression: 'gzip',
        sourceArn: 'arn:aws:firehose:us-east-1:000000000000:deliverystream/d',
      },
    });
    context.after(() => sink.close());
    return {
      ...{ sink, isOrdered: true, deduplicates: false, ...disturbing(endpoint) },
      taken: () =>
        Promise.resolve(
          endpoint.taken.map(({ data }) => ({
            id: null,
            value: JSON.parse(data.toString()) as unknown,
          })),
        ),
    };
  },
  opensearch: async (context) => {
    const cluster = await startOpenSearch(context);
    const sink = openSearchSink({
      ...{ endpoint: cluster.url, index: 'readings', rotation: 'none', operation: 'index', clock },
      ...{ documentId: 'record', access: login, maxBytes: 1024 ** 2 },
    });
    context.after(() => sink.close());
    return {
      ...{ sink, isOrdered: true, deduplicates: true, ...disturbing(cluster) },
      taken: () =>
        Promise.resolve(
          [...(cluster.indexes.get('readings') ?? [])].map(([id, value]) => ({ id, value })),
        ),
    };
  },
  splunk: async (context) => {
    const splunk = await startSplunk(context);
    const sink = splunkSink({
      ...{ endpoint: splunk.url, token, channel: '0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba', clock },
      ...{ mode: 'event', index: null, source: null, sourcetype: 'json', host: null },
      ...{ acknowledgements: true, ackTimeoutMs: 20_000, maxBytes: 5e6 },
    });
    context.after(() => sink.close());
    return {
      ...{ sink, isOrdered: true, deduplicates: false, ...disturbing(splunk) },
      // The first request asks whether the token acknowledges; the answer to the second is lost.
      loseNextAnswer: () => {
        splunk.next.push((request, serve) => serve(request), losesAnswer);
      },
      taken: () =>
        Promise.resolve(
          splunk.events.map(({ event, fields }) => ({ id: fields?.[idField] ?? '', value: event })),
        ),
    };
  },
  dynamodb: async (context) => {
    const table = await startTable(context);
    const sink = dynamoDbSink({
      ...{ table: table.table, sets: [], endpoint: table.url, credentials, clock },
    });
    context.after(() => sink.close());
    return {
      ...{ sink, isOrdered: false, deduplicates: true, ...disturbing(table) },
      // The first request asks for the key.
      loseNextAnswer: () => {
        table.next.push((request, serve) => serve(request), losesAnswer);
      },
      taken: async () =>
        (await table.items()).map((item) => ({
          id: null,
          value: Object.fromEntries(
            Object.entries(item).map(([name, { S, N }]) => [name, S ?? Number(N)]),
          ),
        })),
    };
  },
};

for (const [name, makePlace] of Object.entries(places)) batchSinkContract(name, makePlace);
