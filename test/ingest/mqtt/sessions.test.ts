import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Audience } from '../../../ingest/mqtt/audience.ts';
import { defaultLimits, type MqttLimits } from '../../../ingest/mqtt/limits.ts';
import { SessionStore, type StoredPacket } from '../../../ingest/mqtt/sessions.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

interface FakeClient {
  id: string;
  clean: boolean;
  closed: boolean;
}

const client = (id: string, clean = false): FakeClient => ({ id, clean, closed: false });

let counter = 0;

const message = (topic: string, payload: string): StoredPacket => ({
  cmd: 'publish',
  topic,
  payload: Buffer.from(payload),
  qos: 1,
  retain: true,
  dup: false,
  brokerId: 'broker',
  brokerCounter: ++counter,
  messageId: undefined,
});

function newStore(limits: Partial<MqttLimits> = {}): {
  store: SessionStore<FakeClient>;
  dropped: (reason: string) => number;
  connected: Set<string>;
  stored: StoredPacket[];
  refuse: { next: boolean };
} {
  const metrics = new MemoryMetrics();
  const connected = new Set<string>();
  const stored: StoredPacket[] = [];
  const refuse = { next: false };
  const store = new SessionStore<FakeClient>({
    limits: { ...defaultLimits, ...limits },
    metrics,
    store: async (_client, packet) => {
      await Promise.resolve();
      if (refuse.next) throw new Error('refused');
      stored.push(packet);
    },
    received: null,
    disconnect: () => undefined,
    isConnected: (id) => connected.has(id),
    audience: new Audience(),
  });
  const dropped = (reason: string): number =>
    metrics.values.get(`headgate_mqtt_undelivered_total{reason="${reason}"}`) ?? 0;
  return { store, dropped, connected, stored, refuse };
}

const retained = async (
  store: SessionStore<FakeClient>,
  ...filters: readonly string[]
): Promise<string[]> => {
  const found: string[] = [];
  for await (const packet of store.createRetainedStreamCombi(filters)) {
    found.push((packet as StoredPacket).topic);
  }
  return found;
};

const queued = async (store: SessionStore<FakeClient>, id: string): Promise<string[]> => {
  const found: string[] = [];
  for await (const packet of store.outgoingStream(client(id))) {
    found.push((packet as StoredPacket).payload.toString());
  }
  return found;
};

describe('retained messages', () => {
  it('are found by filter, replaced, and taken away by an empty one', async () => {
    const { store } = newStore();
    await store.storeRetained(message('a/b', 'one'));
    await store.storeRetained(message('a/b', 'two'));
    await store.storeRetained(message('c', 'three'));
    assert.deepEqual(await retained(store, 'a/#', 'c'), ['a/b', 'c']);
    await store.storeRetained(message('a/b', ''));
    assert.deepEqual(await retained(store, '#'), ['c']);
  });

  it('are not kept past their limits, and room made is room again', async () => {
    const { store, dropped } = newStore({ retainedMessages: 2, retainedBytes: 2000 });
    await store.storeRetained(message('a', 'x'));
    await store.storeRetained(message('b', 'x'));
    await store.storeRetained(message('c', 'x'));
    assert.deepEqual(await retained(store, '#'), ['a', 'b']);
    await store.storeRetained(message('b', ''));
    await store.storeRetained(message('c', 'x'.repeat(3000)));
    assert.deepEqual(await retained(store, '#'), ['a']);
    await store.storeRetained(message('c', 'x'.repeat(1000)));
    assert.deepEqual(await retained(store, '#'), ['a', 'c']);
    assert.equal(dropped('retained-full'), 2);
  });

  it('do not keep the buffer alive that they came in', async () => {
    const { store } = newStore();
    const chunk = Buffer.from('payload and what else was read');
    await store.storeRetained({ ...message('a', ''), payload: chunk.subarray(0, 7) });
    chunk.fill(0);
    for await (const packet of store.createRetainedStreamCombi(['a'])) {
      assert.equal((packet as StoredPacket).payload.toString(), 'payload');
    }
  });
});

