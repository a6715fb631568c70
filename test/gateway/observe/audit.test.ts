import assert from 'node:assert/strict';
import { appendFile, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { AuditLog, type AuditEntry, type AuditLogOptions } from '../../../gateway/observe/audit.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { ForeignFile, onSmallDisk } from '../../support/small-disk.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const entry: AuditEntry = {
  action: 'kinesis:CreateStream',
  resource: 'arn:aws:kinesis:us-east-1:000000000000:stream/readings',
  caller: 'arn:aws:iam::000000000000:user/plant',
  accessKeyId: 'AKIAEXAMPLE',
  sourceAddress: '192.0.2.7',
  requestId: 'b1946ac9-2492-4a3c-8c38-9d3d1a1a2f5e',
  outcome: 'ok',
};

interface Opened {
  readonly folder: string;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  readonly open: (options?: Partial<AuditLogOptions>) => Promise<AuditLog>;
}

async function prepare(t: TestContext, parent?: string): Promise<Opened> {
  const folder = parent ?? (await temporaryFolder(t));
  const [logger, metrics] = [new MemoryLogger(), new MemoryMetrics()];
  const open = async (options: Partial<AuditLogOptions> = {}): Promise<AuditLog> => {
    const log = await AuditLog.open({
      ...{ folder, clock: new ManualClock(), logger, metrics },
      ...options,
    });
    t.after(() => log.close());
    return log;
  };
  return { folder, logger, metrics, open };
}

async function linesOf(path: string): Promise<readonly Record<string, unknown>[]> {
  const text = await readFile(path, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'));
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('an operation is a line that says who, what, where from and what came of it', async (t) => {
  const { folder, open } = await prepare(t);
  const log = await open();
  log.record(entry);
  log.record({ ...entry, outcome: 'AccessDeniedException' });
  await log.close();
  const path = join(folder, 'audit.log');
  assert.deepEqual(await linesOf(path), [
    { time: '2026-01-01T00:00:00.000Z', ...entry },
    { time: '2026-01-01T00:00:00.000Z', ...entry, outcome: 'AccessDeniedException' },
  ]);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  await log.close();
});

test('a flood of strangers is counted, and pushes nothing out', async (t) => {
  const { folder, metrics, open } = await prepare(t);
  const log = await open({ maxFileBytes: 2000, files: 2 });
  log.record(entry);
  await log.flush();
  for (let count = 0; count < 10_000; count += 1) log.countStranger();
  await log.flush();
  log.record({ ...entry, outcome: 'later' });
  await log.flush();
  log.countStranger();
  await log.close();
  const lines = await linesOf(join(folder, 'audit.log'));
  assert.deepEqual(
    lines.map(({ strangers, outcome }) => strangers ?? outcome),
    ['ok', 10_000, 'later', 1],
  );
  assert.deepEqual(await readdir(folder), ['audit.log']);
  assert.equal(metrics.values.get('headgate_audit_strangers_total'), 10_001);
});

test('the next start goes on with the file, behind what a killed one left of a line', async (t) => {
  const { folder, open } = await prepare(t);
  const first = await open();
  first.record(entry);
  await first.close();
  const path = join(folder, 'audit.log');
  await appendFile(path, '{"time":"2026');
  const second = await open();
  second.record({ ...entry, outcome: 'later' });
  await second.close();
  const lines = (await readFile(path, 'utf8')).split('\n');
  assert.equal(lines.length, 4);
  assert.equal((JSON.parse(lines[2]!) as AuditEntry).outcome, 'later');
});

test('what callers write stays in its line, and is cut', async (t) => {
  const { folder, open } = await prepare(t);
  const log = await open();
  log.record({ ...entry, resource: 'x\n{"forged":true}\u2028', requestId: 'y'.repeat(100_000) });
  log.record({ ...entry, resource: 'rtsp://viewer:hunter2@192.0.2.1/' });
  await log.close();
  const path = join(folder, 'audit.log');
  const [first, second] = await linesOf(path);
  assert.equal(first!['resource'], 'x\n{"forged":true}\u2028');
  assert.equal(String(first!['requestId']).length, 2048);
  assert.equal(second!['resource'], 'rtsp://viewer:***@192.0.2.1/');
});

test('files are turned over at their size, and the oldest goes; nothing newer is lost', async (t) => {
  const { folder, open } = await prepare(t);
  const log = await open({ maxFileBytes: 1000, files: 3 });
  for (let count = 0; count < 40; count += 1) {
    log.record({ ...entry, outcome: String(count) });
    if (count % 7 === 0) await log.flush();
  }
  await log.close();
  const names = (await readdir(folder)).sort();
  assert.deepEqual(names, ['audit.log', 'audit.log.1', 'audit.log.2']);
  const kept: number[] = [];
  for (const name of names.reverse()) {
    assert.ok((await stat(join(folder, name))).size <= 1000);
    kept.push(...(await linesOf(join(folder, name))).map(({ outcome }) => Number(outcome)));
  }
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, index) => 40 - kept.length + index),
  );
});

test('a flood is cut at what may wait, and is counted', async (t) => {
  const { folder, open, metrics } = await prepare(t);
  const log = await open();
  for (let count = 0; count < 10_000; count += 1) log.record(entry);
  await log.flush();
  log.record({ ...entry, outcome: 'after' });
  await log.close();
  const lines = await linesOf(join(folder, 'audit.log'));
  const told = lines.filter((line) => 'dropped' in line);
  assert.equal(told.length, 1);
  assert.equal(lines.length - 1 + Number(told[0]!['dropped']), 10_001);
  assert.equal(lines.at(-1)!['outcome'], 'after');
  assert.equal(metrics.values.get('headgate_audit_dropped_total'), Number(told[0]!['dropped']));
  log.record(entry);
});

test('a full disk costs whole lines, says so once, and goes on when there is room', async (t) => {
  await onSmallDisk(t, 1, async ({ mount }, scope) => {
    const { open, logger } = await prepare(t, mount);
    const log = await open();
    const foreign = new ForeignFile(scope, mount);
    log.record(entry);
    await log.flush();
    await foreign.grow();
    const long = { ...entry, requestId: 'z'.repeat(2000) };
    for (let count = 0; count < 10; count += 1) {
      log.record(long);
      await log.flush();
    }
    assert.equal(logger.lines.filter(({ level }) => level === 'error').length, 1);
    await foreign.remove();
    log.record({ ...entry, outcome: 'after' });
    await log.close();
    const lines = await linesOf(join(mount, 'audit.log'));
    const told = lines.reduce((sum, { dropped = 0 }) => sum + Number(dropped), 0);
    assert.ok(told > 0);
    assert.equal(lines.filter((line) => !('dropped' in line)).length + told, 12);
    assert.equal(lines.at(-1)!['outcome'], 'after');
  });
});

test('a folder that is gone costs lines, and they come again with it', async (t) => {
  const { folder, open, logger } = await prepare(t);
  const log = await open({ maxFileBytes: 500 });
  log.record(entry);
  await log.flush();
  await rm(folder, { recursive: true });
  for (let count = 0; count < 3; count += 1) {
    log.record(entry);
    await log.flush();
  }
  assert.equal(logger.lines.filter(({ level }) => level === 'error').length, 1);
  await mkdir(folder);
  log.record({ ...entry, outcome: 'back' });
  await log.close();
  const lines = await linesOf(join(folder, 'audit.log'));
  assert.deepEqual(
    lines.map(({ dropped, outcome }) => dropped ?? outcome),
    [3, 'back'],
  );
});
