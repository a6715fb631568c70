/** What fails in a bucket or a folder, as Firehose leaves it there, beside the stream that keeps it. */
import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { test, type TestContext } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parseSequenceNumber } from '../../../gateway/api/kinesis/sequence-numbers.ts';
import { failedStreamOf } from '../../../gateway/forward/failed-records.ts';
import type { DeliveryOptions } from '../../../gateway/forward/options.ts';
import { unpinRemoved } from '../../../gateway/forward/removed.ts';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { withBackups } from '../../../gateway/forward/source-backup.ts';
import { localMasterKey } from '../../../storage/keys.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { dead, sentAll, startAll, statusUntil } from './support/backups.ts';
import { failedOf } from './support/failed.ts';
import { accessKey, startFirehoseEndpoint } from './support/firehose-endpoint.ts';
import { login, startOpenSearch } from './support/opensearch-stub.ts';
import { MemorySink } from './support/memory-sink.ts';
import { numbered, openRig, runClock, settle, streamOptions, type Rig } from './support/rig.ts';
import { startSplunk, token } from './support/splunk-stub.ts';

const buffer = { maxBytes: 4_000, maxSeconds: 0.05 };
const noJson = { partitionKey: 'k', data: Buffer.from('no JSON') };

async function openStreams(t: TestContext): Promise<Rig> {
  const rig = await openRig(t);
  await rig.store.log.ensureStream(streamOptions('readings', 1));
  return rig;
}

/** One that puts aside whatever is refused once. */
function delivery(more: Partial<DeliveryOptions> & Pick<DeliveryOptions, 'to'>): DeliveryOptions {
  return { name: 'uplink', from: { stream: 'readings' }, buffer, retrySeconds: 0, ...more };
}

const into = (path: string, more: object = {}): NonNullable<DeliveryOptions['failed']> => ({
  ...{ to: { folder: { path, ...more } }, format: { compression: 'none' }, buffer },
});

interface Line {
  readonly attemptsMade: number;
  readonly arrivalTimestamp: number;
  readonly attemptEndingTimestamp: number;
  readonly errorCode: string;
  readonly errorMessage: string;
  readonly rawData: string;
  readonly [member: string]: unknown;
}

/** The names of the objects in a folder, and their lines. */
async function objectsIn(folder: string): Promise<{ names: string[]; lines: Line[] }> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .sort();
  const texts = await Promise.all(
    paths.map(async (path) => {
      const bytes = await readFile(path);
      return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString();
    }),
  );
  return {
    names: paths.map((path) => relative(folder, path)),
    lines: texts.flatMap((text) => {
      assert.ok(text.endsWith('\n'), 'the last line ends, too');
      return text
        .slice(0, -1)
        .split('\n')
        .map((line) => JSON.parse(line) as Line);
    }),
  };
}

const dataOf = ({ rawData }: Line): string => Buffer.from(rawData, 'base64').toString();
const idsOf = (lines: readonly Line[]): number[] =>
  lines
    .map((line) => (JSON.parse(dataOf(line)) as { id: number }).id)
    .sort((one, other) => one - other);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, id) => id);

