/** The messages that go to the log without passing through the broker behind: see `connection.ts`. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemClock } from '../../../storage/clock.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  connectPacket,
  HeldLog,
  packet,
  publishPacket,
  RawClient,
  readAll,
  startBroker,
  startStore,
  subscribePacket,
  until,
} from './support.ts';

const ping = packet(0xc0, Buffer.alloc(0));
const PUBLISH = 3;
const PUBACK = 4;
const PINGRESP = 13;

/** One key, so that the log has one order. */
const route = {
  topic: 'site/#',
  stream: 'telemetry',
  partitionKey: 'one',
  decoder: 'binary',
  envelope: false,
} as const;

function retained(n: number): Buffer {
  const bytes = publishPacket({ topic: 'site/r', payload: String(n), qos: 1, messageId: n });
  bytes[0] = bytes[0]! | 1;
  return bytes;
}

describe('the short way', { timeout: 600_000 }, () => {
  it('and the long one keep one order, of messages and of acknowledgements', async (t) => {
    const store = await startStore(t);
    const { port } = await startBroker(t, { log: store.log, routes: [route] });
    const listener = await RawClient.login(t, port, 'listener');
    listener.send(subscribePacket(['site/heard'], 1));
    await listener.packet();
    const client = await RawClient.login(t, port, 'device');
    const count = 600;
    const kinds = [
      (n: number) => publishPacket({ topic: 'site/a', payload: `${n}`, qos: 1, messageId: n }),
      (n: number) => publishPacket({ topic: 'site/heard', payload: `${n}`, qos: 1, messageId: n }),
      retained,
    ];
    for (let n = 1; n <= count; n++) client.send(kinds[((n * n) % 7) % 3]!(n));
    const numbers = Array.from({ length: count }, (_, index) => index + 1);
    for (const n of numbers) {
      const { type, body } = await client.packet();
      assert.equal(type, PUBACK);
      assert.equal(body.readUInt16BE(0), n);
    }
    const stored = (await readAll(store.log, 'telemetry')).map(({ data }) => Number(data));
    assert.deepEqual(stored, numbers);
  });

  it('is left as soon as somebody listens, and taken again when nobody does', async (t) => {
    const store = await startStore(t);
    const { port } = await startBroker(t, { log: store.log, routes: [route] });
    const device = await RawClient.login(t, port, 'device');
    const listener = await RawClient.login(t, port, 'listener');
    const say = async (n: number): Promise<void> => {
      device.send(publishPacket({ topic: 'site/a', payload: `${n}`, qos: 1, messageId: n }));
      assert.equal((await device.packet()).type, PUBACK);
    };
    await say(1);
    listener.send(subscribePacket(['+/a'], 1));
    await listener.packet();
    await say(2);
    const heard = await listener.packet();
    assert.equal(heard.type, PUBLISH);
    assert.equal(heard.body.subarray(-1).toString(), '2');
    listener.send(packet(0xa2, Buffer.from([0, 9, 0, 3, ...Buffer.from('+/a')])));
    assert.equal((await listener.packet()).type, 11, 'UNSUBACK');
    await say(3);
    listener.send(ping);
    assert.equal((await listener.packet()).type, PINGRESP);
    assert.equal((await readAll(store.log, 'telemetry')).length, 3);
  });

  it('is not taken for what a session queues while its client is away', async (t) => {
    const store = await startStore(t);
    const { port, broker } = await startBroker(t, { log: store.log, routes: [route] });
    const listener = await RawClient.open(t, port);
    listener.send(connectPacket({ clientId: 'listener', clean: false }));
    await listener.packet();
    listener.send(subscribePacket(['site/a'], 1));
    await listener.packet();
    listener.socket.destroy();
    await until(() => broker.status().connections === 0);
    const device = await RawClient.login(t, port, 'device');
    device.send(publishPacket({ topic: 'site/a', payload: 'late', qos: 1, messageId: 1 }));
    assert.equal((await device.packet()).type, PUBACK);
    const back = await RawClient.open(t, port);
    back.send(connectPacket({ clientId: 'listener', clean: false }));
    await back.packet();
    const queued = await back.packet();
    assert.equal(queued.type, PUBLISH);
    assert.match(queued.body.toString(), /late$/);
  });

  it('answers a PINGREQ while messages before it wait for the log', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const { port } = await startBroker(t, { log, routes: [route] });
    const listener = await RawClient.login(t, port, 'listener');
    listener.send(subscribePacket(['site/heard']));
    await listener.packet();
    const client = await RawClient.login(t, port, 'device');
    client.send(
      publishPacket({ topic: 'site/a', payload: '1', qos: 1, messageId: 1 }),
      publishPacket({ topic: 'site/heard', payload: '2', qos: 1, messageId: 2 }),
      publishPacket({ topic: 'site/a', payload: '3', qos: 2, messageId: 3 }),
    );
    await until(() => log.waiting.length > 0);
    client.send(ping);
    assert.equal((await client.packet()).type, PINGRESP);
    log.release();
    assert.equal((await client.packet()).type, PUBACK);
  });
});

