/**
 * A process that a test kills: appends to streams whose encryption begins, ends and changes its keys
 * all the time, and prints a line for each record that was acknowledged, after it was.
 *
 * node --import tsx reseal-under-load.ts <folder> <first number>
 */
import { systemClock } from '../../../storage/clock.ts';
import { localMasterKey } from '../../../storage/keys.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { streamOptions } from './open.ts';

const [folder = '', first = '0'] = process.argv.slice(2);
const current = localMasterKey(Buffer.alloc(32, 1));
const store = await openStore({
  folder,
  clock: systemClock,
  logger: new MemoryLogger(),
  metrics: new MemoryMetrics(),
  reserveBytes: 0,
  masterKeys: () => Promise.resolve({ current, previous: [] }),
  // Every look at the keys finds them too old.
  dataKeyAgeMaxMs: 0,
});
const { log } = store;
await log.ensureStream(streamOptions({ name: 'changing', shardCount: 2 }));
await log.ensureStream(streamOptions({ name: 'sealed', encryption: 'aes-256-gcm' }));

let next = Number(first);
async function appendFor(stream: string): Promise<never> {
  for (;;) {
    const number = next++;
    const data = Buffer.from(`${number} is what only we may read ${'x'.repeat(number % 2000)}`);
    const [place] = await log.append(stream, [{ partitionKey: `key-${number % 40}`, data }]);
    process.stdout.write(`ACK ${stream} ${place!.shardIndex} ${place!.sequence} ${number}\n`);
  }
}

async function change(): Promise<never> {
  for (let count = 0; ; count += 1) {
    const encryption = count % 3 === 0 ? 'none' : 'aes-256-gcm';
    await log.updateStream('changing', { encryption });
    await store.compaction.run();
    process.stdout.write(`CHANGED ${encryption}\n`);
  }
}

await Promise.all([
  change(),
  ...Array.from({ length: 3 }, () => appendFor('changing')),
  appendFor('sealed'),
]);