test('what an HTTP endpoint refuses lies in objects as Firehose writes them, apart by what failed', async (t) => {
  const rig = await openStreams(t);
  const endpoint = await startFirehoseEndpoint(t);
  const folder = await temporaryFolder(t);
  const deliveries = startAll(t, rig, [
    delivery({
      to: { http: { url: endpoint.url, accessKey: 'wrong' } },
      filter: 'id != `99`',
      failed: into(folder),
    }),
  ]);
  await rig.store.log.append('readings', [...numbered(0, 20), noJson]);
  const backup = await statusUntil(deliveries, 'uplink.failed', sentAll(21));
  const [owner] = await deliveries.status();
  assert.deepEqual([backup.backupOf, backup.from.name], ['uplink', 'failed.uplink']);
  assert.equal(owner?.failedRecords, 21, 'they stay where they can be replayed');
  const { names, lines } = await objectsIn(folder);
  const hour = '\\d{4}/\\d\\d/\\d\\d/\\d\\d';
  const kinds = names.map((name) => {
    const pattern = `^([a-z-]+)/${hour}/failed\\.uplink-1-\\d{4}(-\\d\\d){5}-[0-9a-f-]{36}$`;
    return new RegExp(pattern).exec(name)?.[1] ?? assert.fail(name);
  });
  assert.deepEqual([...new Set(kinds)], ['http-endpoint-failed', 'processing-failed']);

  const sent = lines.filter((line) => dataOf(line) !== 'no JSON');
  assert.deepEqual(idsOf(sent), upTo(20));
  const kept = await failedOf(rig.store.log, 'uplink');
  for (const line of sent) {
    assert.deepEqual(Object.keys(line), [
      ...['attemptsMade', 'arrivalTimestamp', 'errorCode', 'errorMessage'],
      ...['attemptEndingTimestamp', 'rawData', 'subsequenceNumber', 'dataId'],
    ]);
    const { sequence, arrival, failedAt, errorMessage } =
      kept.find(({ rawData }) => rawData === line.rawData) ?? assert.fail();
    assert.deepEqual(
      [line.attemptsMade, line.errorCode, line.errorMessage, line['subsequenceNumber']],
      [1, 'HttpEndpoint.DestinationException', errorMessage, 0],
    );
    assert.equal(line.arrivalTimestamp, Date.parse(arrival));
    assert.equal(line.attemptEndingTimestamp, Date.parse(failedAt));
    const [number = '', part] = String(line['dataId']).split('.');
    assert.deepEqual([parseSequenceNumber(number)?.sequence, part], [sequence, '0']);
  }
  const measures = (await deliveries.metered('uplink'))?.measures ?? [];
  const records = measures.find(({ name }) => name === 'BackupToFolder.Records');
  assert.equal(records?.total, 21, 'counted as its backup');
});

test('of OpenSearch and Splunk they say what Firehose says of those', async (t) => {
  const rig = await openStreams(t);
  const search = await startOpenSearch(t);
  const splunk = await startSplunk(t);
  const [documents, events] = [await temporaryFolder(t), await temporaryFolder(t)];
  const asked: string[] = [];
  search.refuse = (id) => {
    asked.push(id);
    return { status: 400, type: 'mapper_parsing_exception' };
  };
  const index = { endpoint: search.url, index: 'logs', rotation: 'day', ...login } as const;
  const prefix = 'lost/!{firehose:error-output-type}/!{timestamp:yyyy}/';
  const deliveries = startAll(t, rig, [
    delivery({ name: 'search', to: { opensearch: index }, failed: into(documents, { prefix }) }),
    delivery({
      ...{ name: 'events', to: { splunk: { endpoint: splunk.url, token: `not-${token}` } } },
      failed: { ...into(events, { prefix: 'lost-' }), format: {}, layout: { hive: true } },
    }),
  ]);
  await rig.store.log.append('readings', numbered(0, 3));
  await statusUntil(deliveries, 'search.failed', sentAll(3));
  await statusUntil(deliveries, 'events.failed', sentAll(3));
  const ofSearch = await objectsIn(documents);
  for (const name of ofSearch.names) {
    assert.match(name, /^lost\/AmazonOpenSearchService-failed\/\d{4}\/failed\.search-1-/);
  }
  assert.deepEqual(ofSearch.lines.map((line) => line['esDocumentId']).sort(), asked.sort());
  for (const line of ofSearch.lines) {
    const day = new Date(line.arrivalTimestamp).toISOString().slice(0, 10);
    assert.deepEqual([line['esIndexName'], line['esTypeName']], [`logs-${day}`, '_doc']);
  }
  const ofSplunk = await objectsIn(events);
  for (const name of ofSplunk.names) {
    assert.match(name, /^lost-splunk-failed\/year=\d{4}\/month=\d\d\/day=\d\d\/hour=\d\d\/.*\.gz$/);
  }
  for (const line of ofSplunk.lines) {
    assert.equal(line.errorCode, 'Splunk.InvalidToken');
    assert.match(String(line['EventId']), /^\d{56}\.0$/);
  }
});

