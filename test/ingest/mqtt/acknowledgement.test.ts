import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { StorageError, type StorageErrorCode } from '../../../storage/errors.ts';
import type { Log } from '../../../storage/model.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import {
  HeldLog,
  packet,
  publishPacket,
  RawClient,
  rawRoute,
  readAll,
  startBroker,
  startStore,
  subscribePacket,
  until,
} from './support.ts';

const ping = packet(0xc0, Buffer.alloc(0));
const PUBACK = 4;
const PUBREC = 5;
const PINGRESP = 13;

/** A log that refuses, per stream, until the test changes its mind; what it takes it remembers. */
class MoodyLog implements Pick<Log, 'append'> {
  readonly refusals = new Map<string, StorageErrorCode>();
  readonly taken: string[] = [];
  attempts = 0;

  readonly append: Log['append'] = (stream, records) => {
    this.attempts += 1;
    const code = this.refusals.get(stream);
    if (code !== undefined) return Promise.reject(new StorageError(code, `${code}, says the test`));
    for (const { data } of records) this.taken.push(`${stream}:${data.toString()}`);
    return Promise.resolve([]);
  };
}

const numbered = (n: number, qos: 0 | 1 | 2, topic = 'site/a/n'): Buffer =>
  publishPacket({ topic, payload: String(n), qos, messageId: n });

const messageIds = async (client: RawClient, count: number): Promise<number[]> => {
  const ids: number[] = [];
  while (ids.length < count) {
    const { type, body } = await client.packet();
    if (type === PUBACK) ids.push(body.readUInt16BE(0));
  }
  return ids;
};

