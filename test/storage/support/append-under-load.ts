/**
 * A process that a test kills: appends, checkpoints, trims and compacts as fast as it can, and prints
 * a line for each thing that was acknowledged, after it was.
 *
 * node --import tsx append-under-load.ts <folder> <first number>
 */
import { systemClock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { hourMs, streamOptions } from './open.ts';

const [folder = '', first = '0'] = process.argv.slice(2);
const store = await openStore({
  folder,
  clock: systemClock,
  logger: new MemoryLogger(),
  metrics: new MemoryMetrics(),
  reserveBytes: 0,
});
const { log } = store;
await log.ensureStream(streamOptions({ name: 'kept', shardCount: 3 }));
await log.ensureStream(streamOptions({ name: 'ring', maxBytes: 100_000, whenFull: 'drop-oldest' }));
await log.applications.ensure({ name: 'uplink', required: true });
const shard = log.stream('kept').shards[0]!;
const source = { kind: 'shard', id: shard.id } as const;
let lease = await log.applications.acquire('uplink', source, 'me', hourMs, 0);

let next = Number(first);
async function appendFor(stream: string): Promise<never> {
  for (;;) {
    const numbers = Array.from({ length: 1 + (next % 5) }, () => next++);
    const records = numbers.map((number) => ({
      partitionKey: `key-${number % 40}`,
      data: Buffer.from(`${number} ${'x'.repeat(number % 300)}`),
    }));
    const places = await log.append(stream, records);
    const lines = numbers.map((number, index) => {
      const { shardIndex, sequence } = places[index]!;
      return `ACK ${stream} ${shardIndex} ${sequence} ${number}\n`;
    });
    process.stdout.write(lines.join(''));
  }
}

async function checkpoints(): Promise<never> {
  for (;;) {
    const { nextSequence } = log.shard(shard.id);
    lease = await log.applications.checkpoint(lease, nextSequence);
    process.stdout.write(`CHECKPOINT ${nextSequence}\n`);
  }
}

async function compact(): Promise<never> {
  for (;;) {
    await store.compaction.run();
    await new Promise(setImmediate);
  }
}

await Promise.all([
  compact(),
  ...Array.from({ length: 8 }, () => appendFor('kept')),
  ...Array.from({ length: 4 }, () => appendFor('ring')),
  checkpoints(),
]);
