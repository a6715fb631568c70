import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { parseCameraUrl, plainUrl } from '../../../../ingest/rtsp/client/address.ts';
import { isNetwork, onlyNetworks, privateNetworks } from '../../../../ingest/rtsp/client/guard.ts';
import { SourceError } from '../../../../ingest/source.ts';

describe('where a camera may be', () => {
  const guard = onlyNetworks(privateNetworks, () => ['192.168.1.5', 'fd00::5']);

  it('takes private addresses, and none of the box, the network itself or the world', () => {
    for (const address of ['10.1.2.3', '172.31.255.1', '192.168.1.6', 'fd00::6']) {
      assert.equal(guard(address), null, address);
      assert.equal(guard(`::ffff:${address}`.replace('::ffff:fd00::6', 'fd00::6')), null, address);
    }
    for (const address of [
      ...['192.168.1.5', 'fd00::5', 'fd00:0:0::0:5', '::ffff:192.168.1.5', '::ffff:c0a8:105'],
      ...['127.0.0.1', '127.9.9.9', '0.0.0.0', '::1', '::', '::ffff:127.0.0.1', '::ffff:7f00:1'],
      ...['0:0:0:0:0:ffff:7f00:0001', '::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::10.0.0.1'],
      ...['2002:7f00:1::', '2002:a00:1::'],
      ...['169.254.169.254', '::ffff:169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'fd00:ec2::254'],
      ...['224.0.0.1', '239.1.1.1', 'ff02::1', '255.255.255.255', '240.0.0.1'],
      ...['8.8.8.8', '172.32.0.1', '192.169.0.1', '2001:db8::1', 'camera.local', '', '10.1'],
    ]) {
      assert.notEqual(guard(address), null, address);
    }
  });

  it('is never this machine, also when all networks are allowed', () => {
    const everywhere = onlyNetworks(['0.0.0.0/0', '::/0']);
    assert.equal(everywhere('8.8.8.8'), null);
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    for (const { address } of own) assert.notEqual(everywhere(address), null, address);
    for (const address of [
      ...['127.0.0.1', '::1', '169.254.169.254', '::ffff:127.0.0.1'],
      // Ways to write an IPv4 address that a network may translate back.
      ...['::ffff:0:127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::', '2001:0:7f00:1::1'],
    ]) {
      assert.notEqual(everywhere(address), null, address);
    }
  });

  it('knows a network from what is none', () => {
    for (const text of ['10.0.0.0/8', '10.1.2.3', 'fc00::/7', '::1', '0.0.0.0/0']) {
      assert.equal(isNetwork(text), true, text);
    }
    for (const text of [
      '10.0.0.0/33',
      '10/8',
      'fc00::/129',
      'a.b',
      '',
      '/8',
      '10.0.0.0/8/8',
      'fe80::1%e/64',
      '1.2.3.4/-1',
      '1.2.3.4/ 8',
    ]) {
      assert.equal(isNetwork(text), false, text);
    }
  });
});

describe('the address of a camera', () => {
  it('is taken apart in one way', () => {
    for (const [url, host, port, path, username, password] of [
      ['rtsp://10.0.0.5', '10.0.0.5', 554, '', null, null],
      ['rtsps://cam.lan/live?a=1&b=2', 'cam.lan', 322, '/live?a=1&b=2', null, null],
      ['RTSP://admin:p%40ss%2Fw@10.0.0.5:8554/x', '10.0.0.5', 8554, '/x', 'admin', 'p@ss/w'],
      ['rtsp://admin:p@ss@10.0.0.5/x', '10.0.0.5', 554, '/x', 'admin', 'p@ss'],
      ['rtsp://admin:50%@10.0.0.5/x', '10.0.0.5', 554, '/x', 'admin', '50%'],
      ['rtsp://admin@[fd00::5]:554/x', 'fd00::5', 554, '/x', 'admin', ''],
      ['rtsp://10.0.0.5@192.168.0.9/x', '192.168.0.9', 554, '/x', '10.0.0.5', ''],
      ['rtsp://10.0.0.5/x@192.168.0.9/y', '10.0.0.5', 554, '/x@192.168.0.9/y', null, null],
    ] as const) {
      const address = parseCameraUrl(url);
      assert.equal(address.host, host, url);
      assert.equal(address.port, port, url);
      assert.equal(address.path, path, url);
      const user = username === null ? null : { username, password };
      assert.deepEqual(address.user, user, url);
      assert.ok(!plainUrl(address).includes('admin'), url);
    }
  });

  it('is refused when it is anything else, without telling the password', () => {
    for (const url of [
      ...['', 'http://10.0.0.5/', 'file:///etc/passwd', 'concat:/etc/passwd|x', 'rtsp:10.0.0.5'],
      ...['tcp://10.0.0.5:554', 'rtsp+udp://10.0.0.5', '-i /etc/passwd', 'rtspu://10.0.0.5/'],
      ...['rtsp:///x', 'rtsp://', 'rtsp://a b/', 'rtsp://10.0.0.5:0/', 'rtsp://10.0.0.5:99999/'],
      ...[
        'rtsp://10.0.0.5/x\r\nTEARDOWN rtsp://b RTSP/1.0',
        'rtsp://10.0.0.5/x\0',
        ' rtsp://10.0.0.5/',
      ],
      ...[
        'rtsp://u:p@secret/x@10.0.0.5/',
        'rtsp://u:secret/x@10.0.0.5/',
        'rtsp://10.0.0.5\\@evil/',
        'rtsp://10.0.0.5#@evil/',
      ],
      ...['rtsp://[::1', 'rtsp://[fe80::1%25eth0]/', `rtsp://10.0.0.5/${'x'.repeat(3000)}`],
    ]) {
      assert.throws(
        () => parseCameraUrl(url),
        (error) => error instanceof SourceError && !error.message.includes('secret'),
        url,
      );
    }
  });
});
