import assert from 'node:assert/strict';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { StoreLock } from '../../../storage/lock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { headgate } from './command.ts';

test('a running gateway tells of its clock, is backed up, and comes back from the backup', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, 'streams: { readings: {} }');

  const clock = await headgate(folder, ['clock']);
  assert.match(clock.stdout, /^The gateway's clock says 20.*\nAge is believed/);
  assert.equal((await headgate(folder, ['clock', 'confirm'])).code, 0);
  assert.equal((await headgate(folder, ['clock', 'confirmm'])).code, 2);

  const second = await headgate(folder, ['run']);
  assert.equal(second.code, 1);
  const said = `${second.stdout}${second.stderr}`;
  assert.match(said, /in use by headgate, process \d+/);
  assert.doesNotMatch(said, /\n\s+at /, 'a stack trace tells an operator nothing');

  const made = await headgate(folder, ['backup', 'copy']);
  assert.equal(made.code, 0, made.stderr);
  const names = await readdir(join(folder, 'copy'));
  assert.ok(names.includes('backup.json') && names.includes('identity.json'), names.join());
  const again = await headgate(folder, ['backup', 'copy']);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /not empty/);

  await gateway.stop();
  const stopped = await headgate(folder, ['backup', 'second', '--log-only']);
  assert.equal(stopped.code, 0, stopped.stderr);
  for (const source of ['copy', 'second']) {
    const dataDir = join(folder, `data-from-${source}`);
    const back = await headgate(folder, ['restore', source], { HEADGATE_DATA_DIR: dataDir });
    assert.equal(back.code, 0, `${back.stdout}${back.stderr}`);
    assert.match(back.stdout, /restored/);
    assert.equal(
      await readFile(join(dataDir, 'identity.json'), 'utf8'),
      await readFile(join(folder, 'data/identity.json'), 'utf8'),
      'it is the same gateway',
    );
    const checked = await headgate(folder, ['check'], { HEADGATE_DATA_DIR: dataDir });
    assert.match(checked.stdout, /is sound/);
  }
  const refused = await headgate(folder, ['restore', 'copy']);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /is not empty/);
});

test('a damaged database is named with what to do, also while the gateway has it', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, 'streams: { readings: {} }');
  await gateway.stop();
  const file = await open(join(folder, 'data', 'headgate.db'), 'r+');
  t.after(() => file.close());
  const { size } = await file.stat();
  // All pages but the first, which has the schema.
  await file.write(Buffer.alloc(size - 4096, 0x5a), 0, size - 4096, 4096);
  const ended = await headgate(folder, ['run']);
  assert.equal(ended.code, 1);
  const said = `${ended.stdout}${ended.stderr}`;
  assert.match(said, /the database \S+headgate\.db is damaged: \\?"headgate check --repair/);
  assert.doesNotMatch(said, /SQLITE_|SELECT|\n\s+at /);

  const lock = await StoreLock.take(join(folder, 'data'), 'headgate, process 4711', Date.now());
  const busy = await headgate(folder, ['check', '--repair']);
  await lock.release();
  assert.equal(busy.code, 1);
  assert.match(busy.stderr, /in use by headgate, process 4711 .*: stop it first, then repair/);
  assert.match(busy.stdout, /: \d+ errors?, 0 warnings\.$/m);
  const repaired = await headgate(folder, ['check', '--repair']);
  assert.equal(repaired.code, 0, `${repaired.stdout}${repaired.stderr}`);
});
