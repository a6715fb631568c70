/** Cameras that are set over the API: what is written, and what nobody may have written. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { parse } from 'yaml';
import { temporaryFolder } from '../../../support/temporary-folder.ts';
import { startGateway } from '../../http/gateway.ts';

interface Answer {
  readonly status: number;
  readonly message: string;
}

interface Setting {
  readonly file: string;
  text(): Promise<string>;
  put(name: string, body: unknown): Promise<Answer>;
  delete(name: string): Promise<Answer>;
}

async function setting(t: TestContext, text: string | null): Promise<Setting> {
  const folder = await temporaryFolder(t);
  const file = join(folder, 'headgate.yaml');
  if (text !== null) await writeFile(file, text);
  const gateway = await startGateway(t, text === null ? {} : { configFile: file });
  const ask = async (method: string, name: string, body?: unknown): Promise<Answer> => {
    const response = await gateway.app.request(`http://localhost/api/v1/cameras/${name}`, {
      method,
      headers: {
        authorization: `Bearer ${gateway.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as { error?: { message: string } };
    return { status: response.status, message: answer.error?.message ?? '' };
  };
  return {
    file,
    text: () => readFile(file, 'utf8'),
    put: (name, body) => ask('PUT', name, body),
    delete: (name) => ask('DELETE', name),
  };
}

const source = (rtsp: string) => ({ source: { rtsp } });

describe('cameras over the API', () => {
  it('are written into the configuration, confined, and taken out again', async (t) => {
    const before =
      '# mine\ncameras:\n  # the gate\n  gate: { source: { rtsp: "rtsp://192.0.2.1/" } }\nstreams: { e: {} } # e\n';
    const s = await setting(t, before);
    const yard = {
      ...source('rtsps://u:p%40@10.1.2.3:322/x?y=1'),
      transport: 'udp',
      verifyTls: false,
      retentionHours: 24,
      events: 'e',
      substream: { rtsp: 'rtsps://10.1.2.3/small' },
    };
    assert.deepEqual(await s.put('yard', yard), { status: 200, message: '' });
    const added = await s.text();
    assert.deepEqual((parse(added) as { cameras: unknown }).cameras, {
      gate: source('rtsp://192.0.2.1/'),
      yard: { ...yard, confined: true },
    });
    for (const line of before.split('\n')) assert.ok(added.includes(line), line);
    assert.equal((await s.put('yard', source('rtsp://10.1.2.4/'))).status, 200);
    assert.match(await s.text(), /rtsp:\/\/10\.1\.2\.4\//);
    assert.equal((await s.delete('yard')).status, 200);
    assert.equal(await s.text(), before);
    assert.equal((await s.delete('yard')).status, 404);
    assert.equal((await s.delete('nobody')).status, 404);
  });

  it('are never on this machine, link-local, or outside of the allowed networks', async (t) => {
    const before = 'cameras: {}\n';
    const s = await setting(t, before);
    const own = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .map(({ address, family }) => (family === 'IPv6' ? `[${address.split('%')[0]}]` : address));
    for (const host of [
      ...own,
      ...['127.0.0.1', '127.1', '2130706433', '0x7f.1', '0177.0.0.1', '0.0.0.0', '0', 'localhost'],
      ...[
        '[::1]',
        '[::]',
        '[::ffff:127.0.0.1]',
        '[::ffff:10.0.0.1%25lo]',
        '[::127.0.0.1]',
        '[0:0:0:0:0:ffff:7f00:1]',
      ],
      ...['169.254.169.254', '[fe80::1]', '[fd00:ec2::254]', '[64:ff9b::a00:1]', '[2002:a00:1::]'],
      ...['224.0.0.1', '255.255.255.255', '[ff02::1]', '8.8.8.8', '[2001:db8::1]'],
      ...[
        '10.0.0.1@127.0.0.1',
        '10.0.0.1:x@127.0.0.1',
        '10.0.0.1%2f@127.0.0.1',
        'a:b@10.0.0.1@127.0.0.1',
      ],
      ...['no-such-host.invalid', '127.0.0.1#@10.0.0.1', '127.0.0.1\\@10.0.0.1', '10.0.0.1\t', ''],
    ]) {
      const { status, message } = await s.put('yard', source(`rtsp://${host}/x`));
      assert.equal(status, 400, host);
      assert.match(message, /source\.rtsp/, host);
    }
    const substream = { rtsp: 'rtsp://127.0.0.1/x' };
    const small = await s.put('yard', { ...source('rtsp://10.0.0.1/'), substream });
    assert.deepEqual([small.status, /substream\.rtsp/.test(small.message)], [400, true]);
    assert.equal(await s.text(), before);
  });

  it('are nothing but rtsp, and say nothing to ffmpeg or the configuration', async (t) => {
    const before = 'cameras: {}\n';
    const s = await setting(t, before);
    for (const url of [
      ...[
        '/etc/passwd',
        'file:///etc/passwd',
        'concat:/etc/passwd',
        'concat:rtsp://10.0.0.1/|/etc/x',
      ],
      ...[
        'http://10.0.0.1/',
        'tcp://10.0.0.1:22',
        'data:,x',
        'pipe:0',
        'subfile,,start,0,end,9,,:/etc/x',
      ],
      ...[
        '-i /etc/passwd',
        '-f lavfi -i x',
        'rtsp://10.0.0.1/ -i /etc/passwd',
        'rtsp://10.0.0.1/\n-i x',
      ],
      ...[
        'rtsp://10.0.0.1/\r\nfile /etc/passwd',
        "rtsp://10.0.0.1/x\u0000'",
        'rtsp:\\\\10.0.0.1',
        'crypto+rtsp://10.0.0.1/',
      ],
      ...[`rtsp://10.0.0.1/${'x'.repeat(3000)}`, ''],
    ]) {
      assert.equal((await s.put('yard', source(url))).status, 400, url);
    }
    for (const body of [
      ...[
        {},
        null,
        [],
        'x',
        { source: {} },
        { source: { push: { username: 'a', password: 'b' } } },
      ],
      ...[
        { source: { rtsp: ['rtsp://10.0.0.1/'] } },
        { ...source('rtsp://10.0.0.1/'), confined: false },
      ],
      ...[
        { ...source('rtsp://10.0.0.1/'), ffmpegPath: '/bin/sh' },
        { ...source('rtsp://10.0.0.1/'), transport: 'udp -i x' },
      ],
      ...[{ ...source('rtsp://10.0.0.1/'), maxBytes: 1 }],
    ]) {
      assert.equal((await s.put('yard', body)).status, 400, JSON.stringify(body));
    }
    for (const name of ['a%20b', '..%2Fx', '__proto__', '%0a', 'x'.repeat(129), 'a:b']) {
      assert.equal((await s.put(name, source('rtsp://10.0.0.1/'))).status, 400, name);
    }
    assert.equal(await s.text(), before);
    // What would be filled in from the environment or a file is taken as it is written.
    const secret = 'rtsp://u:${file:/etc/passwd}@10.0.0.1/${HOME}/$${x}';
    assert.equal((await s.put('yard', source(secret.replace('/etc', '')))).status, 400, 'a slash');
    const literal = 'rtsp://u:${file:passwd}@10.0.0.1/${HOME}/$${x}';
    assert.equal((await s.put('yard', source(literal))).status, 200);
    const { cameras } = parse(await s.text()) as {
      cameras: { yard: { source: { rtsp: string } } };
    };
    assert.equal(
      cameras.yard.source.rtsp,
      literal.replaceAll('${', () => '$${'),
    );
  });

  it('need a configuration file that can be written and stays valid', async (t) => {
    const yard = source('rtsp://10.0.0.1/');
    const none = await setting(t, null);
    const refused = await none.put('yard', yard);
    assert.equal(refused.status, 409);
    assert.match(refused.message, /without a configuration file/);
    assert.equal((await none.delete('yard')).status, 409);

    const broken = await setting(t, 'http: [\n');
    assert.equal((await broken.put('yard', yard)).status, 409);
    assert.equal(await broken.text(), 'http: [\n');
    const invalid = await setting(t, 'http: { prot: 1 }\n');
    assert.match((await invalid.put('yard', yard)).message, /would not be valid:.*prot/);

    const used = await setting(
      t,
      'cameras: { yard: { source: { rtsp: "rtsp://10.0.0.1/" } } }\ndeliveries: { d: { from: { camera: yard }, to: { folder: { path: x } } } }\n',
    );
    const before = await used.text();
    assert.match((await used.delete('yard')).message, /would not be valid:.*deliveries\.d/);
    assert.equal((await used.put('other', { ...yard, events: 'nowhere' })).status, 409);
    assert.equal(await used.text(), before);

    // Nobody, root included, can put a file where a folder is in the way.
    const blocked = await setting(t, 'cameras: {}\n');
    await mkdir(join(blocked.file, '..', '.headgate_yaml.new'));
    assert.match(
      (await blocked.put('yard', yard)).message,
      /Nothing was changed: .*can't be written/,
    );
    await chmod(blocked.file, 0o640);
    assert.equal(await blocked.text(), 'cameras: {}\n');
  });

  it('are all there when many are set at once', async (t) => {
    const s = await setting(t, '');
    const names = Array.from({ length: 12 }, (_, index) => `cam-${index}`);
    const answers = await Promise.all(
      names.map((name) => s.put(name, source(`rtsp://10.0.0.1/${name}`))),
    );
    assert.ok(
      answers.every(({ status }) => status === 200),
      JSON.stringify(answers),
    );
    const { cameras } = parse(await s.text()) as { cameras: object };
    assert.deepEqual(Object.keys(cameras).sort(), [...names].sort());
  });
});