describe('kept sessions', () => {
  it('queue a message once per client, at the highest QoS of its filters', async () => {
    const { store } = newStore();
    await store.addSubscriptions(client('a'), [
      { topic: 'x/#', qos: 1 },
      { topic: 'x/+', qos: 2 },
      { topic: 'x/y', qos: 0 },
    ]);
    const found = await store.subscriptionsByTopic('x/y');
    assert.deepEqual(
      found.map(({ clientId, qos }) => [clientId, qos]),
      [['a', 2]],
    );
    await store.removeSubscriptions(client('a'), ['x/+']);
    assert.equal((await store.subscriptionsByTopic('x/y'))[0]!.qos, 1);
    await store.cleanSubscriptions(client('a'));
    assert.deepEqual(await store.subscriptionsByTopic('x/y'), []);
  });

  it('hold only so many messages each and bytes together; the newest go without', async () => {
    const { store, dropped } = newStore({ queuedMessagesPerSession: 3, queuedBytes: 1500 });
    const ids = [{ clientId: 'a' }];
    for (const payload of ['1', '2', '3', '4']) {
      await store.outgoingEnqueueCombi(ids, message('t', payload));
    }
    assert.deepEqual(await queued(store, 'a'), ['1', '2', '3']);
    await store.outgoingEnqueueCombi([{ clientId: 'b' }], message('t', 'x'.repeat(1000)));
    assert.deepEqual(await queued(store, 'b'), []);
    assert.equal(dropped('queue-full'), 2);
    // Acknowledged ones make room.
    for (let n = 1; n <= 3; n++) {
      const first = [...(await queuedPackets(store, 'a'))][0]!;
      await store.outgoingUpdate(client('a'), { ...first, messageId: n });
      await store.outgoingClearMessageId(client('a'), { ...first, messageId: n });
    }
    await store.outgoingEnqueueCombi([{ clientId: 'b' }], message('t', 'x'.repeat(1000)));
    assert.equal((await queued(store, 'b')).length, 1);
  });

  it('are forgotten past their limit, the longest away first, never one that is connected', async () => {
    const { store, connected } = newStore({ sessions: 2 });
    connected.add('a');
    for (const id of ['a', 'b', 'c', 'd']) {
      await store.addSubscriptions(client(id), [{ topic: 't', qos: 1 }]);
    }
    const found = await store.subscriptionsByTopic('t');
    assert.deepEqual(found.map(({ clientId }) => clientId).sort(), ['a', 'd']);
  });
});

describe('QoS 2 handshakes', () => {
  const publish = (id: number, payload = String(id)) => ({
    ...message('t', payload),
    cmd: 'publish' as const,
    messageId: id,
  });
  const release = (id: number) => ({ cmd: 'pubrel' as const, messageId: id });

  it('wait for the log, and are not known when it refused', async () => {
    const { store, stored, refuse } = newStore();
    const device = client('a');
    const storing = store.incomingStorePacket(device, publish(1));
    await store.incomingGetPacket(device, publish(1));
    assert.equal(stored.length, 1, 'a repetition is answered only once the first is stored');
    await storing;
    refuse.next = true;
    await assert.rejects(store.incomingStorePacket(device, publish(2)));
    await assert.rejects(store.incomingGetPacket(device, publish(2)));
  });

  it('know another message under the same number, of a device that has lost count', async () => {
    const { store, stored } = newStore();
    const device = client('a');
    await store.incomingStorePacket(device, publish(1, 'before'));
    await store.incomingGetPacket(device, publish(1, 'before'));
    await assert.rejects(store.incomingGetPacket(device, publish(1, 'after')));
    await store.incomingStorePacket(device, publish(1, 'after'));
    assert.deepEqual(
      stored.map(({ payload }) => payload.toString()),
      ['before', 'after'],
    );
  });

  it('break the connection off when their end can not be stored', async () => {
    const gone: string[] = [];
    const store = new SessionStore<FakeClient>({
      limits: defaultLimits,
      metrics: new MemoryMetrics(),
      store: () => Promise.resolve(),
      received: {
        remembers: () => true,
        appendOnce: () => Promise.resolve(),
        forget: () => Promise.reject(new Error('the disk is full')),
        forgetSource: () => Promise.resolve(),
      },
      disconnect: ({ id }) => gone.push(id),
      isConnected: () => true,
      audience: new Audience(),
    });
    await assert.rejects(store.incomingDelPacket(client('a'), release(1)), /disk is full/);
    assert.deepEqual(gone, ['a']);
  });

  it('are gone with a clean session, and not those of who took its place', async () => {
    const { store, connected } = newStore();
    const device = client('a', true);
    await store.incomingStorePacket(device, publish(1));
    device.closed = true;
    connected.add('a');
    await store.cleanIncoming(device);
    await store.incomingGetPacket(client('a'), release(1));
    connected.delete('a');
    await store.cleanIncoming(device);
    await assert.rejects(store.incomingGetPacket(client('a'), release(1)));
  });
});

async function queuedPackets(
  store: SessionStore<FakeClient>,
  id: string,
): Promise<readonly StoredPacket[]> {
  const found: StoredPacket[] = [];
  for await (const packet of store.outgoingStream(client(id))) found.push(packet as StoredPacket);
  return found;
}
