/** `headgate camera discover`, with a simulated camera on loopback. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runCli } from '../../../gateway/cli/cli.ts';
import { startOnvifDevice } from '../../support/onvif-device.ts';
import { FakeProcess } from './support.ts';

describe('headgate camera discover', () => {
  it('prints what answers in the network, and its streams', async (t) => {
    const device = await startOnvifDevice(t);
    const process = new FakeProcess();
    const args = ['camera', 'discover', '--interface', '127.0.0.1'];
    const ending = runCli(process.context(args));
    await device.asked('GetStreamUri', 2);
    process.clock.advance(4_000);
    assert.equal(await ending, 0, process.stderr);
    assert.ok(process.stdout.includes(`127.0.0.1:${device.port}  Acme & Sons X<1>  Front gate?`));
    assert.match(
      process.stdout,
      /main {2}rtsp:\/\/127\.0\.0\.1\/main\?a=1&b=2 {2}\(H264, 1920 × 1080, 25 frames\/s\)/,
    );
    assert.match(process.stdout, /sub {3}rtsp:\/\/127\.0\.0\.1\/sub\?a=1&b=2/);
    assert.doesNotMatch(process.stdout, /secret/);
  });

  it('asks hosts by name with a password from the environment, and says who wants one', async (t) => {
    const device = await startOnvifDevice(t, { user: { username: 'viewer', password: 'p w' } });
    const host = `127.0.0.1:${device.port}`;
    const known = new FakeProcess();
    const who = ['--user', 'viewer', '--password', '${CAMERA_PASSWORD}', '--json'];
    const env = { CAMERA_PASSWORD: 'p w' };
    const context = known.context(['camera', 'discover', host, ...who], { env });
    assert.equal(await runCli(context), 0, known.stderr);
    const { cameras } = JSON.parse(known.stdout) as { cameras: { facts: { model: string } }[] };
    assert.equal(cameras[0]?.facts.model, 'X<1>');
    const unknown = new FakeProcess();
    assert.equal(await runCli(unknown.context(['camera', 'discover', host])), 1);
    assert.match(unknown.stdout, /✗ it wants a user and a password/);
    assert.match(unknown.stdout, /--user and --password say it/);
  });

  it('refuses what it can not do', async () => {
    for (const [args, said] of [
      [['--wait', '0'], /--wait takes/],
      [['--user', '${NOT_THERE}'], /NOT_THERE/],
      [['--password', 'x'], /--password needs --user/],
    ] as const) {
      const process = new FakeProcess();
      assert.equal(await runCli(process.context(['camera', 'discover', ...args])), 2);
      assert.match(process.stderr, said);
    }
    const process = new FakeProcess();
    assert.equal(await runCli(process.context(['camera', 'discover', 'http://x/'])), 1);
    assert.match(process.stderr, /host or host:port/);
  });
});
