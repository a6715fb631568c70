/** QoS 2 over restarts: what a device was told is taken is stored once, and no more. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { MqttBroker } from '../../../ingest/mqtt/broker.ts';
import { openTestStore, type TestStore } from '../../storage/support/open.ts';
import {
  connectPacket,
  ensureStream,
  publishPacket,
  RawClient,
  readAll,
  releasePacket,
  startBroker,
} from './support.ts';

const pubrec = 5;
const pubcomp = 7;
const message = { topic: 'site/a/n', payload: 'once', qos: 2, messageId: 9 } as const;

/** A broker over a store, both of which can be started again. */
class Restarting {
  readonly #context: TestContext;
  readonly opened: TestStore;
  #broker: MqttBroker | null = null;
  #port = 0;

  private constructor(context: TestContext, opened: TestStore) {
    this.#context = context;
    this.opened = opened;
  }

  static async start(context: TestContext): Promise<Restarting> {
    const restarting = new Restarting(context, await openTestStore(context));
    await ensureStream(restarting.opened.store.log, 'telemetry');
    await restarting.#serve();
    return restarting;
  }

  async restart(): Promise<void> {
    await this.#broker?.close();
    await this.opened.reopen();
    await this.#serve();
  }

  async login(clean = false): Promise<RawClient> {
    const client = await RawClient.open(this.#context, this.#port);
    client.send(connectPacket({ clientId: 'kept', clean }));
    assert.equal((await client.packet()).type, 2);
    return client;
  }

  async payloads(): Promise<readonly string[]> {
    const records = await readAll(this.opened.store.log, 'telemetry');
    return records.map(({ data }) => data.toString());
  }

  async #serve(): Promise<void> {
    const { log, received } = this.opened.store;
    const { broker, port } = await startBroker(this.#context, { log, received });
    this.#broker = broker;
    this.#port = port;
  }
}

async function exchange(client: RawClient, ...bytes: readonly Buffer[]): Promise<number> {
  client.send(...bytes);
  return (await client.packet()).type;
}

describe('QoS 2 over a restart', { timeout: 600_000 }, () => {
  it('stores a message that is sent again once, and a new one under its number', async (t) => {
    const gateway = await Restarting.start(t);
    assert.equal(await exchange(await gateway.login(), publishPacket(message)), pubrec);
    await gateway.restart();
    const client = await gateway.login();
    const again = publishPacket({ ...message, duplicate: true });
    assert.equal(await exchange(client, again), pubrec);
    assert.deepEqual(await gateway.payloads(), ['once']);
    assert.equal(await exchange(client, releasePacket(9)), pubcomp);
    assert.equal(await exchange(client, publishPacket(message)), pubrec);
    assert.deepEqual(await gateway.payloads(), ['once', 'once'], 'its number was let go of');
  });

  it('answers a PUBREL that comes after it, and lets go of the number', async (t) => {
    const gateway = await Restarting.start(t);
    assert.equal(await exchange(await gateway.login(), publishPacket(message)), pubrec);
    await gateway.restart();
    assert.equal(await exchange(await gateway.login(), releasePacket(9)), pubcomp);
    assert.equal(gateway.opened.store.received.remembers('kept'), false);
    await gateway.restart();
    assert.equal(await exchange(await gateway.login(), publishPacket(message)), pubrec);
    assert.deepEqual(await gateway.payloads(), ['once', 'once']);
  });

  it('takes another message under the same number for what it is', async (t) => {
    const gateway = await Restarting.start(t);
    assert.equal(await exchange(await gateway.login(), publishPacket(message)), pubrec);
    await gateway.restart();
    const other = publishPacket({ ...message, payload: 'another' });
    assert.equal(await exchange(await gateway.login(), other), pubrec);
    assert.deepEqual(await gateway.payloads(), ['once', 'another']);
  });

  it('remembers nothing of a client that begins anew', async (t) => {
    const gateway = await Restarting.start(t);
    assert.equal(await exchange(await gateway.login(), publishPacket(message)), pubrec);
    assert.equal(gateway.opened.store.received.remembers('kept'), true);
    await gateway.restart();
    const client = await gateway.login(true);
    assert.equal(gateway.opened.store.received.remembers('kept'), false);
    assert.equal(await exchange(client, publishPacket(message)), pubrec);
    assert.deepEqual(await gateway.payloads(), ['once', 'once']);
    assert.equal(gateway.opened.store.received.remembers('kept'), false, 'nor later');
  });
});