test('a replay makes none of them again, and what fails once more makes one more', async (t) => {
  const rig = await openStreams(t);
  const endpoint = await startFirehoseEndpoint(t);
  const folder = await temporaryFolder(t);
  const wrong = delivery({
    to: { http: { url: endpoint.url, accessKey: 'wrong' } },
    failed: into(folder),
  });
  const right = { ...wrong, to: { http: { url: endpoint.url, accessKey } } };
  const deliveries = startAll(t, rig, [wrong]);
  await rig.store.log.append('readings', numbered(0, 10));
  await statusUntil(deliveries, 'uplink.failed', sentAll(10));
  const first = await objectsIn(folder);
  assert.equal(await deliveries.replay('uplink'), 10);
  await statusUntil(deliveries, 'uplink.failed', sentAll(20));
  const second = await objectsIn(folder);
  assert.deepEqual(
    idsOf(second.lines),
    [...upTo(10), ...upTo(10)].sort((a, b) => a - b),
  );
  assert.ok(first.names.every((name) => second.names.includes(name)));
  assert.ok(second.names.length > first.names.length);
  const places = second.lines.map((line) => line['dataId']);
  assert.equal(new Set(places).size, 10, 'where each was at first is still told');

  await deliveries.update([right]);
  assert.equal(await deliveries.replay('uplink'), 10);
  await statusUntil(deliveries, 'uplink', ({ failedRecords }) => failedRecords === 0);
  const { backlog } = await statusUntil(
    deliveries,
    'uplink.failed',
    ({ state }) => state === 'idle',
  );
  assert.equal(backlog.records, 0);
  assert.deepEqual((await objectsIn(folder)).names, second.names);
  assert.equal(endpoint.taken.length, 10);
});

test('a bucket that is away holds up neither delivery nor replay, and gets all of it later', async (t) => {
  const rig = await openStreams(t);
  const endpoint = await startFirehoseEndpoint(t);
  const folder = await temporaryFolder(t);
  const wrong = delivery({
    to: { http: { url: endpoint.url, accessKey: 'wrong' } },
    failed: { to: dead, buffer },
  });
  const deliveries = startAll(t, rig, [wrong]);
  await statusUntil(deliveries, 'uplink.failed', ({ state }) => state === 'idle');
  assert.equal((await deliveries.pause('uplink.failed'))?.held?.by, 'pause');
  await rig.store.log.append('readings', numbered(0, 10));
  await statusUntil(deliveries, 'uplink', ({ failedRecords }) => failedRecords === 10);
  await deliveries.resume('uplink.failed');
  await statusUntil(deliveries, 'uplink.failed', ({ state }) => state === 'backing-off');
  const to = { http: { url: endpoint.url, accessKey } };
  await deliveries.update([{ ...wrong, to }]);
  await deliveries.replay('uplink');
  await statusUntil(deliveries, 'uplink', ({ failedRecords }) => failedRecords === 0);
  await deliveries.update([{ ...wrong, to, failed: into(folder) }]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(10));
  assert.deepEqual(idsOf((await objectsIn(folder)).lines), upTo(10), 'replayed ones, too');
});

