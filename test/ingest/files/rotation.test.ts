import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertAllOnce, LogWriter, numberOf, randomOf } from './log-writer.ts';
import { keepAlive, openLineStore, startSource, untilRecords } from './support.ts';

const runs = 6;
const seeds = (process.env['SEEDS'] ?? '1 2 3 4').split(' ').map(Number);

for (const seed of seeds) {
  for (const pattern of ['app.log', 'app.log*']) {
    it(`follows files that are rotated at any moment: ${pattern}, seed ${seed}`, (t) =>
      run(t, seed, pattern));
  }
}

/** Names change faster here than anybody looks. */
async function run(t: TestContext, seed: number, pattern: string): Promise<void> {
  keepAlive(t);
  const random = randomOf(seed);
  const logs = await temporaryFolder(t);
  const store = await openLineStore(await temporaryFolder(t));
  t.after(() => store.close());
  const writer = new LogWriter(logs, random, pattern !== 'app.log');
  const start = () =>
    startSource({
      path: join(logs, pattern),
      places: {
        of: (name) => store.places.of(name),
        move: async (name, changes, placed) => {
          await store.places.move(name, changes, placed);
          const last = placed?.records.at(-1)?.data;
          if (last !== undefined) writer.stored = Math.max(writer.stored, numberOf(last));
        },
      },
    });
  for (let round = 0; round < runs; round += 1) {
    const running = start();
    if (round > 0) writer.step();
    await running.ready;
    for (let steps = Math.floor(random() * 20); steps > 0; steps -= 1) {
      writer.step();
      // Some rotations come at once, others while files are being looked at or read.
      for (let turns = Math.floor(random() ** 3 * 100); turns > 0; turns -= 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await running.stop();
  }
  const running = start();
  writer.step();
  const records = await untilRecords(store, writer.written, t.signal);
  await running.stop();
  assertAllOnce(
    writer,
    records.map(({ data }) => data),
  );
}
