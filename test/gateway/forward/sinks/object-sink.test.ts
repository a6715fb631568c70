/** What every object sink promises, asked of each of them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { SinkError, type ObjectSink } from '../../../../gateway/forward/sink.ts';
import { folderSink } from '../../../../gateway/forward/sinks/folder/folder-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { StorageError } from '../../../../storage/errors.ts';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { credentials, getObject, listKeys, s3Client, startWholeS3 } from '../support/servers.ts';
import { uploadOf } from '../support/uploads.ts';

interface Place {
  readonly sink: ObjectSink;
  keys(): Promise<string[]>;
  get(key: string): Promise<Buffer>;
}

const never = new AbortController().signal;

const places: Record<string, (context: TestContext) => Promise<Place>> = {
  folder: async (context) => {
    const root = join(await temporaryFolder(context), 'made', 'when', 'needed');
    return {
      sink: folderSink({ path: root }),
      keys: async () => {
        const entries = await readdir(root, { recursive: true, withFileTypes: true });
        return entries
          .filter((entry) => entry.isFile())
          .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
      },
      get: (key) => readFile(join(root, key)),
    };
  },
  s3: async (context) => {
    const { endpoint } = await startWholeS3(context, await temporaryFolder(context));
    const sink = s3Sink({ bucket: 'bucket', endpoint, credentials, idleTimeoutMs: 5_000 });
    context.after(() => sink.close());
    const client = s3Client(context, endpoint);
    const keys = (): Promise<string[]> => listKeys(client);
    return { sink, keys, get: (key) => getObject(client, key) };
  },
};

for (const [name, makePlace] of Object.entries(places)) {
  test(`${name}: objects are kept under their keys, to the byte`, async (context) => {
    const place = await makePlace(context);
    const contents = {
      'a/small-1.json': Buffer.from('{}'),
      'a/b c/plus+and=é.bin': randomBytes(70_000),
      'large.mp4': randomBytes(9 * 1024 ** 2),
    };
    for (const [key, content] of Object.entries(contents)) {
      await place.sink.put(uploadOf(key, content), never);
    }
    assert.deepEqual((await place.keys()).sort(), Object.keys(contents).sort());
    for (const [key, content] of Object.entries(contents)) {
      assert.ok((await place.get(key)).equals(content), key);
    }
  });

  test(`${name}: putting twice leaves one object`, async (context) => {
    const place = await makePlace(context);
    await place.sink.put(uploadOf('k', Buffer.from('first')), never);
    await place.sink.put(uploadOf('k', Buffer.from('second')), never);
    assert.deepEqual(await place.keys(), ['k']);
    assert.equal((await place.get('k')).toString(), 'second');
  });

  test(`${name}: content that breaks off is an error, and no obstacle to the next attempt`, async (context) => {
    const place = await makePlace(context);
    const good = uploadOf('k', randomBytes(300_000));
    const breaks = {
      ...good,
      read: async function* () {
        for await (const piece of good.read()) {
          yield piece;
          throw new StorageError('corrupt', 'a broken fragment');
        }
      },
    };
    const short = { ...good, sizeBytes: good.sizeBytes + 1 };
    const long = { ...good, sizeBytes: good.sizeBytes - 1 };
    const storageError = (error: unknown): boolean =>
      error instanceof StorageError && error.code === 'corrupt';
    await assert.rejects(place.sink.put(breaks, never), storageError);
    await assert.rejects(place.sink.put(short, never), SinkError);
    await assert.rejects(place.sink.put(long, never), SinkError);
    assert.deepEqual(await place.keys(), []);
    await place.sink.put(uploadOf('k', Buffer.from('whole')), never);
    assert.deepEqual(await place.keys(), ['k']);
    assert.equal((await place.get('k')).toString(), 'whole');
  });

  test(`${name}: an upload is called off at once`, async (context) => {
    const place = await makePlace(context);
    const controller = new AbortController();
    const good = uploadOf('k', randomBytes(300_000));
    const upload = {
      ...good,
      read: async function* () {
        for await (const piece of good.read()) {
          controller.abort();
          yield piece;
        }
      },
    };
    const aborted = { code: 'aborted' };
    await assert.rejects(place.sink.put(upload, controller.signal), aborted);
    await assert.rejects(place.sink.put(good, controller.signal), aborted);
    await place.sink.put(uploadOf('sentinel', Buffer.from('x')), never);
    assert.deepEqual(await place.keys(), ['sentinel']);
  });
}
