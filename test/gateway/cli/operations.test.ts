import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
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
