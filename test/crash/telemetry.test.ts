/**
 * Promise 1 for telemetry, with the whole gateway: whatever PUBACK was sent for is in the log, in
 * order, after kill -9 at any moment under load; and the store is sound each time.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { connect, type MqttClient } from 'mqtt';
import { checkStore } from '../../storage/check.ts';
import { systemClock } from '../../storage/clock.ts';
import type { Finding } from '../../storage/finding.ts';
import { openStore } from '../../storage/store.ts';
import { readAll } from '../ingest/mqtt/support.ts';
import { seededRandom } from '../storage/support/open.ts';
import { GatewayProcess, headgateCommand, masterKeysIn } from '../support/gateway.ts';
import { startChild } from '../support/child.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const kills = 30;
const devices = 4;
/** Publishes of one device that wait for their PUBACK. */
const windowSize = 25;
const acknowledgedPerKillMax = 2000;

it(`loses nothing acknowledged when killed at ${kills} moments under load`, async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(
    t,
    folder,
    'streams: { readings: { shards: 4 } }',
    undefined,
    "[{ topic: 'site/#', stream: readings, partitionKey: '{topic[1]}', decoder: text }]",
  );
  const random = seededRandom(20261120);
  const fleet = Array.from({ length: devices }, (_, id) => new Device(t, gateway.mqttPort, id));

  for (let kill = 1; kill <= kills; kill++) {
    const target = total(fleet) + Math.ceil(random() * acknowledgedPerKillMax);
    await new Promise<void>((resolve) => {
      for (const device of fleet) device.onAcknowledged = () => total(fleet) >= target && resolve();
    });
    await gateway.kill();
    const findings: Finding[] = [];
    for await (const finding of checkStore({ folder: gateway.dataFolder })) findings.push(finding);
    assert.deepEqual(findings, [], `after kill ${kill}`);
    await gateway.restart();
  }
  await Promise.all(fleet.map((device) => device.finish()));
  assert.equal(await gateway.stop(), 0);
  await checkByCommand(t, folder);

  const stored = await storedPayloads(t, gateway.dataFolder);
  for (const device of fleet) device.verify(stored);
  t.diagnostic(`${total(fleet)} acknowledged readings over ${kills} kills, none lost`);
});

/** Publishes 0, 1, 2 … with QoS 1, again and again where the connection breaks. */
class Device {
  readonly #client: MqttClient;
  readonly #name: string;
  readonly acknowledged = new Set<number>();
  onAcknowledged: () => void = () => undefined;
  #next = 0;
  #waiting = 0;
  #finishing: (() => void) | null = null;

  constructor(context: TestContext, port: number, id: number) {
    this.#name = `device-${id}`;
    this.#client = connect(`mqtt://127.0.0.1:${port}`, {
      clientId: this.#name,
      username: 'device',
      password: 'device-password',
      reconnectPeriod: 50,
      connectTimeout: 5000,
    });
    // While the gateway is down every attempt fails: that is what this test is about.
    this.#client.on('error', () => undefined);
    this.#client.on('connect', () => this.#fill());
    context.after(() => this.#client.end(true));
  }

  /** Stops publishing; resolves when all that was published is acknowledged. */
  async finish(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#finishing = resolve;
      if (this.#waiting === 0) resolve();
    });
    await this.#client.endAsync();
  }

  /** All acknowledged are there, and the first arrivals are in the order of publishing. */
  verify(stored: ReadonlyMap<string, readonly number[]>): void {
    const numbers = stored.get(this.#name) ?? [];
    const there = new Set(numbers);
    assert.ok(this.acknowledged.size > kills, `${this.#name} got something acknowledged`);
    assert.deepEqual(
      [...this.acknowledged].filter((number) => !there.has(number)),
      [],
    );
    assert.deepEqual(
      [...there],
      [...there].sort((a, b) => a - b),
    );
  }

  #fill(): void {
    while (this.#waiting < windowSize && this.#finishing === null) {
      const number = this.#next++;
      this.#waiting += 1;
      this.#client.publish(`site/${this.#name}`, `${this.#name} ${number}`, { qos: 1 }, (error) => {
        this.#waiting -= 1;
        if (error == null) this.acknowledged.add(number);
        this.onAcknowledged();
        if (this.#waiting === 0) this.#finishing?.();
        setImmediate(() => this.#fill());
      });
    }
  }
}

const total = (fleet: readonly Device[]): number =>
  fleet.reduce((sum, device) => sum + device.acknowledged.size, 0);

async function checkByCommand(t: TestContext, folder: string): Promise<void> {
  const [command, args] = headgateCommand('check', '--config', join(folder, 'headgate.yaml'));
  const child = startChild(t, command, args);
  assert.equal((await child.exited).code, 0, child.lines.join('\n'));
}

/** The numbers of each device, in the order of the log. */
async function storedPayloads(
  t: TestContext,
  folder: string,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const ports = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
  const store = await openStore({ folder, ...ports, masterKeys: masterKeysIn(folder) });
  t.after(() => store.close());
  const found = new Map<string, number[]>();
  for (const { data } of await readAll(store.log, 'readings')) {
    const [device = '', number = ''] = data.toString().split(' ');
    const numbers = found.get(device) ?? [];
    found.set(device, numbers);
    numbers.push(Number(number));
  }
  return found;
}
