import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { formatOf } from '../../../../gateway/forward/format/formats.ts';
import { EncoderThreads } from '../../../../gateway/forward/format/thread/threads.ts';
import { SinkError } from '../../../../gateway/forward/sink.ts';
import { compiled } from '../../../support/program.ts';
import { shaped } from './support/encode.ts';

const parquet = { type: 'parquet' } as const;
const source = { shardIndex: 0 };
const records = [shaped(0, '{"a":1}'), shaped(1, '{"a":2}')];
/** As objects, many times what they are as text. */
const heavy = [shaped(0, `{"a":[${'[],'.repeat(2 ** 20)}[]]}`)];

async function encoded(threads: EncoderThreads): Promise<number> {
  const encoder = formatOf(parquet, source, threads).encoder();
  await encoder.add(records);
  const { object } = await encoder.end();
  encoder.close();
  return object?.records ?? 0;
}

test('a thread that runs out of memory fails what it had, to be tried again, and is replaced', async () => {
  const threads = new EncoderThreads({ count: 2, heapMiB: 24 });
  const [dying, bystander] = [0, 1].map(() => formatOf(parquet, source, threads).encoder());
  const other = formatOf(parquet, source, threads).encoder();
  assert.ok(dying !== undefined && bystander !== undefined);
  await Promise.all([dying.add(records), bystander.add(records), other.add(records)]);
  await assert.rejects(
    (async () => {
      await dying.add(heavy);
      await dying.end();
    })(),
    (error) => error instanceof SinkError && error.code === 'unavailable' && error.retryable,
  );
  // It was in the same thread.
  await assert.rejects(other.end(), { code: 'unavailable' });
  assert.equal((await bystander.end()).object?.records, 2);
  for (const encoder of [dying, bystander, other]) encoder.close();
  assert.deepEqual(await Promise.all([encoded(threads), encoded(threads)]), [2, 2]);
});

test('what is closed in the middle is given up, and nothing else', async () => {
  const threads = new EncoderThreads({ count: 1, heapMiB: 256 });
  const format = formatOf(parquet, source, threads);
  const [first, second] = [format.encoder(), format.encoder()];
  await first.add(records);
  const ending = first.end();
  await second.add(records);
  first.close();
  await assert.rejects(ending, { code: 'aborted', retryable: true });
  first.close();
  assert.equal((await second.end()).object?.records, 2);
  second.close();
  await assert.rejects(
    format
      .encoder()
      .end()
      .then(() => second.end()),
    { code: 'aborted' },
  );
});

test('threads do not keep a program that has nothing else to do, compiled or not', async () => {
  const program = join(import.meta.dirname, 'support/encode-once.ts');
  for (const args of [['--import', import.meta.resolve('tsx'), program], [compiled(program)]]) {
    const { stdout } = await promisify(execFile)(process.execPath, args);
    assert.equal(stdout, '1\n');
  }
});
