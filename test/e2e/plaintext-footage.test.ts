/**
 * Whoever takes the disk, or a backup, has nothing of what an encrypted camera saw: pieces of its coded
 * frames are looked for in every file that the gateway has.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CameraFragments } from '../../gateway/api/rest/camera-schemas.ts';
import { boxesIn } from '../../storage/video/boxes.ts';
import { headgate } from '../gateway/cli/command.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { aroundNow } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { filesWithAny } from '../support/plaintext.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const cameraUser = { username: 'camera', password: 'camera-password' };

/** Pieces of the coded frames of a clip, which lie in what is recorded as they are. */
async function piecesOf(clip: string): Promise<readonly Buffer[]> {
  const bytes = await readFile(clip);
  const data = [...boxesIn(bytes)].find(({ type }) => type === 'mdat');
  assert.ok(data !== undefined);
  const apartBytes = Math.floor((data.end - data.bodyStart) / 40);
  return Array.from({ length: 38 }, (_, index) => {
    const at = data.bodyStart + (index + 1) * apartBytes;
    return bytes.subarray(at, at + 24);
  });
}

test('no file of a gateway, nor of its backup, shows anything of an encrypted camera', async (t) => {
  const folder = await temporaryFolder(t);
  const source = `{ push: { username: ${cameraUser.username}, password: ${cameraUser.password} } }`;
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `cameras: { yard: { source: ${source} }, open: { source: ${source}, encryption: none } }`,
  );
  const clip = await makeClip(folder, { name: 'walk', seconds: 6, pattern: 'testsrc2' });
  const pieces = await piecesOf(clip);
  const inTheOpen = (where: string): Promise<readonly string[]> => filesWithAny(where, pieces);
  const isOfOpen = (path: string): boolean => /^media\/open\.\d+\//.test(path);
  const recorded = (camera: string, count: number): Promise<CameraFragments> =>
    gateway.until<CameraFragments>(
      `/cameras/${camera}/fragments?${aroundNow()}`,
      ({ fragments }) => fragments.length >= count,
    );

  for (const camera of ['yard', 'open']) {
    pushClip(t, clip, addressOf(gateway.rtspPort, camera, cameraUser), { loop: true });
  }
  await Promise.all([recorded('yard', 3), recorded('open', 3)]);
  const running = await inTheOpen(gateway.dataFolder);
  assert.ok(running.some(isOfOpen), 'in the open it is found');
  assert.deepEqual(
    running.filter((path) => !isOfOpen(path)),
    [],
    'while it runs',
  );
  await gateway.kill();
  assert.ok((await inTheOpen(gateway.dataFolder)).every(isOfOpen), 'after a kill');
  await gateway.restart();

  // What is served is in the open, whichever camera it is of.
  for (const camera of ['yard', 'open']) {
    const { fragments } = await recorded(camera, 3);
    const bodies = await Promise.all(
      fragments.slice(0, 3).map(async ({ url }) => {
        const answer = await gateway.fetch(url);
        assert.equal(answer.status, 200);
        return Buffer.from(await answer.arrayBuffer());
      }),
    );
    const served = Buffer.concat(bodies);
    assert.ok(pieces.filter((piece) => served.includes(piece)).length > 10, camera);
  }
  const backup = await headgate(folder, ['backup', 'backup']);
  assert.equal(backup.code, 0, backup.stderr);
  assert.ok((await inTheOpen(join(folder, 'backup'))).every(isOfOpen), 'in a backup');
  assert.equal(await gateway.stop(), 0);
  assert.ok((await inTheOpen(gateway.dataFolder)).every(isOfOpen), 'after a stop');
});
