import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startChild } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { assertAllOnce, LogWriter, randomOf } from './log-writer.ts';
import { keepAlive, openLineStore, startSource, untilRecords } from './support.ts';

const kills = 4;
const seeds = (process.env['SEEDS'] ?? '1').split(' ').map(Number);

for (const seed of seeds) {
  for (const pattern of ['app.log', 'app.log*']) {
    it(`neither loses nor repeats a line, killed in the midst: ${pattern}, seed ${seed}`, (t) =>
      run(t, seed, pattern));
  }
}

async function run(t: TestContext, seed: number, pattern: string): Promise<void> {
  keepAlive(t);
  const random = randomOf(seed);
  const [logs, data] = [await temporaryFolder(t), await temporaryFolder(t)];
  const writer = new LogWriter(logs, random, pattern !== 'app.log');
  const path = join(logs, pattern);
  const script = fileURLToPath(new URL('crash-child.ts', import.meta.url));
  for (let round = 0; round < kills; round += 1) {
    const child = startChild(t, process.execPath, [compiled(script), data, path]);
    const steps = Math.floor(random() * 20);
    if (round > 0) writer.step();
    await child.line(/ready/);
    for (let step = 0; step < steps; step += 1) {
      writer.step();
      writer.stored = Math.max(writer.stored, ...numbersOf(child.lines));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await child.stop('SIGKILL');
  }
  const store = await openLineStore(data);
  t.after(() => store.close());
  const running = startSource({ path, places: store.places });
  writer.step();
  const records = await untilRecords(store, writer.written, t.signal);
  await running.stop();
  assertAllOnce(
    writer,
    records.map(({ data: line }) => line),
  );
}

function numbersOf(lines: readonly string[]): readonly number[] {
  return lines.flatMap((line) => {
    const number = /^stored (\d+)$/.exec(line)?.[1];
    return number === undefined ? [] : [Number(number)];
  });
}