test('begun later it has what waits to be replayed; taken out and put back, it goes on', async (t) => {
  const rig = await openStreams(t);
  const { log } = rig.store;
  const endpoint = await startFirehoseEndpoint(t);
  const folder = await temporaryFolder(t);
  const wrong = delivery({ to: { http: { url: endpoint.url, accessKey: 'wrong' } } });
  const right = delivery({ to: { http: { url: endpoint.url, accessKey } } });
  const deliveries = startAll(t, rig, [wrong]);
  const failedAre = async (count: number): Promise<void> => {
    await statusUntil(deliveries, 'uplink', ({ failedRecords }) => failedRecords === count);
  };
  await log.append('readings', numbered(0, 10));
  await failedAre(10);
  await deliveries.update([right]);
  await deliveries.replay('uplink');
  await failedAre(0);
  await deliveries.update([wrong]);
  await log.append('readings', numbered(10, 10));
  await failedAre(10);
  await deliveries.update([{ ...wrong, failed: into(folder) }]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(10));
  await deliveries.update([wrong]);
  await unpinRemoved(log, withBackups([wrong]), rig.logger);
  await log.append('readings', numbered(20, 10));
  await failedAre(20);
  const [removed] = await deliveries.removed();
  assert.deepEqual([removed?.name, removed?.backlog.records], ['uplink.failed', 10]);
  await deliveries.update([{ ...wrong, failed: into(folder) }]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(10));
  const after = upTo(30).filter((id) => id >= 10);
  assert.deepEqual(idsOf((await objectsIn(folder)).lines), after, 'each once');

  await deliveries.update([]);
  assert.equal(await deliveries.forget('uplink', true), 'forgotten');
  assert.deepEqual(log.applications.list(), []);
});

test('the stream that is made for it goes with its owner, also when nothing has failed', async (t) => {
  const rig = await openStreams(t);
  const { log } = rig.store;
  // It bears the name, and is somebody else's.
  await log.ensureStream(streamOptions('failed.other'));
  const one = delivery({ to: dead, failed: into(await temporaryFolder(t)) });
  const deliveries = startAll(t, rig, [one, { ...one, name: 'other' }]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(0));
  await statusUntil(deliveries, 'other.failed', sentAll(0));
  await deliveries.update([]);
  for (const name of ['uplink', 'other']) {
    assert.equal(await deliveries.forget(name, true), 'forgotten');
  }
  assert.deepEqual(
    log.streams().map(({ name }) => name),
    ['readings', 'failed.other'],
  );
});

test('the stream is encrypted as soon as its source is, however early it was made', async (t) => {
  const current = localMasterKey(Buffer.alloc(32, 7));
  const rig = await openRig(t, { masterKeys: () => Promise.resolve({ current, previous: [] }) });
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings', 1));
  // It bears the name, and is somebody else's.
  await log.ensureStream(streamOptions('failed.other'));
  const folder = await temporaryFolder(t);
  const one = delivery({ to: dead, filter: 'id', failed: into(folder) });
  const deliveries = startAll(t, rig, [one, { ...one, name: 'other' }]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(0));
  await log.updateStream('readings', { encryption: 'aes-256-gcm' });
  await log.append('readings', [noJson]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(1));
  await statusUntil(deliveries, 'other.failed', sentAll(1));
  assert.equal(log.stream('failed.uplink').encryption, 'aes-256-gcm');
  assert.equal(log.stream('failed.other').encryption ?? 'none', 'none');
});

