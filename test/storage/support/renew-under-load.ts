/**
 * Renews leases on conditions until it is killed, and prints what was acknowledged: "ACK key count".
 * Argument: the folder of the store.
 */
import { systemClock } from '../../../storage/clock.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

const [folder = ''] = process.argv.slice(2);
const parts = { clock: systemClock, logger: new MemoryLogger(), metrics: new MemoryMetrics() };
const { items } = await openStore({ folder, reserveBytes: 0, ...parts });
if (items.table('leases') === null) await items.createTable('leases', {});

async function renew(name: string): Promise<never> {
  const key = { hash: Buffer.from(name), range: Buffer.alloc(0) };
  for (;;) {
    const count = await items.change(
      ...(['leases', key] as const),
      (current) => {
        const next = Number(current ?? '0') + 1;
        const entries = [{ index: 'by-parity', hash: Buffer.from([next % 2]), range: key.hash }];
        return { body: String(next), bytes: 8, entries, result: next };
      },
      8,
    );
    console.log(`ACK ${name} ${count}`);
  }
}

await Promise.all(['one', 'two', 'three', 'four'].map(renew));
