/** QoS 2 with the whole gateway: each message is in the log once, whenever the gateway is killed. */
import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { connect, type MqttClient } from 'mqtt';
import { systemClock } from '../../storage/clock.ts';
import { openStore } from '../../storage/store.ts';
import { readAll } from '../ingest/mqtt/support.ts';
import { seededRandom } from '../storage/support/open.ts';
import { GatewayProcess, masterKeysIn } from '../support/gateway.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const kills = 8;
const devices = 3;
const windowSize = 20;

it(`stores every message of QoS 2 exactly once, over ${kills} kills`, async (t) => {
  const gateway = await GatewayProcess.start(
    t,
    await temporaryFolder(t),
    'streams: { readings: { shards: 4 } }',
    undefined,
    "[{ topic: 'site/#', stream: readings, partitionKey: '{topic[1]}', decoder: text }]",
  );
  const random = seededRandom(20261121);
  const fleet = Array.from({ length: devices }, (_, id) => new Device(t, gateway.mqttPort, id));
  for (let kill = 0; kill < kills; kill += 1) {
    const target = total(fleet) + Math.ceil(random() * 300);
    await new Promise<void>((resolve) => {
      for (const device of fleet) device.onSettled = () => total(fleet) >= target && resolve();
    });
    await gateway.kill();
    await gateway.restart();
  }
  await Promise.all(fleet.map((device) => device.finish()));
  assert.equal(await gateway.stop(), 0);
  const stored = await storedPayloads(t, gateway.dataFolder);
  assert.equal(new Set(stored).size, stored.length, 'a message is stored twice');
  const there = new Set(stored);
  for (const device of fleet) {
    const names = Array.from({ length: device.published }, (_, n) => `${device.name} ${n}`);
    const missing = names.filter((name) => !there.has(name) && !device.givenUp.has(name));
    assert.deepEqual(missing, [], 'a message that was taken is not there');
  }
  t.diagnostic(`${stored.length} messages, each stored once`);
});

/** Publishes 0, 1, 2 … with QoS 2; its session, and its own memory, outlive the broker's death. */
class Device {
  readonly name: string;
  published = 0;
  settled = 0;
  /** What the client let go of when a connection broke off: it may be stored, or not. */
  readonly givenUp = new Set<string>();
  onSettled: () => void = () => undefined;
  readonly #client: MqttClient;
  #finishing: (() => void) | null = null;

  constructor(context: TestContext, port: number, id: number) {
    this.name = `device-${id}`;
    this.#client = connect(`mqtt://127.0.0.1:${port}`, {
      ...{ clientId: this.name, clean: false, username: 'device', password: 'device-password' },
      ...{ reconnectPeriod: 50, connectTimeout: 5000 },
    });
    this.#client.on('error', () => undefined);
    this.#client.once('connect', () => this.#fill());
    context.after(() => this.#client.end(true));
  }

  async finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finishing = resolve;
      if (this.settled === this.published) resolve();
    });
    await this.#client.endAsync();
  }

  #fill(): void {
    while (this.published - this.settled < windowSize && this.#finishing === null) {
      const payload = `${this.name} ${this.published++}`;
      this.#client.publish(`site/${this.name}`, payload, { qos: 2 }, (error) => {
        this.settled += 1;
        if (error != null) this.givenUp.add(payload);
        this.onSettled();
        if (this.settled === this.published) this.#finishing?.();
        setImmediate(() => this.#fill());
      });
    }
  }
}

const total = (fleet: readonly Device[]): number =>
  fleet.reduce((sum, { settled }) => sum + settled, 0);

async function storedPayloads(t: TestContext, folder: string): Promise<readonly string[]> {
  const ports = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
  const store = await openStore({ folder, ...ports, masterKeys: masterKeysIn(folder) });
  t.after(() => store.close());
  return (await readAll(store.log, 'readings')).map(({ data }) => data.toString());
}
