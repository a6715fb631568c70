import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, it, type TestContext } from 'node:test';
import mqtt from 'mqtt';
import { SourceError } from '../../../ingest/source.ts';
import { MqttBroker } from '../../../ingest/mqtt/broker.ts';
import { MqttError } from '../../../ingest/mqtt/errors.ts';
import { mqttSource } from '../../../ingest/mqtt/source.ts';
import { systemClock } from '../../../storage/clock.ts';
import { startChild } from '../../support/child.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import {
  connectPacket,
  publishPacket,
  RawClient,
  rawRoute,
  readAll,
  releasePacket,
  startBroker,
  startStore,
  until,
  user,
} from './support.ts';

const series = fileURLToPath(
  new URL(
    '../../../../shared/telemetry/realKnownCause/machine_temperature_system_failure.csv',
    import.meta.url,
  ),
);

const mosquittoArguments = (port: number): string[] => {
  const login = ['-u', user.username, '-P', user.password];
  return ['-h', '127.0.0.1', '-p', String(port), '-V', 'mqttv311', ...login];
};

async function connect(
  context: TestContext,
  port: number,
  options: mqtt.IClientOptions = {},
): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...user,
    reconnectPeriod: 0,
    ...options,
  });
  client.on('error', () => undefined);
  context.after(() => client.endAsync(true));
  return client;
}