test('rubbish and lies in the stream, and records in parts, make no object that is wrong', async (t) => {
  const rig = await openStreams(t);
  const endpoint = await startFirehoseEndpoint(t);
  const folder = await temporaryFolder(t);
  const deliveries = startAll(t, rig, [
    delivery({
      to: { http: { url: endpoint.url, accessKey: 'wrong' } },
      failed: into(folder),
    }),
  ]);
  const large = { partitionKey: 'k', data: Buffer.alloc(7 * 2 ** 20, 'large ') };
  await rig.store.log.append('readings', [...numbered(0, 2), large]);
  await statusUntil(deliveries, 'uplink.failed', sentAll(3));
  const [kept] = await failedOf(rig.store.log, 'uplink');
  const lie = { ...kept, stage: '../../etc', attempts: 'many', shard: 'x', failedAt: 'then' };
  const lies = [
    lie,
    { ...kept, part: 5 },
    { ...kept, part: [1, 2] },
    { ...kept, shard: 'a1b2', sequence: 1.5, errorCode: 'constructor' },
  ];
  const written = ['{', '[]', '{"rawData":1}', ...lies.map((one) => JSON.stringify(one))];
  await rig.store.log.append(
    failedStreamOf('uplink'),
    written.map((text) => ({ partitionKey: 'k', data: Buffer.from(text) })),
  );
  await statusUntil(deliveries, 'uplink.failed', sentAll(5));
  const { names, lines } = await objectsIn(folder);
  const kinds = new Set(names.map((name) => name.split('/')[0]));
  assert.deepEqual([...kinds], ['delivery-failed', 'http-endpoint-failed']);
  const [, ...others] = lines.map((line) => Buffer.from(line.rawData, 'base64'));
  assert.ok(others.some((data) => data.equals(large.data)));
  assert.equal(lines.length, 5);
  assert.ok(lines.some((line) => line['dataId'] === '1.5.0'));
});

test('a bucket that refuses its objects as they stand is tried for ever, and takes each once', async (t) => {
  const clock = new ManualClock();
  const rig = await openRig(t, { clock });
  const { log } = rig.store;
  await log.ensureStream(streamOptions('readings', 1));
  const [options, backup] = withBackups([
    delivery({ to: dead, filter: 'id != `99`', failed: { to: dead, buffer } }),
  ]);
  assert.ok(options !== undefined && backup !== undefined);
  const [away, bucket] = [new MemorySink(), new MemorySink()];
  away.before = () => {
    throw new SinkError('unreachable', 'nobody there');
  };
  let refusals = 0;
  bucket.before = () => {
    refusals += 1;
    if (refusals <= 20) throw new SinkError('rejected', 'not here');
  };
  await log.append('readings', [...numbered(0, 30), noJson]);
  rig.start(options, away);
  const failed = rig.start(backup, bucket, 'lost/');
  await runClock(rig, clock, () => rig.metrics.total('headgate_delivery_sent_records_total') >= 31);
  await settle(rig);
  assert.deepEqual(await failedOf(log, 'uplink.failed'), []);
  assert.equal((await failed.status()).sentRecords, 31);
  const lines = [...bucket.objects.values()].flatMap((object) =>
    gunzipSync(object).toString().trimEnd().split('\n'),
  );
  assert.equal(new Set(lines).size, 31);
  assert.equal(lines.length, 31);
});

test('it sends when its owner may, under a name that is its own', () => {
  const own = delivery({
    ...{ to: dead, required: false, startAt: 'latest', catchUp: 'live-first', priority: 9 },
    ...{ onlyWhile: { program: '/on-wifi' }, filter: 'a', version: 4 },
    failed: { to: { folder: { path: '/f' } } },
  });
  const failed = {
    ...{ name: 'uplink.failed', backupOf: 'uplink', from: { stream: 'failed.uplink' } },
    failedOf: { delivery: 'uplink', stream: 'readings', isOnlyBackup: true },
    ...{ to: { folder: { path: '/f' } }, format: { type: 'raw', delimiter: '\n' } },
    ...{ required: true, priority: 9, onlyWhile: { program: '/on-wifi' }, version: 4 },
  };
  assert.deepEqual(withBackups([own])[1], failed);
  const both = withBackups([{ ...own, backup: { to: { folder: { path: '/b' } } } }]);
  assert.deepEqual(
    both.map(({ name, failedOf: of }) => [name, of?.isOnlyBackup]),
    [
      ['uplink', undefined],
      ['uplink.backup', undefined],
      ['uplink.failed', false],
    ],
  );
  const other = delivery({ name: 'uplink.failed', to: dead });
  assert.deepEqual(
    withBackups([own, other]).map(({ name }) => name),
    ['uplink', 'uplink.failed'],
  );
});
