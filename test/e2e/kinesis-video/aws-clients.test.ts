/**
 * Kinesis Video of a whole gateway, signatures checked, as boto3, awscli and the JavaScript SDK ask for
 * every operation: of a stream that is made, fed by PutMedia over curl, found after a restart, and lost
 * with its footage. Each picture shows its number, so that clips, images and exports can be held
 * against the index. What is not installed is skipped.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { operations } from '../../../gateway/api/kinesis-video/operations/operations.ts';
import type { CameraFragments, CameraRuns } from '../../../gateway/api/rest/camera-schemas.ts';
import { clockMovie, frameUs, numbersOf } from '../../gateway/media/clock-footage.ts';
import { type MkvStream, producerStream } from '../../ingest/mkv/footage.ts';
import { parseFootage } from '../../storage/video/footage.ts';
import { aroundNow, runsOf } from '../../support/footage-check.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { capturePackets, PacketCamera } from '../../support/packet-camera.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { needs } from '../../support/tools.ts';
import { type Client, type ClientOptions, javaScriptSdk, pythonClient } from '../aws/clients.ts';
import { deleteStream, findStream, getMedia, makeStream, readStream } from './every-operation.ts';

const key = { accessKeyId: 'AKIAOWNER', secretAccessKey: 'secret-of-the-owner' };
const frameMs = frameUs / 1000;

/** Sends footage as it was made a minute ago; resolves with when that was, once it is on disk. */
async function putMedia({ url }: ClientOptions, stream: string, footage: MkvStream) {
  const startMs = Math.floor(Date.now() / 1000) * 1000 - 60_000;
  const curl = spawn('curl', [
    ...['-sS', '-N', '-X', 'POST', '-T', '-', '--aws-sigv4', 'aws:amz:us-east-1:kinesisvideo'],
    ...['--user', `${key.accessKeyId}:${key.secretAccessKey}`],
    ...['-H', `x-amzn-stream-name: ${stream}`, '-H', 'x-amzn-fragment-timecode-type: RELATIVE'],
    ...['-H', `x-amzn-producer-start-timestamp: ${startMs / 1000}`, `${url}/putMedia`],
  ]);
  curl.stdin.end(Buffer.concat([footage.head, ...footage.clusters]));
  const parts: Buffer[] = [];
  curl.stdout.on('data', (part: Buffer) => parts.push(part));
  await once(curl, 'close');
  const acks = Buffer.concat(parts).toString();
  assert.equal(acks.match(/"EventType":"PERSISTED"/g)?.length, footage.clusters.length, acks);
  return startMs;
}

const numbered = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

/** The numbers of the pictures that an export of a piece of time has. */
async function exported(gateway: GatewayProcess, camera: string, fromMs: number, toMs: number) {
  const range = `from=${new Date(fromMs).toISOString()}&to=${new Date(toMs).toISOString()}`;
  const response = await gateway.fetch(`/api/v1/cameras/${camera}/export.mp4?${range}`);
  assert.equal(response.status, 200, await response.clone().text());
  return numbersOf(['-i', 'pipe:0'], Buffer.from(await response.arrayBuffer()));
}

/** The number of the picture that an image of an instant shows. */
async function shownAt(gateway: GatewayProcess, camera: string, ms: number) {
  const at = new Date(ms).toISOString();
  const response = await gateway.fetch(`/api/v1/cameras/${camera}/image?at=${at}&format=png`);
  assert.equal(response.status, 200);
  const [number] = await numbersOf(
    ['-f', 'image2pipe', '-i', 'pipe:0'],
    Buffer.from(await response.arrayBuffer()),
  );
  return number ?? NaN;
}

/** kill -9 to those processes that a gateway has started. */
async function killChildrenOf(gateway: GatewayProcess, name: string): Promise<void> {
  const pid = String(gateway.child.process.pid);
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  for (const child of children.trim().split(/\s+/)) {
    const command = await readFile(`/proc/${child}/cmdline`, 'utf8').catch(() => '');
    if (basename(command.split('\0')[0] ?? '') === name) process.kill(Number(child), 'SIGKILL');
  }
}

