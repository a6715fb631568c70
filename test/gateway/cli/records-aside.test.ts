/** Records that did not go on, as status, the doctor and the API tell of them, until they are sent. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Deliveries } from '../../../gateway/api/rest/delivery-schemas.ts';
import type { Functions } from '../../../gateway/api/rest/function-schemas.ts';
import type { Status } from '../../../gateway/api/rest/status-schemas.ts';
import type { Diagnosis } from '../../../gateway/doctor/diagnosis.ts';
import { GatewayProcess } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { headgate } from './command.ts';

const configured = `streams: { readings: {} }
deliveries:
  blocked:
    from: { stream: readings }
    to: { folder: { path: out } }
    buffer: { maxSeconds: 0 }
    retrySeconds: 0
  sorted:
    from: { stream: readings }
    to: { folder: { path: sorted, prefix: '!{partitionKeyFromQuery:device}/' } }
    layout: { partitionBy: { device: device }, errorPrefix: 'err/' }
    buffer: { maxSeconds: 0 }
functions:
  notes:
    from: { stream: readings }
    function: { module: { path: notes.mjs } }
    retries: 0
`;

test('what did not go on is told everywhere, and states are right before and after it is sent', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(
    join(folder, 'notes.mjs'),
    "export const handler = () => { throw new Error('x'); };",
  );
  // In the way of the folder.
  await writeFile(join(folder, 'out'), '');
  const gateway = await GatewayProcess.start(t, folder, configured);
  const put = await headgate(folder, ['put', 'readings', '{"device":null}', '--key', 'k']);
  assert.equal(put.code, 0, put.stderr);
  const of = async (name: string, isWanted: (one: Deliveries['deliveries'][number]) => boolean) => {
    const { deliveries } = await gateway.until<Deliveries>('/deliveries', (answer) =>
      answer.deliveries.some((one) => one.name === name && isWanted(one)),
    );
    const found = deliveries.find((one) => one.name === name);
    assert.ok(found !== undefined);
    return found;
  };
  const isWell = async (): Promise<void> => {
    const { health } = await gateway.get<Status>('/status');
    const checks = health.checks.filter(
      ({ name }) => name === 'deliveries' || name === 'functions',
    );
    assert.deepEqual(
      checks.map(({ name, status }) => [name, status]),
      [
        ['functions', 'ok'],
        ['deliveries', 'ok'],
      ],
    );
  };
  const given = await of('blocked', ({ failed, backlog }) => failed === 1 && backlog.records === 0);
  assert.deepEqual([given.state, given.nextAttemptTime], ['idle', null]);
  const { underErrorPrefix, failed } = await of(
    'sorted',
    ({ underErrorPrefix }) => underErrorPrefix?.records === 1,
  );
  assert.deepEqual([failed, underErrorPrefix?.prefix], [0, 'err/']);
  await gateway.until<Functions>(
    '/functions',
    ({ functions }) => functions[0]?.givenUp.gone.records === 1,
  );
  await isWell();

  const { stdout } = await headgate(folder, ['status']);
  const lines = [
    ['blocked', /^1 record failed \(at last: .+\)$/, /^"headgate delivery replay blocked"/],
    ['sorted', /^1 record went under err\/ since \S+Z \(at last: .+\)$/, /^no replay sends/],
    [
      'notes',
      /^1 record \(1 batch\) given up .+ kept nowhere .+$/,
      /^functions\.notes\.deadLetter/,
    ],
  ] as const;
  const found = JSON.parse((await headgate(folder, ['doctor', '--json'])).stdout) as Diagnosis[];
  for (const [name, what, advice] of lines) {
    const told = found.find((one) => one.name.endsWith(` ${name}`) && what.test(one.message));
    assert.equal(told?.status, 'warn', JSON.stringify(found));
    assert.match(told.advice ?? '', advice);
    assert.ok(stdout.includes(`\n${name}: ${told.message}; ${told.advice}.\n`), stdout);
  }

  const run = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await headgate(folder, ['delivery', ...args]);
    assert.equal(code, 0, stderr);
  };
  // Paused and resumed with nothing to send; then sent again in vain, and for good.
  await run('pause', 'blocked');
  await of(
    'blocked',
    ({ state, nextAttemptTime }) => state === 'waiting' && nextAttemptTime === null,
  );
  await isWell();
  await run('resume', 'blocked');
  await of('blocked', ({ state }) => state === 'idle');
  await run('replay', 'blocked');
  const again = await of('blocked', ({ errors, isReplaying }) => errors > 1 && !isReplaying);
  assert.deepEqual([again.state, again.failed, again.nextAttemptTime], ['idle', 1, null]);
  await isWell();
  await rm(join(folder, 'out'));
  await run('replay', 'blocked');
  const well = await of('blocked', (one) => one.failed === 0 && !one.isReplaying);
  assert.deepEqual([well.state, well.sentRecords, well.nextAttemptTime], ['idle', 1, null]);
  await isWell();
  assert.doesNotMatch((await headgate(folder, ['status'])).stdout, /^blocked: /m);
  assert.equal(await gateway.stop(), 0);
});
