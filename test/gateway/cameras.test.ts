/** The configured cameras, as the gateway starts them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCameras } from '../../gateway/cameras.ts';
import { parseConfig } from '../../gateway/config/load.ts';
import { Supervisor } from '../../gateway/supervisor.ts';
import { openTestStore } from '../storage/support/open.ts';
import { PutMediaEntrance } from '../../ingest/mkv/entrance.ts';
import { PacketCamera } from '../support/packet-camera.ts';

test('a camera that was set over the API does not get to this machine, one of the owner does', async (t) => {
  const { store, clock, logger, metrics } = await openTestStore(t);
  const supervisor = new Supervisor({ clock, logger, metrics, random: () => 0.5 });
  const refuse = (): { status: string } => ({ status: '404 Not Found' });
  const nothing = { sdp: '', packets: [], lengthMs: 0, rates: [] };
  const camera = await PacketCamera.start(t, nothing, { answer: refuse });
  const at = (host: string): string => `rtsp://${host}:${camera.port}/cam`;
  const text = `
cameras:
  ours: { source: { rtsp: '${at('127.0.0.1')}' } }
  theirs: { source: { rtsp: '${at('127.0.0.1')}' }, confined: true }
  named: { source: { rtsp: '${at('localhost')}' }, confined: true }
`;
  const result = parseConfig({ name: 'test', text, folder: '/', env: {} });
  assert.ok(result.ok);
  const closers: (() => Promise<void>)[] = [];
  const cameras = await startCameras({
    ...{ cameras: result.config.cameras, allowedNetworks: ['0.0.0.0/0', '::/0'] },
    ...{ rtspServer: null, onClose: (close) => void closers.push(close), ffmpegPath: 'ffmpeg' },
    hasWebRtc: false,
    putMedia: new PutMediaEntrance(clock),
    ...{ video: store.video, supervisor, clock, logger, metrics },
  });
  t.after(async () => {
    await supervisor.close();
    await Promise.all(closers.map((close) => close()));
  });
  const failures = (): readonly (string | null)[] =>
    cameras.statuses().map(({ lastError }) => lastError);
  while (failures().includes(null)) await new Promise((wake) => setImmediate(wake));
  const [ours, theirs, named] = failures();
  assert.match(ours ?? '', /404 Not Found/);
  assert.match(theirs ?? '', /127\.0\.0\.1 is this machine: the gateway does not connect there/);
  assert.match(named ?? '', /localhost \(.+\) is this machine/);
  assert.equal(camera.connections, 1);
});
