/** Finding cameras by ONVIF, with simulated devices that answer, want a password, hang and lie. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findCameras, type FindOptions } from '../../../ingest/onvif/find-cameras.ts';
import { parseXml } from '../../../ingest/onvif/xml.ts';
import { anywhere, onlyNetworks, privateNetworks } from '../../../ingest/rtsp/client/guard.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { match, startOnvifDevice } from '../../support/onvif-device.ts';

function options(clock: ManualClock, parts: Partial<FindOptions> = {}): FindOptions {
  return {
    hosts: [],
    interfaces: ['127.0.0.1'],
    waitMs: 3_000,
    user: null,
    guard: anywhere,
    clock,
    signal: new AbortController().signal,
    ...parts,
  };
}

const user = { username: 'viewer', password: 'pass & word' };

describe('finding cameras', () => {
  it('asks the network, and each device for its streams, the largest picture first', async (t) => {
    const device = await startOnvifDevice(t);
    const clock = new ManualClock();
    const finding = findCameras(options(clock));
    await device.asked('GetStreamUri', 2);
    clock.advance(3_000);
    const found = (await finding).find(({ port }) => port === device.port);
    const stream = { profile: 'H264', codec: 'H264', framesPerSecond: 25 };
    const at = 'rtsp://127.0.0.1';
    assert.deepEqual(found, {
      host: '127.0.0.1',
      port: device.port,
      id: device.id,
      name: 'Front gate?',
      hardware: 'X-1',
      problem: null,
      facts: {
        manufacturer: 'Acme & Sons',
        model: 'X<1>',
        firmware: '1.2',
        streams: [
          { ...stream, kind: 'main', url: `${at}/main?a=1&b=2`, width: 1920, height: 1080 },
          { ...stream, kind: 'sub', url: `${at}/sub?a=1&b=2`, width: 640, height: 360 },
        ],
      },
    });
  });

  it('believes no answer to another question, and no address but that of the sender', async (t) => {
    const device = await startOnvifDevice(t, {
      lies: (messageId) => [
        'rubbish',
        '<a><b></a>',
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        match({ id: 'urn:other-question', messageId: 'urn:uuid:other', port: 1 }),
        match({ id: 'urn:other-host', messageId, port: 80, host: '10.9.9.9' }),
      ],
    });
    const clock = new ManualClock();
    const finding = findCameras(options(clock));
    await device.asked('GetStreamUri', 2);
    clock.advance(3_000);
    const found = await finding;
    assert.ok(found.some(({ id, facts }) => id === device.id && facts !== null));
    assert.ok(!found.some(({ id }) => id === 'urn:other-question'));
    const other = found.find(({ id }) => id === 'urn:other-host');
    assert.deepEqual([other?.port, other?.problem?.code], [null, 'unsupported']);
  });

  it('prefers the service that knows H.265', async (t) => {
    const device = await startOnvifDevice(t, { hasMedia2: true });
    const clock = new ManualClock();
    const [found] = await findCameras(options(clock, { hosts: [`127.0.0.1:${device.port}`] }));
    assert.equal(found?.facts?.streams[0]?.codec, 'H265');
    assert.equal(found.facts.streams[0].url, 'rtsp://127.0.0.1/media2?a=1&b=2');
  });

  for (const authentication of ['token', 'http'] as const) {
    it(`says who asks, as a digest alone (${authentication})`, async (t) => {
      const clock = new ManualClock();
      const nowMs = clock.nowMs() - 5 * 86_400_000;
      const device = await startOnvifDevice(t, { user, authentication, nowMs });
      const hosts = [`127.0.0.1:${device.port}`];
      const [known] = await findCameras(options(clock, { hosts, user }));
      assert.equal(known?.problem, null);
      assert.equal(known.facts?.streams.length, 2);
      assert.doesNotMatch(device.received(), /pass (&|&amp;) word|Basic /);
      const wrong = { ...user, password: 'x' };
      for (const other of [null, wrong]) {
        const [unknown] = await findCameras(options(clock, { hosts, user: other }));
        assert.equal(unknown?.problem?.code, 'unauthorized');
      }
    });
  }

  it('hands on no address that is more than one when it is pasted into a shell', async (t) => {
    const uri = "rtsp://10.0.0.5/a';reboot;'${HOME}&#x202e;&#xd800;?b=`c`&amp;d=1";
    const device = await startOnvifDevice(t, {
      instead: { GetStreamUri: `<Envelope><Uri>${uri}</Uri></Envelope>` },
    });
    const hosts = [`127.0.0.1:${device.port}`];
    const [found] = await findCameras(options(new ManualClock(), { hosts }));
    assert.equal(
      found?.facts?.streams[0]?.url,
      'rtsp://10.0.0.5/a%27;reboot;%27$%7BHOME%7D%E2%80%AE%EF%BF%BD?b=%60c%60&d=1',
    );
  });

  it('connects to nothing that is not allowed', async (t) => {
    const device = await startOnvifDevice(t);
    const guard = onlyNetworks(privateNetworks);
    const hosts = [`127.0.0.1:${device.port}`];
    const [found] = await findCameras(options(new ManualClock(), { hosts, guard }));
    assert.equal(found?.problem?.code, 'forbidden');
    assert.deepEqual(device.calls, []);
  });

  it('gives up on one that hangs, one that floods and one that is no camera', async (t) => {
    const clock = new ManualClock();
    const hangs = await startOnvifDevice(t, { instead: { GetProfiles: null } });
    const floods = await startOnvifDevice(t, {
      instead: { GetProfiles: `<a>${' '.repeat(300_000)}</a>` },
    });
    const other = await startOnvifDevice(t, { instead: { GetDeviceInformation: 'hello' } });
    const hosts = [hangs, floods, other].map(({ port }) => `127.0.0.1:${port}`);
    const finding = findCameras(options(clock, { hosts }));
    await hangs.asked('GetProfiles', 1);
    const rest = await Promise.all(
      hosts.slice(1).map((host) => findCameras(options(new ManualClock(), { hosts: [host] }))),
    );
    assert.deepEqual(
      rest.map(([one]) => one?.problem?.code),
      ['malformed', 'malformed'],
    );
    await Promise.all([floods.asked('GetProfiles', 2), other.asked('GetDeviceInformation', 2)]);
    clock.advance(10_000);
    const hung = (await finding).find(({ port }) => port === hangs.port);
    assert.equal(hung?.problem?.code, 'stalled');
  });

  it('ends with what was found when it is stopped, and says where there is no network', async (t) => {
    const device = await startOnvifDevice(t, { instead: { GetProfiles: null } });
    const stop = new AbortController();
    const finding = findCameras(options(new ManualClock(), { signal: stop.signal }));
    await device.asked('GetProfiles', 1);
    stop.abort();
    const found = (await finding).find(({ port }) => port === device.port);
    assert.equal(found?.problem?.code, 'ended');
    await assert.rejects(findCameras(options(new ManualClock(), { interfaces: [] })), {
      code: 'unreachable',
    });
  });

  it('reads XML cut off anywhere as such', () => {
    const text = '<a b="x>y"><!-- > --><c:d>1 &lt; &#50;<![CDATA[<]]></c:d><e/></a>';
    const [first] = parseXml(text).children;
    assert.deepEqual([first?.name, first?.text], ['d', '1 < 2<']);
    for (let length = 0; length < text.length; length += 1) {
      assert.throws(() => parseXml(text.slice(0, length)), { code: 'malformed' });
    }
    assert.throws(() => parseXml('<a>'.repeat(50) + '</a>'.repeat(50)), { code: 'malformed' });
  });
});
