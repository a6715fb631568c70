import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { z } from 'zod';
import { ConsumedShardsSchema } from '../../../gateway/api/rest/application-schemas.ts';
import { ConsumerRig } from '../consumer/rig.ts';
import { startChild, type Child } from '../../support/child.ts';
import { GatewayProcess, headgateCommand } from '../../support/gateway.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { headgate } from './command.ts';

const LineSchema = z.strictObject({
  shard: z.int(),
  sequence: z.int(),
  arrivalTime: z.iso.datetime(),
  partitionKey: z.string(),
  encoding: z.enum(['utf8', 'base64']),
  data: z.string(),
});

function consume(
  context: TestContext,
  rig: ConsumerRig,
  folder: string,
  ...more: readonly string[]
): Child {
  const [program, args] = headgateCommand('consume', 'readings', '-a', 'billing');
  return startChild(context, program, [...args, '--url', rig.url, '--token', 'any', ...more], {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

function leases(rig: ConsumerRig): unknown {
  const [billing] = rig.log.applications.list();
  return billing?.leases.map(({ owner, checkpoint }) => [owner, checkpoint]);
}

test('"headgate consume" prints records from the checkpoint on, and leaves in order', async (t) => {
  const [rig, folder] = [await ConsumerRig.start(t, 1), await temporaryFolder(t)];
  await rig.append(3);
  await rig.log.append('readings', [{ partitionKey: 'raw', data: Buffer.from([0xff, 0]) }]);
  const first = consume(t, rig, folder);
  await first.line(/"raw"/);
  await first.stop('SIGTERM');
  assert.equal((await first.exited).code, 0);
  const lines = first.lines.map((line) => LineSchema.parse(JSON.parse(line)));
  assert.deepEqual(
    lines.map(({ sequence, encoding, data }) => [sequence, encoding, data]),
    [
      [0, 'utf8', '0'],
      [1, 'utf8', '0'],
      [2, 'utf8', '0'],
      [3, 'base64', '/wA='],
    ],
  );
  assert.deepEqual(leases(rig), [['', 4]]);

  await rig.append(1);
  const second = consume(t, rig, folder);
  await second.line(/"sequence":4/);
  await second.stop('SIGINT');
  assert.equal(second.lines.length, 1, 'nothing again');
});

test('"headgate consume --exec" gives batches to a command until it is done with them', async (t) => {
  const [rig, folder] = [await ConsumerRig.start(t, 1), await temporaryFolder(t)];
  await rig.append(4);
  // Fails the first time, after it has read everything.
  const command =
    'cat > batch; test -e tried || { touch tried; exit 3; }; cat batch >> taken; echo $HEADGATE_STREAM $HEADGATE_SHARD $HEADGATE_FENCE';
  const child = consume(t, rig, folder, '--exec', command, '--batch', '2');
  await child.line(/^readings 0 1$/);
  while (child.lines.filter((line) => line === 'readings 0 1').length < 2) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  await child.stop('SIGTERM');
  assert.equal((await child.exited).code, 0);
  const taken = (await readFile(join(folder, 'taken'), 'utf8')).trimEnd().split('\n');
  assert.deepEqual(
    taken.map((line) => LineSchema.parse(JSON.parse(line)).sequence),
    [0, 1, 2, 3],
  );
  assert.ok(child.lines.some((line) => line.includes('the command ended with 3')));
  assert.deepEqual(leases(rig), [['', 4]]);
});

test('a command that is under way when its worker leaves is told to end, and gets its batch again', async (t) => {
  const [rig, folder] = [await ConsumerRig.start(t, 1), await temporaryFolder(t)];
  await rig.append(4);
  const child = consume(t, rig, folder, '--exec', 'echo $$; exec sleep 1000');
  const [, pid] = await child.line(/^(\d+)$/);
  child.process.kill('SIGTERM');
  child.process.kill('SIGINT');
  assert.equal((await child.exited).code, 1, 'the second signal does not wait');
  assert.deepEqual(
    rig.log.applications.list()[0]?.leases.map(({ checkpoint }) => checkpoint),
    [0],
  );
  // It ends, or this does not.
  while (isRunning(Number(pid))) await new Promise((resolve) => setImmediate(resolve));
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('beside its gateway "headgate consume" needs no token, and keeps its shards over a restart', async (t) => {
  const folder = await temporaryFolder(t);
  const gateway = await GatewayProcess.start(t, folder, 'streams: { readings: { shards: 2 } }');
  const [program, args] = headgateCommand('consume', 'readings', '-a', 'billing');
  const child = startChild(t, program, args, {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const path = '/applications/billing/streams/readings/shards';
  const held = (answer: unknown): boolean =>
    ConsumedShardsSchema.parse(answer).shards.every(({ state }) => state === 'held');
  await gateway.until('/applications', (answer) => JSON.stringify(answer).includes('billing'));
  await gateway.until(path, held);
  assert.equal(await gateway.stop(), 0);
  await gateway.restart();
  assert.ok(held(await gateway.get(path)), 'nobody else may take them');
  await child.stop('SIGTERM');
  assert.equal((await child.exited).code, 0);
});

test('"headgate consume" says what is wrong', async (t) => {
  const [rig, folder] = [await ConsumerRig.start(t, 1), await temporaryFolder(t)];
  const at = ['--url', rig.url, '--token', 'any'];
  const cases: readonly [number, RegExp, readonly string[]][] = [
    [2, /--application/, ['readings']],
    [2, /missing required argument/, ['-a', 'billing']],
    [2, /earliest, latest, or a time/, ['readings', '-a', 'billing', '--from', 'yesterday']],
    [2, /whole number from 1 to 1000/, ['readings', '-a', 'billing', '--batch', '0']],
    [1, /There is no stream named nowhere/, ['nowhere', '-a', 'billing']],
    [1, /application/, ['readings', '-a', 'delivery:archive']],
  ];
  for (const [code, said, args] of cases) {
    const ended = await headgate(folder, ['consume', ...args, ...at]);
    assert.equal(ended.code, code, args.join(' '));
    assert.match(ended.stderr, said);
  }
});
