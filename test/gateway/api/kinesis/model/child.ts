/** The API over a store, as a process that a test kills: `child.ts <folder>`. */
import { Hono } from 'hono';
import { KinesisService } from '../../../../../gateway/api/kinesis/kinesis.ts';
import { Metering } from '../../../../../gateway/api/kinesis/metering.ts';
import type { AppEnv } from '../../../../../gateway/http/authentication.ts';
import { createHttpServer } from '../../../../../gateway/http/server.ts';
import { systemClock as clock } from '../../../../../storage/clock.ts';
import { openStore } from '../../../../../storage/store.ts';
import { MemoryLogger } from '../../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../../support/memory-metrics.ts';
import { accountId, byKeyAlone } from '../callers.ts';

const [folder = ''] = process.argv.slice(2);
const ports = { clock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
const metering = new Metering(ports);
const { took: onAppended } = metering;
const store = await openStore({ folder, reserveBytes: 0, onAppended, ...ports });
metering.start(store.log);
const service = new KinesisService({
  ...{ log: store.log, authenticator: byKeyAlone, stateMs: 1, metering, ...ports },
  authorizer: { authorize: () => undefined },
  audit: { record: () => undefined, countStranger: () => undefined },
  account: { region: 'us-east-1', accountId },
  secret: Buffer.alloc(32, 7),
  enforceLimits: false,
  newStreams: { maxBytes: null, whenFull: 'refuse' },
});
const app = new Hono<AppEnv>().route('/', service.routes);
const server = await createHttpServer({ host: '127.0.0.1', port: 0, fetch: app.fetch, ...ports });
console.log(`serving ${server.url}`);

async function compact(): Promise<never> {
  for (;;) {
    await store.compaction.run();
    await new Promise((wake) => setTimeout(wake, 10));
  }
}
void compact();
