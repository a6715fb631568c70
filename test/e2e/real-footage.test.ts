/**
 * Real footage, the whole way: pushed over RTSP, recorded encrypted, delivered to an S3 server, and
 * downloaded from there as files that stand alone. Every frame is the one that was sent.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import type { CameraRuns } from '../../gateway/api/rest/camera-schemas.ts';
import type { Deliveries } from '../../gateway/api/rest/delivery-schemas.ts';
import {
  credentials,
  getObject,
  listKeys,
  s3Client,
  startWholeS3,
} from '../gateway/forward/support/servers.ts';
import { addressOf, framesOf, pushClip } from '../ingest/rtsp/media.ts';
import { aroundNow } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { filesWithAny } from '../support/plaintext.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { ffmpegPath, needsShared } from '../support/tools.ts';

/** No longer than this is sent of any. */
const seconds = 40;
const user = { username: 'camera', password: 'camera-password' };
const clips = ['bottle-detection.mp4', 'car-detection.mp4', 'one-by-one-person-detection.mp4'];

interface MediaIndex {
  readonly camera: string;
  readonly object: string;
  readonly sizeBytes: number;
  readonly fragments: readonly {
    readonly startUs: number;
    readonly durationUs: number;
    readonly offsetBytes: number;
    readonly sizeBytes: number;
  }[];
}

it('real footage arrives in S3 frame for frame as it was sent', async (t) => {
  const folder = await temporaryFolder(t);
  const sources = await clipsIn(t, folder);
  if (sources === null) return;
  const { endpoint } = await startWholeS3(t, await temporaryFolder(t));
  const gateway = await GatewayProcess.start(
    t,
    folder,
    configuration(endpoint, [...sources.keys()]),
  );
  const pushes = [...sources].map(([camera, clip]) =>
    pushClip(t, clip, addressOf(gateway.rtspPort, camera, user)),
  );
  await Promise.all(pushes.map((push) => push.exited));
  for (const camera of sources.keys()) {
    await gateway.until<CameraRuns>(
      `/cameras/${camera}/runs?${aroundNow()}`,
      ({ runs }) => runs.length === 1 && runs[0]?.endTime !== null,
    );
  }
  await gateway.until<Deliveries>('/deliveries', ({ deliveries }) =>
    deliveries.every(({ backlog, sentRecords }) => backlog.records === 0 && sentRecords > 0),
  );
  assert.equal(await gateway.stop(), 0);

  const client = s3Client(t, endpoint);
  const keys = await listKeys(client);
  const indexes = await Promise.all(
    keys
      .filter((key) => key.endsWith('.json'))
      .sort()
      .map(async (key) => {
        const index = JSON.parse((await getObject(client, key)).toString()) as MediaIndex;
        return { ...index, key };
      }),
  );
  for (const [camera, clip] of sources) {
    const delivered: string[] = [];
    for (const { key, ...index } of indexes.filter((one) => one.camera === camera)) {
      const bytes = await getObject(client, key.replace(/json$/, 'mp4'));
      assert.equal(bytes.length, index.sizeBytes, key);
      assertWholeIndex(index);
      const path = join(folder, 'download.mp4');
      await writeFile(path, bytes);
      delivered.push(...(await framesOf(['-i', path])));
    }
    assert.deepEqual(delivered, await framesOf(['-i', clip]), camera);
  }
  const [first] = keys.filter((key) => key.endsWith('.mp4'));
  const sent = await getObject(client, first ?? '');
  const middle = Math.floor(sent.length / 2);
  const piece = sent.subarray(middle, middle + 24);
  assert.deepEqual(await filesWithAny(gateway.dataFolder, [piece]), [], 'it is encrypted here');
});

/** The clips by the names of their cameras; null, the test skipped, where they are not there. */
async function clipsIn(
  t: TestContext,
  folder: string,
): Promise<ReadonlyMap<string, string> | null> {
  const found = new Map<string, string>();
  for (const clip of clips) {
    const source = needsShared(t, 'footage', clip);
    if (source === null) return null;
    const camera = clip.replace('-detection.mp4', '');
    const path = join(folder, clip);
    const cut = ['-v', 'error', '-i', source, '-t', String(seconds), '-c', 'copy', path];
    await promisify(execFile)(ffmpegPath, cut);
    found.set(camera, path);
  }
  return found;
}

function configuration(endpoint: string, cameras: readonly string[]): string {
  const keys = Object.entries(credentials).map(([name, value]) => `${name}: ${value}`);
  const s3 = `bucket: bucket, endpoint: '${endpoint}', forcePathStyle: true, region: us-east-1`;
  const { username, password } = user;
  const push = `push: { username: ${username}, password: ${password} }`;
  return [
    'cameras:',
    ...cameras.map((name) => `  ${name}: { source: { ${push} } }`),
    'deliveries:',
    ...cameras.map(
      (name) =>
        `  ${name}: { from: { camera: ${name} }, to: { s3: { ${s3}, ${keys.join(', ')} } } }`,
    ),
  ].join('\n');
}

/** Fragments follow each other in time and in the file, to its end. */
function assertWholeIndex({ object, sizeBytes, fragments }: MediaIndex): void {
  assert.ok(fragments.length > 0, object);
  for (const [index, fragment] of fragments.entries()) {
    const next = fragments[index + 1];
    const endBytes = fragment.offsetBytes + fragment.sizeBytes;
    assert.equal(endBytes, next?.offsetBytes ?? sizeBytes, `${object}, fragment ${index}`);
    if (next !== undefined) assert.equal(fragment.startUs + fragment.durationUs, next.startUs);
  }
}