describe('publishing to the log', { timeout: 600_000 }, () => {
  for (const qos of [0, 1, 2]) {
    it(`keeps a series that mosquitto_pub sends with QoS ${qos}, in order and equal to the byte`, async (t) => {
      if (!existsSync(series)) {
        t.skip('the telemetry series are not beside this checkout');
        return;
      }
      const lines = readFileSync(series, 'utf8').split('\n').slice(0, 2000);
      const store = await startStore(t);
      const { broker, port } = await startBroker(t, { log: store.log });
      const child = startChild(t, 'mosquitto_pub', [
        ...mosquittoArguments(port),
        ...['-t', 'site/machine/temperature', '-q', String(qos), '-l'],
      ]);
      child.process.stdin!.end(`${lines.join('\n')}\n`);
      const { code } = await child.exited;
      assert.equal(code, 0, child.lines.join('\n'));
      if (qos === 0) await until(() => broker.status().routes[0]!.messages === lines.length);
      const records = await readAll(store.log, 'telemetry');
      assert.deepEqual(
        records.map(({ data }) => data.toString()),
        lines,
      );
      assert.ok(records.every(({ partitionKey }) => partitionKey === 'machine'));
    });
  }

  it('keeps the order of each key while many clients publish at once', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const devices = 8;
    const each = 250;
    await Promise.all(
      Array.from({ length: devices }, async (_, device) => {
        const client = await connect(t, port, { clientId: `device-${device}` });
        const sent = Array.from({ length: each }, (_, n) =>
          client.publishAsync(`site/${device}/n`, String(n), { qos: 1 }),
        );
        await Promise.all(sent);
      }),
    );
    const records = await readAll(store.log, 'telemetry');
    assert.equal(records.length, devices * each);
    for (let device = 0; device < devices; device++) {
      const own = records.filter(({ partitionKey }) => partitionKey === String(device));
      assert.deepEqual(
        own.map(({ data }) => Number(data.toString())),
        Array.from({ length: each }, (_, n) => n),
      );
    }
    const status = broker.status();
    assert.equal(status.connections, devices);
    assert.equal(status.routes[0]!.messages, devices * each);
    assert.notEqual(status.routes[0]!.lastMessageMs, null);
    assert.equal(status.inflightBytes, 0);
  });

  it('gives a message to every route that matches, each in its own form', async (t) => {
    const store = await startStore(t, ['telemetry', 'archive']);
    const { port } = await startBroker(t, {
      log: store.log,
      routes: [
        { ...rawRoute, decoder: 'json', partitionKey: '{topic[1]}-{payload.device.id}' },
        { ...rawRoute, topic: '#', stream: 'archive', decoder: 'json', envelope: true },
      ],
    });
    const client = await connect(t, port);
    await client.publishAsync('site/hall/t', '{"device":{"id":"d1"},"v":1.50}', { qos: 1 });
    const [telemetry] = await readAll(store.log, 'telemetry');
    assert.equal(telemetry!.partitionKey, 'hall-d1');
    assert.equal(telemetry!.data.toString(), '{"device":{"id":"d1"},"v":1.50}');
    const [archived] = await readAll(store.log, 'archive');
    const envelope = JSON.parse(archived!.data.toString()) as Record<string, unknown>;
    assert.equal(envelope['topic'], 'site/hall/t');
    assert.deepEqual(envelope['payload'], { device: { id: 'd1' }, v: 1.5 });
  });

  it('acknowledges a topic without a route, stores nothing, counts it and says so once', async (t) => {
    const store = await startStore(t);
    const { port, broker, logger } = await startBroker(t, { log: store.log });
    const client = await connect(t, port);
    for (let n = 0; n < 20; n++) await client.publishAsync('elsewhere/x', 'lost', { qos: 1 });
    assert.equal(broker.status().unrouted, 20);
    assert.deepEqual(await readAll(store.log, 'telemetry'), []);
    const said = logger.lines.filter(({ message }) => message.includes('matches no route'));
    assert.equal(said.length, 1);
  });

  it('says nothing of a topic without a route that somebody subscribes to', async (t) => {
    const store = await startStore(t);
    const { port, broker, logger } = await startBroker(t, { log: store.log });
    const device = await connect(t, port);
    await device.subscribeAsync('commands/+');
    const server = await connect(t, port);
    await server.publishAsync('commands/oven', 'on', { qos: 1 });
    assert.equal(broker.status().unrouted, 1);
    assert.deepEqual(
      logger.lines.filter(({ message }) => message.includes('matches no route')),
      [],
    );
  });

  it('takes packets pipelined behind the CONNECT, and what came before a sudden end', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const client = await RawClient.open(t, port);
    const messages = Array.from({ length: 500 }, (_, n) =>
      publishPacket({ topic: 'site/a/n', payload: String(n) }),
    );
    client.socket.end(Buffer.concat([connectPacket({ clientId: 'burst' }), ...messages]));
    await until(() => broker.status().routes[0]!.messages === 500);
    const records = await readAll(store.log, 'telemetry');
    assert.deepEqual(
      records.map(({ data }) => data.toString()),
      Array.from({ length: 500 }, (_, n) => String(n)),
    );
  });

  it('stores a QoS 2 message once, however often it is repeated before its PUBREL', async (t) => {
    const store = await startStore(t);
    const { port } = await startBroker(t, { log: store.log });
    const message = { topic: 'site/a/n', payload: 'once', qos: 2, messageId: 9 } as const;
    const client = await RawClient.login(t, port, 'twice');
    client.send(publishPacket(message), publishPacket({ ...message, duplicate: true }));
    assert.equal((await client.packet()).type, 5);
    assert.equal((await client.packet()).type, 5);
    client.send(publishPacket({ ...message, duplicate: true }));
    assert.equal((await client.packet()).type, 5);
    assert.equal((await readAll(store.log, 'telemetry')).length, 1);
    // After the handshake the same id is a new message.
    client.send(releasePacket(9));
    assert.equal((await client.packet()).type, 7);
    client.send(publishPacket({ ...message, payload: 'new' }));
    assert.equal((await client.packet()).type, 5);
    const records = await readAll(store.log, 'telemetry');
    assert.deepEqual(
      records.map(({ data }) => data.toString()),
      ['once', 'new'],
    );
  });

  it('knows a QoS 2 message again when its session comes back', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const connecting = connectPacket({ clientId: 'kept', clean: false });
    const message = { topic: 'site/a/n', payload: 'once', qos: 2, messageId: 3 } as const;
    const before = await RawClient.open(t, port);
    before.send(connecting, publishPacket(message));
    assert.equal((await before.packet()).type, 2);
    assert.equal((await before.packet()).type, 5);
    before.socket.destroy();
    await until(() => broker.status().connections === 0);
    const after = await RawClient.open(t, port);
    after.send(connecting, publishPacket({ ...message, duplicate: true }));
    assert.equal((await after.packet()).type, 2);
    assert.equal((await after.packet()).type, 5);
    assert.equal((await readAll(store.log, 'telemetry')).length, 1);
  });

  it('stores the will of a device that goes away without a word', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const will = { topic: 'site/a/state', payload: 'gone' };
    const client = await RawClient.open(t, port);
    client.send(connectPacket({ clientId: 'dying', will }));
    await client.packet();
    client.socket.resetAndDestroy();
    await until(() => broker.status().routes[0]!.messages === 1);
    const [record] = await readAll(store.log, 'telemetry');
    assert.equal(record!.data.toString(), 'gone');
  });
});

