import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Functions } from '../../../gateway/api/rest/function-schemas.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { headgate } from './command.ts';

const handler = `
import { appendFileSync, existsSync } from 'node:fs';
export function handler({ Records }) {
  if (!existsSync('./mended')) throw new Error('not mended');
  appendFileSync('./notes', '.'.repeat(Records.length));
}
`;

test('a function is paused over a restart, resumed, rewound and given again what failed', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'f.mjs'), handler);
  const sections = (functions: string): string => `streams: { readings: {}, letters: {} }
functions:${functions}
`;
  const one = `
  notes:
    from: { stream: readings }
    function: { module: { path: ./f.mjs } }
    retries: 0
    deadLetter: { stream: letters }`;
  const gateway = await GatewayProcess.start(t, folder, sections(one));
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await headgate(folder, ['function', ...args]);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const put = async (): Promise<void> => {
    const response = await fetch(`${gateway.url}/api/v1/streams/readings/records`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ records: [{ partitionKey: 'k', data: 'x' }] }),
    });
    assert.equal(response.status, 200);
  };
  const until = (wanted: (one: Functions['functions'][number]) => boolean): Promise<Functions> =>
    gateway.until<Functions>('/functions', ({ functions }) => functions.every(wanted));
  await put();
  await until(({ failed }) => failed?.batches === 1);
  const failing = await headgate(folder, ['status']);
  assert.match(failing.stdout, /notes: 1 batch failed \(at last: .*not mended.*"headgate function/);
  assert.equal(await run('pause', 'notes'), 'notes is paused. No record waits.\n');
  await put();
  await gateway.kill();
  await gateway.restart();
  const paused = await headgate(folder, ['status']);
  assert.match(paused.stdout, /notes +readings +waiting .*paused since 20/);
  assert.match(paused.stdout, /notes: "headgate function resume notes" lets it go on/);
  await writeFile(join(folder, 'mended'), '');
  assert.equal(
    await run('replay', 'notes'),
    'notes gets 1 failed batch again; what fails once more is kept.\n',
  );
  assert.match(
    await run('rewind', 'notes', '--to', 'earliest'),
    /^notes will begin anew, and waits: paused since .* 2 records \(.*\) wait, kept within/,
  );
  const bad = await headgate(folder, ['function', 'rewind', 'notes', '--to', 'yesterday']);
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /must be earliest, latest, or a time such as/);
  assert.match(await run('resume', 'notes'), /^notes goes on\./);
  await until(({ failed, backlog }) => failed?.batches === 0 && backlog.records === 0);
  assert.equal(await readFile(join(folder, 'notes'), 'utf8'), '...');
  assert.equal(await run('replay', 'notes'), 'notes has no failed batches.\n');
  const kept = await headgate(folder, ['function', 'forget', 'notes']);
  assert.match(kept.stderr, /notes is configured: take it out first/);
  const file = join(folder, 'headgate.yaml');
  await writeFile(file, (await readFile(file, 'utf8')).replace(one, ' {}'));
  assert.equal((await headgate(folder, ['reload'])).code, 0);
  await put();
  const removed = await headgate(folder, ['status']);
  assert.match(
    removed.stdout,
    /Removed: the function notes is .* not had 1 record\. .*"headgate function forget notes"/,
  );
  assert.match(await run('forget', 'notes'), /^notes is forgotten/);
  const forgotten = await headgate(folder, ['status']);
  assert.doesNotMatch(forgotten.stdout, /Removed/);
  const nobody = await headgate(folder, ['function', 'pause', 'notes']);
  assert.match(nobody.stderr, /There is no function named notes/);
  assert.equal(await gateway.stop(), 0);
});
