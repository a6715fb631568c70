import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { SinkError } from '../../../gateway/forward/sink.ts';
import { s3Sink } from '../../../gateway/forward/sinks/s3/s3-sink.ts';
import type { MediaFile } from '../../../storage/model.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import { filesOf, frames, makeClip, record, toFolder, type Index } from './support/clip.ts';
import { MemorySink } from './support/memory-sink.ts';
import { openRig, type Rig } from './support/rig.ts';
import { credentials, getObject, listKeys, s3Client, startWholeS3 } from './support/servers.ts';

async function bytesOf(rig: Rig, file: MediaFile): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of rig.store.video.readMediaFile(file.id)) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('footage in S3 equals what was recorded, frame for frame, and its index is true', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const folder = await temporaryFolder(context);
  const clip = await makeClip(folder);
  const { endpoint } = await startWholeS3(context, await temporaryFolder(context));
  const rig = await openRig(context, { video: { mediaFileMs: 3000 } });
  const camera = await record(rig, clip);
  const files = await filesOf(rig, camera);
  assert.ok(files.length >= 2, 'several media files');
  const sink = s3Sink({ bucket: 'bucket', endpoint, credentials });
  const delivery = rig.start(
    { name: 'footage', from: { camera: 'gate' }, ...toFolder },
    sink,
    'x/',
  );
  await rig.metrics.sent(files.length);

  const client = s3Client(context, endpoint);
  const keys = (await listKeys(client)).sort();
  assert.equal(keys.length, 2 * files.length);
  const media: Buffer[] = [];
  for (const key of keys.filter((name) => name.endsWith('.mp4'))) {
    assert.match(
      key,
      /^x\/gate\/\d{4}\/\d\d\/\d\d\/\d\d\/gate-\d{4}(-\d\d){5}-[0-9a-f-]{36}\.mp4$/,
    );
    const content = await getObject(client, key);
    media.push(content);
    const index = JSON.parse(
      (await getObject(client, key.replace(/mp4$/, 'json'))).toString(),
    ) as Index;
    assert.equal(index.object, key.split('/').at(-1));
    assert.equal(index.sizeBytes, content.length);
    assert.equal(index.sha256, createHash('sha256').update(content).digest('hex'));
    assert.match(index.codecs[0] ?? '', /^avc1\./);
    const head = content.subarray(0, index.fragments[0]!.offsetBytes);
    for (const fragment of [index.fragments[0]!, index.fragments.at(-1)!]) {
      const { offsetBytes, sizeBytes } = fragment;
      const alone = Buffer.concat([head, content.subarray(offsetBytes, offsetBytes + sizeBytes)]);
      const count = (await frames(folder, [alone])).length;
      assert.equal(count, Math.round((fragment.durationUs / 1e6) * 25), 'a fragment plays alone');
    }
  }
  const recorded = await Promise.all(files.map((file) => bytesOf(rig, file)));
  assert.deepEqual(
    media.map((content) => content.length).sort(),
    recorded.map((content) => content.length).sort(),
  );
  assert.deepEqual(
    (await frames(folder, media)).sort(),
    (await frames(folder, [await readFile(clip)])).sort(),
  );
  const status = await delivery.status();
  assert.equal(status.sentObjects, keys.length);
});

test('an upload that failed after it arrived is repeated in place, and the index comes last', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const folder = await temporaryFolder(context);
  const clip = await makeClip(await temporaryFolder(context));
  const sink = new MemorySink();
  const puts: string[] = [];
  const first = await openRig(context, { folder, video: { mediaFileMs: 3000 } });
  const camera = await record(first, clip);
  const count = (await filesOf(first, camera)).length;
  const halfWay = new Promise<void>((resolve) => {
    sink.before = (upload, signal) => {
      puts.push(upload.key);
      if (!upload.key.endsWith('.json')) return;
      resolve();
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          reject(new SinkError('aborted', 'called off'));
        });
      });
    };
  });
  first.start({ name: 'footage', from: { camera: 'gate' }, ...toFolder }, sink);
  await halfWay;
  await first.close();
  assert.equal(sink.objects.size, 1, 'the media without its index');

  const second = await openRig(context, { folder });
  sink.before = (upload) => void puts.push(upload.key);
  const delivery = second.start({ name: 'footage', from: { camera: 'gate' }, ...toFolder }, sink);
  await second.metrics.sent(count);
  assert.equal(puts[2], puts[0], 'the planned file again, under its key');
  assert.equal(puts[3], puts[1]);
  assert.equal(sink.objects.size, 2 * count);
  assert.equal((await delivery.status()).lostRecords, 0);
});

test('footage deleted before it was sent is counted, and what follows is sent', async (context) => {
  if (!needs(context, 'ffmpeg')) return;
  const clip = await makeClip(await temporaryFolder(context));
  const rig = await openRig(context, { video: { mediaFileMs: 3000 } });
  const camera = await record(rig, clip);
  const files = await filesOf(rig, camera);
  const sink = new MemorySink();
  const failing = new Promise<void>((resolve) => {
    sink.before = () => {
      resolve();
      throw new SinkError('unreachable', 'no link');
    };
  });
  const delivery = rig.start({ name: 'footage', from: { camera: 'gate' }, ...toFolder }, sink);
  await failing;
  await rig.store.writer.transact(async (transaction) => {
    await transaction.run('DELETE FROM fragment WHERE number / 4096 = ?', files[0]!.id);
    await transaction.run('DELETE FROM media_file WHERE id = ?', files[0]!.id);
  });
  sink.before = () => undefined;
  await rig.metrics.sent(files.length - 1);
  const status = await delivery.status();
  assert.equal(status.lostRecords, 1);
  assert.equal(sink.objects.size, 2 * (files.length - 1));
});

test('footage goes nowhere that takes single records', async (context) => {
  const rig = await openRig(context);
  const records = {
    kind: 'kinesis' as const,
    description: 'records',
    limits: { records: 1, bytes: 1, recordBytes: 1 },
    send: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
  assert.throws(() =>
    rig.start({ name: 'footage', from: { camera: 'gate' }, ...toFolder }, records),
  );
});