test('clients run every operation, and pictures are where the index has them', async (t) => {
  if (!needs(t, 'curl')) return;
  const folder = await temporaryFolder(t);
  const movie = await clockMovie({ seconds: 4 });
  const footage = producerStream(parseFootage(movie));

  // A camera whose clock is right tells when each of its pictures was taken.
  const clip = join(folder, 'clip.mp4');
  await writeFile(clip, await clockMovie({ seconds: 8 }));
  let cameraStartMs = NaN;
  const lens = await PacketCamera.start(t, await capturePackets(t, clip), {
    ...{ pace: 1, loop: true },
    reportMs: (mediaMs) => {
      if (Number.isNaN(cameraStartMs)) cameraStartMs = Date.now() - mediaMs;
      return cameraStartMs + mediaMs;
    },
  });
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `cameras: { lens: { source: { rtsp: '${lens.url}' } } }
auth: { keys: [${JSON.stringify({ name: 'owner', ...key })}] }`,
  );
  const options = { url: gateway.url, ...key };
  const clients: Readonly<Record<string, Client | null>> = {
    'javascript-sdk': javaScriptSdk(t, options),
    boto3: await pythonClient(t, 'boto3', options),
    awscli: await pythonClient(t, 'awscli', options),
  };
  const begun = new Map<string, { numbers: readonly string[]; startMs: number }>();

  for (const [name, client] of Object.entries(clients)) {
    await t.test(`${name} makes a stream, and reads what was put there`, async (s) => {
      if (client === null) {
        s.skip(`needs ${name}, not on this machine`);
        return;
      }
      await makeStream(client, name, gateway.url);
      const startMs = await putMedia(options, name, footage);
      const numbers = await readStream(client, name, startMs);
      begun.set(name, { numbers, startMs });
      if (name === 'awscli') return;
      const media = await getMedia(client, name, numbers);
      assert.deepEqual(media.slice(0, 2), numbers.slice(1, 3));
    });
  }

  await t.test('our exports and images have the exact picture too', async () => {
    const { startMs = NaN } = begun.get('javascript-sdk') ?? {};
    assert.deepEqual(
      await exported(gateway, 'javascript-sdk', startMs + 1_020, startMs + 2_520),
      numbered(25, 63),
    );
    assert.equal(await shownAt(gateway, 'javascript-sdk', startMs + 2_030), 50);
  });

  let shownLast = NaN;
  await t.test('a picture is found at the time at which its camera took it', async () => {
    await gateway.until<CameraFragments>(
      `/cameras/lens/fragments?${aroundNow()}`,
      ({ fragments }) => fragments.length >= 3,
    );
    for (const afterMs of [430, 3_990, 2_030]) {
      const number = await shownAt(gateway, 'lens', cameraStartMs + afterMs);
      shownLast = number;
      const takenMs = number * frameMs;
      assert.ok(Math.abs(afterMs - takenMs) <= 2 * frameMs, `${takenMs} ms, not ${afterMs} ms`);
    }
    const [fromMs, toMs] = [cameraStartMs + 1_010, cameraStartMs + 3_010];
    const pictures = await exported(gateway, 'lens', fromMs, toMs);
    const [first = NaN] = pictures;
    assert.ok(Math.abs(first * frameMs - 1_010) <= 2 * frameMs, `picture ${first} is the first`);
    assert.deepEqual(pictures, numbered(first, first + pictures.length));
    assert.ok(Math.abs(pictures.length * frameMs - 2_000) <= 2 * frameMs);
  });

  await t.test(
    'a camera whose ffmpeg is killed goes on in another run, with what it had',
    async () => {
      const before = await runsOf(gateway, 'lens');
      await killChildrenOf(gateway, 'ffmpeg');
      const range = `/cameras/lens/runs?${aroundNow()}`;
      const { runs } = await gateway.until<CameraRuns>(
        range,
        (now) => now.runs.length > before.length,
      );
      assert.match(runs[before.length - 1]?.endReason ?? '', /^failed: (?!.*no picture)/);
      assert.equal(await shownAt(gateway, 'lens', cameraStartMs + 2_030), shownLast);
    },
  );

  // awscli reads to the end, and live media end with the gateway.
  const { awscli = null } = clients;
  const { numbers = null } = begun.get('awscli') ?? {};
  const isRead = awscli !== null && numbers !== null;
  const tailed = isRead ? getMedia(awscli, 'awscli', numbers) : null;
  tailed?.catch(() => undefined);
  const sent = 'headgate_kinesis_video_fragments_sent_total{camera="awscli"}';
  // Two were listed before, and all but the first are sent now.
  const all = 2 + footage.clusters.length - 1;
  const isSent = async (): Promise<boolean> =>
    (await (await gateway.fetch('/metrics')).text()).includes(`${sent} ${all}\n`);
  while (tailed !== null && !(await isSent())) await new Promise((wake) => setTimeout(wake, 100));
  await gateway.stop();
  if (tailed !== null) assert.deepEqual(await tailed, numbers?.slice(1));
  await gateway.restart();

  for (const [name, client] of Object.entries(clients)) {
    await t.test(`${name} finds it all after a restart, and takes it away`, async (s) => {
      if (client === null) {
        s.skip(`needs ${name}, not on this machine`);
        return;
      }
      await findStream(client, name);
      await deleteStream(client, name);
      assert.deepEqual(
        [...client.succeeded].sort(),
        [...operations.values()].map((operation) => operation.name).sort(),
      );
    });
  }
});
