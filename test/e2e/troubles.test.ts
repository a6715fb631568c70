/** What the README's table "When something breaks" says of a camera, seen from outside. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { kill } from 'node:process';
import { it } from 'node:test';
import type { CameraFragments } from '../../gateway/api/rest/camera-schemas.ts';
import type { Status } from '../../gateway/api/rest/status-schemas.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { aroundNow, runsOf } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const camera = { username: 'front', password: 'camera-password' };
const sections = `
cameras:
  front: { source: { push: { username: ${camera.username}, password: ${camera.password} } } }
`;

it('a camera outlives its ffmpeg, and its disk', { timeout: 600_000 }, async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, sections);
  const clip = await makeClip(folder, { name: 'clip', seconds: 10 });
  const pushing = pushClip(t, clip, addressOf(gateway.rtspPort, 'front', camera), { loop: true });
  const fragmentsAfter = async (runId: number): Promise<CameraFragments['fragments']> => {
    const { fragments } = await gateway.until<CameraFragments>(
      `/cameras/front/fragments?${aroundNow()}`,
      (answer) => answer.fragments.some((fragment) => fragment.runId > runId),
    );
    return fragments.filter((fragment) => fragment.runId > runId);
  };
  const [first] = await fragmentsAfter(0);
  assert.ok(first !== undefined);

  await t.test('ffmpeg is killed: the next one goes on with the same connection', async () => {
    kill(await ffmpegOf(gateway), 'SIGKILL');
    const [next] = await fragmentsAfter(first.runId);
    assert.ok(next !== undefined);
    const runs = await runsOf(gateway, 'front');
    assert.match(runs.find(({ id }) => id === first.runId)?.endReason ?? '', /^failed: /);
    assert.equal(pushing.process.exitCode, null);
  });

  await t.test('the disk is pulled: footage is not to be had, which is said', async () => {
    const media = join(gateway.dataFolder, 'media');
    await rename(media, `${media}.away`);
    await mkdir(media);
    const answer = await gateway.fetch(first.url);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /is its disk mounted/);
    assert.deepEqual(await footageCheck(gateway), {
      name: 'footage',
      status: 'degraded',
      message:
        'nothing is recorded: the media folder: nothing of the footage is in it: is its disk mounted?',
    });
    assert.deepEqual(await readdir(media), []);

    await rm(media, { recursive: true });
    await rename(`${media}.away`, media);
    const served = await gateway.fetch(first.url);
    assert.equal(served.status, 200);
    await served.arrayBuffer();
    assert.equal(pushing.process.exitCode, null);
  });
});

async function footageCheck(
  gateway: GatewayProcess,
): Promise<Status['health']['checks'][number] | undefined> {
  const { health } = await gateway.get<Status>('/status');
  return health.checks.find(({ name }) => name === 'footage');
}

/** The process that records, found among the gateway's children. */
async function ffmpegOf(gateway: GatewayProcess): Promise<number> {
  const { pid = 0 } = gateway.child.process;
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  for (const child of children.trim().split(' ')) {
    const command = await readFile(`/proc/${child}/cmdline`, 'utf8');
    if (command.includes('ffmpeg')) return Number(child);
  }
  throw new Error(`the gateway has no ffmpeg among its children ${children}`);
}
