/** A whole gateway that takes its messages from a real broker, and is killed in the middle of it. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { connectAsync } from 'mqtt';
import { systemClock } from '../../storage/clock.ts';
import { openStore } from '../../storage/store.ts';
import { readAll } from '../ingest/mqtt/support.ts';
import { GatewayProcess, masterKeysIn } from '../support/gateway.ts';
import { MemoryLogger } from '../support/memory-logger.ts';
import { MemoryMetrics } from '../support/memory-metrics.ts';
import { Mosquitto } from '../support/mosquitto.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { needs } from '../support/tools.ts';

interface Status {
  readonly health: {
    readonly checks: readonly { name: string; status: string; message: string }[];
  };
  readonly mqtt: { readonly address: string; connections: number; receivedMessages: number };
}

const kills = 4;
const messagesPerRound = 150;
/** More handshakes of QoS 2 than 20 at once mosquitto does not take. */
const atOnce = 15;

it(
  'stores what an external broker has once, over kills and restarts',
  { timeout: 600_000 },
  async (t) => {
    if (!needs(t, 'mosquitto')) return;
    const mosquitto = await Mosquitto.start(t);
    const folder = await temporaryFolder(t);
    const route = "{ topic: 'site/#', stream: readings, partitionKey: one, decoder: binary }";
    const gateway = await GatewayProcess.start(
      t,
      folder,
      'streams: { readings: {} }',
      '[]',
      `[${route}], external: { url: '${mosquitto.url}', qos: 2, version: 5 }`,
    );
    const connected = ({ mqtt }: Status): boolean => mqtt.connections === 1;
    await gateway.until('/status', connected);
    const client = await connectAsync(mosquitto.url, { reconnectPeriod: 0 });
    t.after(() => void client.end(true));
    const count = kills * messagesPerRound;
    for (let round = 0; round < kills; round++) {
      const first = round * messagesPerRound;
      for (let at = first; at < first + messagesPerRound; at += atOnce) {
        const some = Array.from({ length: atOnce }, (_, index) => String(at + index));
        const publishing = some.map((text) => client.publishAsync('site/a', text, { qos: 2 }));
        if (at === first + 5 * atOnce) await gateway.kill();
        await Promise.all(publishing);
      }
      await gateway.restart();
      await gateway.until('/status', connected);
    }
    await client.publishAsync('site/a', String(count), { qos: 2 });
    const { storedRecords } = await gateway.until<{ storedRecords: number }>(
      '/streams/readings',
      (stream) => stream.storedRecords > count,
    );
    assert.equal(storedRecords, count + 1);

    // A broker that is away degrades the gateway, by name, and is connected to again when it is back.
    await mosquitto.stop();
    const { health, mqtt } = await gateway.until<Status>('/status', ({ health: { checks } }) =>
      checks.some(({ name, status }) => name === 'mqtt' && status === 'degraded'),
    );
    assert.equal(mqtt.address, mosquitto.url);
    const check = health.checks.find(({ name }) => name === 'mqtt');
    assert.match(check?.message ?? '', /the broker/);
    await mosquitto.start();
    await gateway.until('/status', connected);
    assert.equal(await gateway.stop(), 0);

    const store = await openStore({
      folder: gateway.dataFolder,
      clock: systemClock,
      logger: new MemoryLogger(),
      metrics: new MemoryMetrics(),
      masterKeys: masterKeysIn(gateway.dataFolder),
    });
    t.after(() => store.close());
    const records = await readAll(store.log, 'readings');
    assert.deepEqual(
      // mosquitto 2.0 does not restore all handshakes of QoS 2: after its restart some come again.
      [...new Set(records.map(({ data }) => Number(data)))],
      Array.from({ length: count + 1 }, (_, index) => index),
    );
  },
);
