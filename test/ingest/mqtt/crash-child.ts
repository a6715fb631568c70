/** A broker over a real store in a folder of the test's, to be killed. Prints its process id and port. */
import { MqttBroker } from '../../../ingest/mqtt/broker.ts';
import { systemClock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { ensureStream, rawRoute, user } from './support.ts';

const folder = process.argv[2]!;
const parts = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
const store = await openStore({ ...parts, folder });
await ensureStream(store.log, 'telemetry');
const broker = new MqttBroker({
  ...parts,
  host: '127.0.0.1',
  port: 0,
  users: [user],
  allowAnonymous: false,
  routes: [rawRoute],
  log: store.log,
});
await broker.listen();
console.log(`process ${process.pid} port ${broker.address!.port}`);
