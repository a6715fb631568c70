/** Appends one record after the other until one is refused, then says how all further work fares. */
import { systemClock } from '../../../storage/clock.ts';
import { StorageError } from '../../../storage/errors.ts';
import { openStore } from '../../../storage/store.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';

const { log, writer } = await openStore({
  folder: process.argv[2] ?? '',
  clock: systemClock,
  logger: new MemoryLogger(),
  metrics: new MemoryMetrics(),
  reserveBytes: 0,
});

const append = (): Promise<unknown> =>
  log.append('readings', [{ partitionKey: 'k', data: Buffer.from('x') }]);
const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work;
    return 'done';
  } catch (error) {
    return error instanceof StorageError ? error.code : String(error);
  }
};

for (let acknowledged = 0; ; acknowledged += 1) {
  const code = await codeOf(append());
  if (code === 'done') continue;
  process.stdout.write(`FAILED after ${acknowledged}: ${code}\n`);
  break;
}
const later = await codeOf(append());
const work = await codeOf(writer.transact((transaction) => transaction.get('SELECT 1')));
process.stdout.write(`THEN append: ${later}, transact: ${work}\n`);
