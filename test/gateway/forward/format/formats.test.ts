import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import {
  formatOf,
  type Compression,
  type FormatOptions,
  type FormatSource,
} from '../../../../gateway/forward/format/formats.ts';
import type { ShapedRecord } from '../../../../gateway/forward/shape/shaped-record.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { encode, randomSlices, shaped } from './support/encode.ts';

const run = promisify(execFile);

/** More than a few blocks, of rubbish too. */
function manyRecords(): ShapedRecord[] {
  return Array.from({ length: 3_000 }, (_, at) => {
    if (at % 500 === 7) return shaped(at, Buffer.of(0xff, 0x00, at % 256));
    if (at === 1_234) return shaped(at, JSON.stringify('x'.repeat(2 ** 20)));
    return shaped(at, `{"n": ${at},\n "text": "${'ab'.repeat(at % 97)}"}`);
  });
}

test('lines are gzipped, and each record is one', async () => {
  const records = manyRecords();
  const { object, failed } = await encode({ type: 'ndjson' }, records);
  assert.ok(object !== null);
  const lines = gunzipSync(object.content).toString().split('\n');
  assert.equal(lines.pop(), '');
  assert.equal(lines.length, records.length);
  lines.forEach((line, at) => {
    const { data } = records[at] ?? shaped(0, '');
    const found = JSON.parse(line) as { n?: number; data?: string };
    if (found.data === undefined) assert.deepEqual(found, JSON.parse(data.toString()));
    else assert.deepEqual(Buffer.from(found.data, 'base64'), data);
  });
  assert.equal(object.records, records.length);
  assert.equal(object.plainBytes, gunzipSync(object.content).length);
  assert.equal(object.sizeBytes, object.content.length);
  assert.equal(object.sha256, createHash('sha256').update(object.content).digest('hex'));
  assert.deepEqual(failed, []);
});

test('an envelope tells several records that were made of one apart', async () => {
  const records = [shaped(5, '1'), { ...shaped(5, '2'), subSequence: 1 }];
  const options: FormatOptions = { type: 'ndjson', compression: 'none' };
  const { object } = await encode(options, records, { record: 'envelope', shardIndex: 3 });
  const lines = String(object?.content).trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as unknown),
    [
      {
        shard: 'shardId-000000000003',
        sequence: 5,
        partitionKey: 'key-5',
        arrival: '2026-01-02T03:04:05.005Z',
        data: 1,
      },
      {
        shard: 'shardId-000000000003',
        sequence: 5,
        subSequence: 1,
        partitionKey: 'key-5',
        arrival: '2026-01-02T03:04:05.005Z',
        data: 2,
      },
    ],
  );
});

test('raw records stand one behind the other, their delimiter behind each', async () => {
  const records = [Buffer.of(0xff, 0x0a), Buffer.alloc(0), Buffer.from('{}')].map((data, at) =>
    shaped(at, data),
  );
  const raw = { type: 'raw', compression: 'none' } as const;
  const joined = await encode(raw, records);
  assert.deepEqual(joined.object?.content, Buffer.from([0xff, 0x0a, 0x7b, 0x7d]));
  const delimited = await encode({ ...raw, delimiter: '|\n' }, records);
  assert.deepEqual(
    delimited.object?.content,
    Buffer.concat([Buffer.of(0xff, 0x0a), Buffer.from('|\n|\n{}|\n')]),
  );
  assert.equal(delimited.object.plainBytes, delimited.object.sizeBytes);
  assert.throws(() => formatOf(raw, { record: 'envelope', shardIndex: 0 }), /no envelope/);
});

test('no records are no object', async () => {
  for (const type of ['ndjson', 'raw'] as const) {
    for (const compression of ['none', 'gzip', 'zip'] as const) {
      const encoder = formatOf({ type, compression }, { shardIndex: 0 }).encoder();
      await encoder.add([]);
      assert.deepEqual(await encoder.end(), { object: null, failed: [] });
      encoder.close();
    }
  }
});

test('what an object is called tells what is in it', () => {
  const named = (type: FormatOptions['type'], compression: Compression | null) => {
    const format = formatOf({ type, compression }, { shardIndex: 0 });
    return [format.extension, format.contentType];
  };
  assert.deepEqual(named('ndjson', null), ['.ndjson.gz', 'application/gzip']);
  assert.deepEqual(named('ndjson', 'none'), ['.ndjson', 'application/x-ndjson']);
  assert.deepEqual(named('raw', 'none'), ['', 'application/octet-stream']);
  assert.deepEqual(named('raw', 'zip'), ['.zip', 'application/zip']);
});

test('the same records are the same bytes, however they are divided', async () => {
  const records = manyRecords();
  const source: FormatSource = { record: 'envelope', shardIndex: 1 };
  for (const compression of ['none', 'gzip', 'zip'] as const) {
    const options: FormatOptions = { type: 'ndjson', compression };
    const whole = await encode(options, [records], source);
    for (const seed of [1, 2, 3]) {
      const sliced = await encode(options, randomSlices(records, seed), source);
      assert.equal(sliced.object?.sha256, whole.object?.sha256, `${compression}, ${seed}`);
    }
  }
});

test('unzip takes a zip apart', async (t) => {
  if (!needs(t, 'unzip')) return;
  const folder = await temporaryFolder(t);
  const records = manyRecords();
  const zipped = await encode({ type: 'ndjson', compression: 'zip' }, records);
  const plain = await encode({ type: 'ndjson', compression: 'none' }, records);
  const path = join(folder, 'records.zip');
  await writeFile(path, zipped.object?.content ?? '');
  assert.match((await run('unzip', ['-t', path])).stdout, /No errors detected/);
  assert.match((await run('unzip', ['-l', path])).stdout, /1980-01-01 00:00 {3}records\.ndjson/);
  const { stdout } = await run('unzip', ['-p', path], { encoding: 'buffer', maxBuffer: 2 ** 28 });
  assert.deepEqual(stdout, plain.object?.content);
});

test('an encoder that is closed in the middle lets go, and says so to whoever waits', async () => {
  for (const compression of ['gzip', 'zip'] as const) {
    const encoder = formatOf({ type: 'raw', compression }, { shardIndex: 0 }).encoder();
    const adding = encoder.add([shaped(0, Buffer.alloc(2 ** 22, 'abc'))]);
    encoder.close();
    await assert.rejects(adding, { name: 'AbortError' });
    encoder.close();
  }
});
