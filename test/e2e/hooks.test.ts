/**
 * A whole gateway whose camera a program looks at: its labels are found beside the footage, a program
 * that fails is told of, another one takes over at a reload; an alarm over MQTT marks the footage.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectAsync } from 'mqtt';
import type { CameraEvents, CameraFragments } from '../../gateway/api/rest/camera-schemas.ts';
import type { Status } from '../../gateway/api/rest/status-schemas.ts';
import type { Records } from '../../gateway/api/rest/stream-schemas.ts';
import { headgate } from '../gateway/cli/command.ts';
import { addressOf, makeClip, pushClip } from '../ingest/rtsp/media.ts';
import { aroundNow } from '../support/footage-check.ts';
import { GatewayProcess } from '../support/gateway.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const user = { username: 'camera', password: 'camera-password' };

/** Answers only to a JPEG. */
const looks = (label: string): string => `#!/bin/sh
[ "$(head -c 2 | od -An -tx1)" = " ff d8" ] || exit 4
echo '{"labels": [{"name": "${label}", "confidence": 0.5}]}'
`;

test('a program looks at a camera, and what it answers is found', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'look'), looks('car'), { mode: 0o755 });
  const gateway = await GatewayProcess.start(
    t,
    folder,
    `
streams: { seen: {} }
cameras:
  yard:
    source: { push: { username: ${user.username}, password: ${user.password} } }
    marks: [{ topic: 'alarms/#', kind: alarm, hold: true }]
hooks:
  look: { camera: yard, perMinute: 60, stream: seen, to: { command: { program: ./look } } }
`,
  );
  const clip = await makeClip(folder, { name: 'walk', seconds: 6 });
  pushClip(t, clip, addressOf(gateway.rtspPort, 'yard', user), { loop: true });
  const labelled = (label: string): Promise<CameraFragments> =>
    gateway.until<CameraFragments>(`/cameras/yard/fragments?${aroundNow()}`, ({ fragments }) =>
      fragments.some(({ tags }) => tags['look'] === label),
    );
  const hooksCheck = ({ health }: Status) => health.checks.find(({ name }) => name === 'hooks');
  await labelled('car 0.50');
  const { records } = await gateway.get<Records>(
    '/streams/seen/shards/0/records?position=earliest&waitSeconds=10',
  );
  assert.ok(records.length > 0);

  const device = await connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
    username: 'device',
    password: 'device-password',
  });
  await device.publishAsync('alarms/yard', 'door', { qos: 1 });
  await device.endAsync();
  const { events } = await gateway.until<CameraEvents>(
    `/cameras/yard/events?${aroundNow()}`,
    ({ events: marked }) => marked.length > 0,
  );
  assert.deepEqual([events[0]?.kind, events[0]?.hold], ['alarm', true]);

  await writeFile(join(folder, 'look'), '#!/bin/sh\necho no model >&2\nexit 3\n');
  const failing = await gateway.until<Status>('/status', (status) => {
    return hooksCheck(status)?.status === 'degraded';
  });
  assert.match(hooksCheck(failing)?.message ?? '', /^look: .*\/look ended with 3: no model$/);
  const { stdout } = await headgate(folder, ['status']);
  assert.match(stdout, /^ +degraded: hooks: look: .* no model$/m);

  await writeFile(join(folder, 'other'), looks('bicycle'), { mode: 0o755 });
  const path = join(folder, 'headgate.yaml');
  await writeFile(path, (await readFile(path, 'utf8')).replace('./look', './other'));
  await labelled('bicycle 0.50');
  const mended = await gateway.get<Status>('/status');
  assert.equal(hooksCheck(mended)?.status, 'ok');
  assert.equal(await gateway.stop(), 0);
});