describe('the keep-alive', { timeout: 600_000 }, () => {
  it('does not end a device that is not read, and counts again once it is', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const clock = new ManualClock(systemClock.nowMs());
    const limits = { inflightBytesPerConnection: 1000 };
    const { port, broker } = await startBroker(t, { log, clock, limits, routes: [route] });
    const client = await RawClient.open(t, port);
    client.send(connectPacket({ clientId: 'device', keepaliveSeconds: 10 }));
    await client.packet();
    const payload = 'x'.repeat(1000);
    client.send(publishPacket({ topic: 'site/a', payload, qos: 1, messageId: 1 }));
    await until(() => log.waiting.length === 1);
    clock.advance(60_000);
    assert.equal(broker.status().connections, 1);
    log.release();
    assert.equal((await client.packet()).type, PUBACK);
    client.send(ping);
    assert.equal((await client.packet()).type, PINGRESP);
    clock.advance(14_999);
    assert.equal(broker.status().failedConnections, 0);
    clock.advance(1);
    await client.close();
    assert.equal(broker.status().failedConnections, 1);
  });
});

describe('rates', { timeout: 600_000 }, () => {
  it('make a device wait that sends faster, and lose nothing', async (t) => {
    const store = await startStore(t);
    const clock = new ManualClock(systemClock.nowMs());
    const rates = { messagesPerSecond: 100, bytesPerSecond: null };
    const { port, broker } = await startBroker(t, {
      log: store.log,
      clock,
      rates,
      routes: [route],
    });
    const client = await RawClient.login(t, port, 'device');
    const other = await RawClient.login(t, port, 'other');
    const message = (n: number): Buffer =>
      publishPacket({ topic: 'site/a', payload: String(n), qos: 1, messageId: n });
    client.send(...Array.from({ length: 300 }, (_, n) => message(n + 1)));
    await until(() => broker.status().received === 300);
    // Two seconds in debt: what comes now stays in the socket.
    client.send(message(301));
    for (let n = 1; n <= 300; n++) assert.equal((await client.packet()).type, PUBACK);
    clock.advance(1990);
    other.send(message(1));
    assert.equal((await other.packet()).type, PUBACK);
    assert.equal(broker.status().received, 301);
    clock.advance(10);
    assert.equal((await client.packet()).body.readUInt16BE(0), 301);
    assert.equal((await readAll(store.log, 'telemetry')).length, 302);
  });

  it('count bytes too', async (t) => {
    const store = await startStore(t);
    const clock = new ManualClock(systemClock.nowMs());
    const rates = { messagesPerSecond: null, bytesPerSecond: 1000 };
    const { port, broker } = await startBroker(t, {
      log: store.log,
      clock,
      rates,
      routes: [route],
    });
    const client = await RawClient.login(t, port, 'device');
    client.send(
      publishPacket({ topic: 'site/a', payload: 'x'.repeat(3000), qos: 1, messageId: 1 }),
    );
    assert.equal((await client.packet()).type, PUBACK);
    client.send(ping);
    const other = await RawClient.login(t, port, 'other');
    other.send(ping);
    assert.equal((await other.packet()).type, PINGRESP);
    assert.equal(client.received.length, 4 + 4);
    clock.advance(10_000);
    assert.equal((await client.packet()).type, PINGRESP);
    assert.equal(broker.status().failedConnections, 0);
  });
});
