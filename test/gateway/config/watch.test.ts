import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { FileWatch, quietMs } from '../../../gateway/config/watch.ts';
import type { CancelTimer } from '../../../storage/ports.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

/** Tells when somebody begins to wait. */
class TellingClock extends ManualClock {
  #tell: () => void = () => undefined;

  /** Resolves with the next timer that is set. */
  async armed(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#tell = resolve;
    });
  }

  override setTimer(delayMs: number, callback: () => void): CancelTimer {
    const cancel = super.setTimer(delayMs, callback);
    this.#tell();
    return cancel;
  }
}

function watching(t: TestContext, ...paths: string[]) {
  const clock = new TellingClock();
  const logger = new MemoryLogger();
  let count = 0;
  const watch = new FileWatch({ clock, logger, changed: () => (count += 1) });
  t.after(() => watch.close());
  watch.follow(paths);
  return { clock, logger, watch, count: () => count };
}

test('a file that is written, and one that is replaced by renaming, are noticed again and again', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'headgate.yaml');
  await writeFile(path, 'one');
  const { clock, count } = watching(t, path);
  for (const round of [1, 2]) {
    let armed = clock.armed();
    await writeFile(path, `in place ${round}`);
    await armed;
    assert.equal(count(), 2 * round - 2, 'not while it may be half written');
    clock.advance(quietMs);
    assert.equal(count(), 2 * round - 1);

    await writeFile(join(folder, '.swap'), `replaced ${round}`);
    armed = clock.armed();
    await rename(join(folder, '.swap'), path);
    await armed;
    clock.advance(quietMs);
    assert.equal(count(), 2 * round);
  }
});

test('a link that is led elsewhere, as in a mounted ConfigMap, is noticed', async (t) => {
  const folder = await temporaryFolder(t);
  for (const version of ['one', 'two']) {
    await mkdir(join(folder, version));
    await writeFile(join(folder, version, 'headgate.yaml'), version);
  }
  await symlink('one', join(folder, '..data'));
  await symlink('..data/headgate.yaml', join(folder, 'headgate.yaml'));
  const { clock, count } = watching(t, join(folder, 'headgate.yaml'));
  const armed = clock.armed();
  await symlink('two', join(folder, '..new'));
  await rename(join(folder, '..new'), join(folder, '..data'));
  await armed;
  clock.advance(quietMs);
  assert.equal(count(), 1);
  // The file behind the link, from now on the second one.
  const again = clock.armed();
  await writeFile(join(folder, 'two', 'headgate.yaml'), 'three');
  await again;
  clock.advance(quietMs);
  assert.equal(count(), 2);
});

test('other files of the folder count for nothing, and a folder that is not there is told of', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'headgate.yaml');
  const { clock, logger, watch, count } = watching(t, path, join(folder, 'none', 'secret'));
  assert.equal(logger.lines.length, 1, 'once');
  await writeFile(join(folder, 'other'), 'x');
  const armed = clock.armed();
  await writeFile(path, 'the file itself, which was not there before');
  await armed;
  clock.advance(quietMs);
  assert.equal(count(), 1);
  assert.equal(logger.lines.length, 1, 'still once');
  watch.close();
  watch.close();
});