describe('devices among themselves', { timeout: 600_000 }, () => {
  it('get what is published, retained messages and what was queued while they were away', async (t) => {
    const store = await startStore(t);
    const { port } = await startBroker(t, { log: store.log });
    const publisher = await connect(t, port);
    await publisher.publishAsync('site/a/config', 'kept', { qos: 1, retain: true });

    const reader = await connect(t, port, { clientId: 'reader', clean: false });
    const received: string[] = [];
    const listen = (client: mqtt.MqttClient): void => {
      client.on('message', (topic, payload) => received.push(`${topic}=${payload.toString()}`));
    };
    listen(reader);
    await reader.subscribeAsync('site/+/config', { qos: 1 });
    await until(() => received.includes('site/a/config=kept'));
    await publisher.publishAsync('site/b/config', 'live', { qos: 1 });
    await until(() => received.includes('site/b/config=live'));
    await reader.endAsync();

    await publisher.publishAsync('site/c/config', 'queued', { qos: 1 });
    const again = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      ...user,
      clientId: 'reader',
      clean: false,
      reconnectPeriod: 0,
    });
    t.after(() => again.endAsync(true));
    listen(again);
    await until(() => received.includes('site/c/config=queued'));
    assert.equal(received.length, 3);
  });

  it('get no more subscriptions than allowed', async (t) => {
    const store = await startStore(t);
    const { port } = await startBroker(t, {
      log: store.log,
      limits: { subscriptionsPerClient: 2 },
    });
    const client = await connect(t, port);
    const ask = async (topic: string): Promise<number> => {
      const [grant] = await client.subscribeAsync(topic).catch(() => []);
      return grant?.qos ?? 128;
    };
    assert.equal(await ask('a'), 0);
    assert.equal(await ask('b'), 0);
    assert.equal(await ask('c'), 128);
    assert.equal(await ask('a'), 0, 'one that is there may be asked for again');
    await client.unsubscribeAsync('b');
    assert.equal(await ask('c'), 0);
  });
});

describe('the broker as a part of the gateway', { timeout: 600_000 }, () => {
  const parts = {
    host: '127.0.0.1',
    port: 0,
    users: [user],
    allowAnonymous: false,
    routes: [rawRoute],
    log: { append: () => Promise.resolve([]) },
    clock: systemClock,
    logger: new MemoryLogger(),
    metrics: new MemoryMetrics(),
  };

  it('refuses options that leave it open, shut, or can never work', () => {
    const wrong = [
      { allowAnonymous: true, host: '0.0.0.0' },
      { users: [] },
      { users: [user, user] },
      { users: [{ username: 'a', password: '' }] },
      { routes: [{ ...rawRoute, topic: 'a/#/b' }] },
      { routes: [{ ...rawRoute, partitionKey: '{nothing}' }] },
    ];
    for (const options of wrong) {
      assert.throws(
        () => new MqttBroker({ ...parts, ...options }),
        (error) => error instanceof MqttError && error.code === 'invalid-options',
        JSON.stringify(options),
      );
    }
    assert.doesNotThrow(() => new MqttBroker({ ...parts, users: [], allowAnonymous: true }));
  });

  it('runs as a source until it is told to stop, and can run again', async () => {
    const source = mqttSource(parts);
    for (let round = 0; round < 2; round++) {
      const stop = new AbortController();
      await new Promise<void>((resolve, reject) => {
        const ready = (): void => {
          assert.ok(source.address()!.port > 0);
          stop.abort();
        };
        source.run({ signal: stop.signal, ready }).then(resolve, reject);
      });
      assert.equal(source.address(), null);
    }
  });

  it('says so when its port is taken, in a way that is worth another try', async (t) => {
    const { port } = await startBroker(t, { log: parts.log });
    const source = mqttSource({ ...parts, port });
    const ready = (): void => assert.fail('it is not listening');
    await assert.rejects(
      source.run({ signal: new AbortController().signal, ready }),
      (error) =>
        error instanceof SourceError && error.retryable && /EADDRINUSE/.test(error.message),
    );
  });

  it('closes once, however often it is asked, and leaves no will and no connection', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log });
    const client = await RawClient.open(t, port);
    client.send(connectPacket({ clientId: 'a', will: { topic: 'site/a', payload: 'gone' } }));
    await client.packet();
    const idle = await RawClient.open(t, port);
    await Promise.all([broker.close(), broker.close()]);
    await Promise.all([client.close(), idle.close()]);
    assert.deepEqual(await readAll(store.log, 'telemetry'), []);
  });
});
