import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { connectAsync, type IClientOptions } from 'mqtt';
import { Authority } from '../../support/certificates.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { findProgram } from '../../support/tools.ts';
import {
  connectPacket,
  readAll,
  rawRoute,
  startBroker,
  startStore,
  until,
  user,
} from './support.ts';
import type { Running } from './support.ts';
import type { Store } from '../../../storage/store.ts';

interface Setting extends Running {
  readonly store: Store;
  readonly tlsPort: number;
  readonly authority: Authority;
}

async function start(t: TestContext, options: { clientCa: boolean }): Promise<Setting> {
  const authority = new Authority(await temporaryFolder(t), 'Test Authority');
  const store = await startStore(t);
  const running = await startBroker(t, {
    log: store.log,
    routes: [{ ...rawRoute, partitionKey: '{clientId}' }],
    users: [
      { ...user, publish: ['site/{username}'] },
      { username: 'pump-1', password: 'x' },
    ],
    tls: {
      host: '127.0.0.1',
      port: 0,
      ...authority.issue('gateway'),
      clientCa: options.clientCa ? authority.cert : null,
    },
  });
  return { ...running, store, tlsPort: running.broker.tlsAddress!.port, authority };
}

function login(setting: Setting, options: IClientOptions): ReturnType<typeof connectAsync> {
  return connectAsync(`mqtts://127.0.0.1:${setting.tlsPort}`, {
    ca: setting.authority.cert,
    reconnectPeriod: 0,
    ...options,
  });
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

const needsOpenssl = { timeout: 600_000, skip: findProgram('openssl') === null && 'no openssl' };

describe('MQTT over TLS', needsOpenssl, () => {
  it('is served beside the plain port', async (t) => {
    const setting = await start(t, { clientCa: false });
    const client = await login(setting, { ...user });
    await client.publishAsync(`site/${user.username}`, 'x'.repeat(100_000), { qos: 1 });
    await client.endAsync();
    assert.equal((await readAll(setting.store.log, 'telemetry')).length, 1);
    await assert.rejects(login(setting, {}), /Not authorized/);
  });

  it('takes the name of a verified certificate for the user, without a password', async (t) => {
    const setting = await start(t, { clientCa: true });
    const own = setting.authority.issue(user.username);
    const client = await login(setting, { cert: own.cert, key: own.key });
    await client.publishAsync(`site/${user.username}`, 'by certificate', { qos: 1 });
    await client.endAsync();
    // Its own topics, which are those of the user of that name.
    const other = await login(setting, { cert: own.cert, key: own.key });
    const dropped = new Promise<void>((resolve) => other.once('close', resolve));
    other.publish('site/elsewhere', 'x', { qos: 1 });
    await dropped;
    await other.endAsync(true);
    const stored = await readAll(setting.store.log, 'telemetry');
    assert.deepEqual(
      stored.map(({ data }) => data.toString()),
      ['by certificate'],
    );
    const borrowed = { cert: own.cert, key: own.key, username: 'pump-1' };
    await assert.rejects(login(setting, borrowed), /Bad username or password/);
    const wrong = { ...borrowed, username: user.username, password: 'wrong' };
    await assert.rejects(login(setting, wrong), /Bad username or password/);
  });

  it('refuses other certificates, none, and what is no TLS, and says so', async (t) => {
    const setting = await start(t, { clientCa: true });
    const { authority, tlsPort: port } = setting;
    const stranger = new Authority(await temporaryFolder(t), 'Stranger').issue(user.username);
    const answers: Buffer[] = [];
    for (const certificate of [stranger, {}]) {
      const socket = connectTls({ host: '127.0.0.1', port, ca: authority.cert, ...certificate });
      socket.on('error', () => undefined);
      socket.on('data', (bytes: Buffer) => answers.push(bytes));
      socket.write(connectPacket({ clientId: 'a' }));
      await closed(socket);
    }
    assert.deepEqual(answers, []);
    const plain = connectTcp(port, '127.0.0.1');
    plain.on('error', () => undefined);
    plain.write(connectPacket({ clientId: 'a' }));
    await closed(plain);
    await until(() => setting.broker.status().failedConnections === 3);
    assert.equal(setting.broker.status().connections, 0);
    assert.ok(setting.logger.lines.some((line) => JSON.stringify(line).includes('tls-failed')));
  });

  it('says of a device that does not trust its certificate what to give it', async (t) => {
    const setting = await start(t, { clientCa: false });
    for (let times = 1; times <= 2; times += 1) {
      // Node's own client breaks off without a word.
      const at = `127.0.0.1:${setting.tlsPort}`;
      const device = spawn('openssl', ['s_client', '-connect', at, '-verify_return_error'], {
        stdio: 'ignore',
      });
      await once(device, 'close');
      await until(() => setting.broker.status().failedConnections === times);
    }
    const [line] = setting.logger.lines.filter((one) =>
      JSON.stringify(one).includes('certificate-not-trusted'),
    );
    const text = JSON.stringify(line);
    assert.match(text, /does not trust this gateway's certificate: give it ca\.pem/);
    assert.match(text, /"error":"[\w ]+"/, "no line ends and file names of OpenSSL's");
  });

  it('closes while a handshake is half done', async (t) => {
    const setting = await start(t, { clientCa: false });
    const plain = connectTcp(setting.tlsPort, '127.0.0.1');
    plain.on('error', () => undefined);
    await once(plain, 'connect');
    const ended = closed(plain);
    await setting.broker.close();
    await ended;
  });

  it('refuses a certificate that is none when it is made', async (t) => {
    const store = await startStore(t);
    const tls = { host: '127.0.0.1', port: 0, cert: 'none', key: 'none', clientCa: null };
    await assert.rejects(startBroker(t, { log: store.log, tls }), /certificate/);
  });
});
