import assert from 'node:assert/strict';
import { decompress as zstdDecompress } from 'fzstd';
import { snappyUncompressor } from 'hysnappy';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { Compression } from '../../../../gateway/forward/format/formats.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { needs } from '../../../support/tools.ts';
import { encode, randomSlices, shaped } from './support/encode.ts';

const run = promisify(execFile);

/** Some MiB, of which some can be compressed. */
const records = Array.from({ length: 6_000 }, (_, at) => {
  const rubbish = Buffer.from(String(Math.imul(at, 0x9e37_79b1)).repeat(at % 90));
  return shaped(at, at % 1_000 === 5 ? Buffer.alloc(300_000, at) : rubbish);
});
const plain = Buffer.concat(records.map(({ data }) => data));

async function compressed(compression: Compression): Promise<Buffer> {
  const { object } = await encode({ type: 'raw', compression }, randomSlices(records, 4));
  assert.ok(object !== null);
  assert.equal(object.plainBytes, plain.length);
  assert.ok(object.sizeBytes < plain.length / 2, `${object.sizeBytes} of ${plain.length}`);
  return object.content;
}

test('the same records are the same bytes, however they are divided', async () => {
  for (const compression of ['snappy', 'hadoop-snappy', 'zstd'] as const) {
    const { object } = await encode({ type: 'raw', compression }, [records]);
    assert.deepEqual(object?.content, await compressed(compression));
  }
});

test('nothing but empty records is an empty stream', async () => {
  for (const compression of ['snappy', 'hadoop-snappy', 'zstd'] as const) {
    const { object } = await encode({ type: 'raw', compression }, [shaped(0, '')]);
    assert.equal(object?.records, 1);
    assert.equal(object.sizeBytes, compression === 'snappy' ? 16 : 0);
  }
});

test('zstd takes Zstandard apart, and so does another reader', async (t) => {
  const content = await compressed('zstd');
  assert.deepEqual(Buffer.from(zstdDecompress(content)), plain);
  if (!needs(t, 'zstd')) return;
  const path = join(await temporaryFolder(t), 'records.zst');
  await writeFile(path, content);
  const { stdout } = await run('zstd', ['-dc', path], { encoding: 'buffer', maxBuffer: 2 ** 28 });
  assert.deepEqual(stdout, plain);
});

test('the Snappy library takes the stream of Hadoop apart', async (t) => {
  const python = '/usr/bin/python3';
  const isThere = await run(python, ['-c', 'import snappy']).then(
    () => true,
    () => false,
  );
  if (!isThere) {
    t.skip('needs python3-snappy, not on this machine');
    return;
  }
  const child = spawn(python, ['-m', 'snappy', '-t', 'hadoop_snappy', '-d'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(await compressed('hadoop-snappy'));
  const pieces: Buffer[] = [];
  child.stdout.on('data', (piece: Buffer) => pieces.push(piece));
  const [code] = (await once(child, 'close')) as [number];
  assert.equal(code, 0);
  assert.deepEqual(Buffer.concat(pieces), plain);
});

test('the stream of snappy-java has its header, and blocks that another library reads', async () => {
  const content = await compressed('snappy');
  assert.equal(content.toString('latin1', 0, 8), '\x82SNAPPY\0');
  assert.deepEqual([content.readUInt32BE(8), content.readUInt32BE(12)], [1, 1]);
  const uncompress = snappyUncompressor();
  const blocks: Uint8Array[] = [];
  for (let at = 16; at < content.length;) {
    const block = content.subarray(at + 4, at + 4 + content.readUInt32BE(at));
    at += 4 + block.length;
    // The length of what it holds stands first, seven bits in a byte.
    let sizeBytes = 0;
    for (let index = 0; ; index += 1) {
      const byte = block[index] ?? 0;
      sizeBytes |= (byte & 0x7f) << (7 * index);
      if (byte < 0x80) break;
    }
    blocks.push(uncompress(block, sizeBytes).slice());
  }
  assert.deepEqual(Buffer.concat(blocks), plain);
});