describe('acknowledgement', { timeout: 600_000 }, () => {
  for (const [qos, answer] of [
    [1, PUBACK],
    [2, PUBREC],
  ] as const) {
    it(`of QoS ${qos} does not come before the commit, and comes after it`, async (t) => {
      const store = await startStore(t);
      const log = new HeldLog(store.log);
      const { port } = await startBroker(t, { log });
      const client = await RawClient.login(t, port, 'a');
      client.send(numbered(7, qos));
      await until(() => log.waiting.length === 1);
      // The broker answers what follows at once, so an early acknowledgement would be there first.
      client.send(ping);
      assert.equal((await client.packet()).type, PINGRESP);
      assert.deepEqual(await readAll(store.log, 'telemetry'), []);
      log.release();
      const { type, body } = await client.packet();
      assert.equal(type, answer);
      assert.equal(body.readUInt16BE(0), 7);
      assert.equal((await readAll(store.log, 'telemetry')).length, 1);
    });
  }

  it('waits for all routes of a message', async (t) => {
    const store = await startStore(t, ['telemetry', 'slow']);
    const slow = new HeldLog(store.log);
    const append: Log['append'] = (stream, records) =>
      (stream === 'slow' ? slow : store.log).append(stream, records);
    const routes = [rawRoute, { ...rawRoute, stream: 'slow' }];
    const { port, broker } = await startBroker(t, { log: { append }, routes });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1));
    await until(() => slow.waiting.length === 1 && broker.status().routes[0]!.messages === 1);
    client.send(ping);
    assert.equal((await client.packet()).type, PINGRESP);
    slow.release();
    assert.equal((await client.packet()).type, PUBACK);
  });

  it('comes in the order of the messages, which share their appends', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const { port } = await startBroker(t, { log });
    const client = await RawClient.login(t, port, 'a');
    client.send(...Array.from({ length: 300 }, (_, n) => numbered(n + 1, 1)));
    await until(() => log.waiting.length > 0);
    log.release();
    const ids = await messageIds(client, 300);
    assert.deepEqual(
      ids,
      Array.from({ length: 300 }, (_, n) => n + 1),
    );
    assert.ok(log.waiting.length < 30, `${log.waiting.length} appends for 300 messages`);
  });

  it('stops reading the socket while too much waits, and loses nothing', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const limits = { inflightBytesPerConnection: 20_000 };
    const { port, broker } = await startBroker(t, { log, limits });
    const client = await RawClient.login(t, port, 'a');
    const payload = 'x'.repeat(1000);
    const count = 20_000;
    for (let n = 0; n < count; n++) {
      client.send(publishPacket({ topic: 'site/a/n', payload, qos: 1, messageId: n + 1 }));
    }
    // The rest stays in the sockets: some megabytes are never taken from this one.
    await until(() => log.waiting.length > 0);
    let before = -1;
    while (client.socket.bytesWritten !== before || broker.status().received === 0) {
      before = client.socket.bytesWritten;
      for (let turn = 0; turn < 200; turn++) await setImmediate();
    }
    assert.ok(client.socket.writableLength > 1_000_000, 'the device is made to wait');
    assert.ok(broker.status().inflightBytes < 400_000, String(broker.status().inflightBytes));
    log.release();
    await messageIds(client, count);
    assert.equal((await readAll(store.log, 'telemetry')).length, count);
  });

  it('stops reading a device too that sends its messages one by one', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const limits = { inflightBytesPerConnection: 20_000 };
    const { port, broker } = await startBroker(t, { log, limits });
    const client = await RawClient.login(t, port, 'a');
    client.socket.setNoDelay(true);
    const payload = 'x'.repeat(1000);
    const count = 100;
    for (let n = 1; n <= count; n++) {
      client.send(publishPacket({ topic: 'site/a/n', payload, qos: 1, messageId: n }));
      for (let turn = 0; turn < 100 && broker.status().received < n; turn++) await setImmediate();
    }
    assert.ok(broker.status().received < 20, `${broker.status().received} were read`);
    log.release();
    await messageIds(client, count);
  });

  it('is withheld while the log refuses, and the message is tried again', async (t) => {
    const clock = new ManualClock();
    const log = new MoodyLog();
    log.refusals.set('telemetry', 'stream-full');
    const { port, logger } = await startBroker(t, { log, clock });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1), numbered(2, 1));
    await until(() => log.attempts === 1);
    client.send(numbered(3, 1));
    clock.advance(50);
    await until(() => log.attempts === 2);
    log.refusals.clear();
    await setImmediate();
    clock.advance(100);
    assert.deepEqual(await messageIds(client, 3), [1, 2, 3]);
    assert.deepEqual(log.taken, ['telemetry:1', 'telemetry:2', 'telemetry:3']);
    const said = logger.lines.filter(({ message }) => message.includes('the log refuses'));
    assert.equal(said.length, 1, 'once, not per attempt');
  });

  it('is never given for what the log refuses for too long: the connection is dropped', async (t) => {
    const clock = new ManualClock();
    const log = new MoodyLog();
    log.refusals.set('telemetry', 'disk-full');
    const { port, broker, metrics } = await startBroker(t, { log, clock });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1));
    for (let waited = 0; !client.closed; waited += 500) {
      clock.advance(500);
      for (let turn = 0; turn < 20; turn++) await setImmediate();
      assert.ok(waited < 60_000, 'given up after twenty seconds');
    }
    assert.equal(client.received.length, 4, 'nothing but the CONNACK');
    assert.ok(log.attempts > 5);
    const name = 'headgate_mqtt_failed_connections_total{reason="refused-by-log"}';
    assert.equal(metrics.values.get(name), 1);
    assert.equal(broker.status().inflightBytes, 0);
  });

  it('is never given, and nothing tried again, once the disk has failed', async (t) => {
    const log = new MoodyLog();
    log.refusals.set('telemetry', 'write-failed');
    const { port } = await startBroker(t, { log });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1));
    await client.close();
    assert.equal(client.received.length, 4);
    assert.equal(log.attempts, 1);
  });

  it('reaches the device for what was stored beside something refused', async (t) => {
    const log = new MoodyLog();
    log.refusals.set('full', 'not-found');
    const routes = [rawRoute, { ...rawRoute, topic: 'full', stream: 'full' }];
    const { port } = await startBroker(t, { log, routes });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1), numbered(2, 1, 'full'), numbered(3, 1));
    assert.deepEqual(await messageIds(client, 2), [1, 3]);
    await client.close();
    assert.deepEqual(log.taken, ['telemetry:1', 'telemetry:3']);
  });

  it('is not kept from messages beside one whose envelope is larger than a record may be', async (t) => {
    const store = await startStore(t);
    const routes = [{ ...rawRoute, topic: 'large', envelope: true }, rawRoute];
    const limits = { payloadBytes: 9 * 1024 * 1024 };
    const { port } = await startBroker(t, { log: store.log, routes, limits });
    const client = await RawClient.login(t, port, 'a');
    const payload = Buffer.alloc(8 * 1024 * 1024);
    const large = publishPacket({ topic: 'large', payload, qos: 1, messageId: 2 });
    client.send(numbered(1, 1), large, numbered(3, 1));
    assert.deepEqual(await messageIds(client, 1), [1]);
    await client.close();
    const [record, ...rest] = await readAll(store.log, 'telemetry');
    assert.equal(record!.data.toString(), '1');
    assert.ok(rest.every(({ data }) => data.toString() === '3'));
  });

  it('does not exist for QoS 0: what the log refuses is counted as lost, and the rest goes on', async (t) => {
    const log = new MoodyLog();
    log.refusals.set('telemetry', 'stream-full');
    const lost: unknown[] = [];
    const losses = { add: (...loss: readonly unknown[]) => void lost.push(loss) };
    const { port, broker } = await startBroker(t, { log, losses });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 0), numbered(2, 0));
    await until(() => broker.status().lost === 2);
    assert.deepEqual(lost, [
      ['messages-refused', 'telemetry', { bytes: 1 }],
      ['messages-refused', 'telemetry', { bytes: 1 }],
    ]);
    log.refusals.clear();
    client.send(numbered(3, 0));
    await until(() => log.taken.length === 1);
    assert.deepEqual(log.taken, ['telemetry:3']);
    assert.equal(broker.status().connections, 1);
  });

  it('holds QoS 0 back too while the log is only busy', async (t) => {
    const clock = new ManualClock();
    const log = new MoodyLog();
    log.refusals.set('telemetry', 'overloaded');
    const { port, broker } = await startBroker(t, { log, clock });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 0));
    await until(() => log.attempts === 1);
    log.refusals.clear();
    await setImmediate();
    clock.advance(50);
    await until(() => log.taken.length === 1);
    assert.equal(broker.status().lost, 0);
  });

  it('is written before the broker closes, for what was on its way', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const { port, broker } = await startBroker(t, { log });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1));
    await until(() => log.waiting.length === 1);
    const closing = broker.close();
    log.release();
    assert.equal((await client.packet()).type, PUBACK);
    await closing;
    await client.close();
  });

  it('gives subscribers a message only once it is stored', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const { port } = await startBroker(t, { log });
    const reader = await RawClient.login(t, port, 'reader');
    reader.send(subscribePacket(['site/#']));
    assert.equal((await reader.packet()).type, 9);
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 1));
    await until(() => log.waiting.length === 1);
    reader.send(ping);
    assert.equal((await reader.packet()).type, PINGRESP);
    log.release();
    assert.equal((await reader.packet()).type, 3);
  });

  it('is not needed by a device that went away: its message is stored, and the next is served', async (t) => {
    const store = await startStore(t);
    const log = new HeldLog(store.log);
    const { port, broker } = await startBroker(t, { log });
    const client = await RawClient.login(t, port, 'a');
    client.send(numbered(1, 0), numbered(2, 1), numbered(3, 2));
    await until(() => log.waiting.length === 1);
    client.socket.resetAndDestroy();
    await until(() => broker.status().connections === 0);
    log.release();
    await until(() => broker.status().inflightBytes === 0);
    const other = await RawClient.login(t, port, 'b');
    other.send(numbered(4, 1));
    assert.deepEqual(await messageIds(other, 1), [4]);
    const data = (await readAll(store.log, 'telemetry')).map(({ data: bytes }) => bytes.toString());
    assert.deepEqual(data, ['1', '2', '3', '4']);
  });
});
