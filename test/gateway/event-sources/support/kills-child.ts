/**
 * A process that appends, and hands what it appended to a function, until it is killed by a test.
 * Argument: `KillsRun` as JSON. It prints a line for every append.
 */
import { setImmediate } from 'node:timers/promises';
import { openStore } from '../../../../storage/store.ts';
import { recordsFrom, sourceOf, type KillsRun } from './kills-run.ts';
import { systemPorts } from './system-ports.ts';

const appendedAtOnce = 20;
const aheadMax = 600;

const run = JSON.parse(process.argv[2] ?? '') as KillsRun;
const ports = systemPorts();
const store = await openStore({ folder: run.folder, ...ports });
const source = await sourceOf(run, store, ports);
for (;;) {
  const next = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  const { backlog } = await source.status();
  if (backlog.records < aheadMax) {
    await store.log.append('readings', recordsFrom(next, appendedAtOnce));
    process.stdout.write('appended\n');
  }
  // Counting alone lets nothing else come to its turn.
  await setImmediate();
}
