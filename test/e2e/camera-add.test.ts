/** A camera is added to a gateway that runs: from the command line to the first picture watched. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import type { Camera } from '../../gateway/api/rest/camera-schemas.ts';
import { addressOf, framesOf, makeClip, playFrames } from '../ingest/rtsp/media.ts';
import { startChild } from '../support/child.ts';
import { GatewayProcess, headgateCommand } from '../support/gateway.ts';
import { capturePackets, PacketCamera } from '../support/packet-camera.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const viewer = { username: 'viewer', password: 'watch-me' };

it(
  'a camera that is added is recorded and can be watched at once',
  { timeout: 600_000 },
  async (t) => {
    const folder = await temporaryFolder(t);
    const clip = await makeClip(folder, { name: 'clip', seconds: 4 });
    const capture = await capturePackets(t, clip);
    const camera = await PacketCamera.start(t, capture, { pace: 1, loop: true });
    const gateway = await GatewayProcess.start(
      ...([t, folder, '# nothing yet', undefined, undefined] as const),
      `[{ username: ${viewer.username}, password: ${viewer.password} }]`,
    );
    const before = await readFile(join(folder, 'headgate.yaml'), 'utf8');

    const [command, args] = headgateCommand('camera', 'add', camera.url, '--name', 'yard');
    const add = startChild(t, command, args, { cwd: folder });
    assert.equal((await add.exited).code, 0, add.lines.join('\n'));
    const after = await readFile(join(folder, 'headgate.yaml'), 'utf8');
    assert.ok(after.startsWith(before.trimEnd()), 'what was written is still there');

    const isThere = async (): Promise<boolean> => {
      const response = await gateway.fetch('/api/v1/cameras/yard');
      return response.ok && ((await response.json()) as Camera).state === 'recording';
    };
    while (!(await isThere())) await new Promise((wake) => setTimeout(wake, 100));

    const url = addressOf(gateway.rtspPort, 'yard', viewer);
    const watching = playFrames(t, folder, url, undefined, ['-frames:v', '25']);
    const frames = await watching.frames;
    assert.equal(frames.length, 25, watching.child.lines.join('\n'));
    const all = new Set(await framesOf(['-i', clip]));
    assert.equal(frames.filter((frame) => !all.has(frame)).length, 0);
    assert.equal(camera.connections, 2, 'one to look at it, one for everything else');

    // Over the API nobody gets to this machine, and what is there can be taken out.
    const ask = (method: string, body?: unknown): Promise<Response> =>
      fetch(`${gateway.url}/api/v1/cameras/yard`, {
        method,
        headers: { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    assert.equal((await ask('PUT', { source: { rtsp: camera.url } })).status, 400);
    const removed = await ask('DELETE');
    assert.equal(removed.status, 200);
    assert.deepEqual(await removed.json(), {
      changed: ['cameras.yard'],
      needsRestart: [],
      withoutEffect: [],
    });
    const { state, storedBytes } = await gateway.get<Camera>('/cameras/yard');
    assert.equal(state, 'disabled');
    assert.ok(storedBytes > 0, 'its footage stays');
    assert.equal((await readFile(join(folder, 'headgate.yaml'), 'utf8')).includes('yard'), false);
    assert.equal(await gateway.stop(), 0);
  },
);
