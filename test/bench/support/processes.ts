/** What processes take, read from /proc: Linux only. */
import { readFile } from 'node:fs/promises';
import type { GatewayProcess } from '../../support/gateway.ts';

/** Of the times in /proc/<pid>/stat; the same on every Linux that runs Node. */
const ticksPerSecond = 100;

export function pidOf({ child }: GatewayProcess): number {
  const { pid } = child.process;
  if (pid === undefined) throw new Error('the gateway does not run');
  return pid;
}

/** The ffmpegs among the children of a process. */
export async function ffmpegsOf(pid: number): Promise<readonly number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const found: number[] = [];
  for (const child of text.trim().split(/\s+/).filter(Boolean).map(Number)) {
    if ((await readFile(`/proc/${child}/comm`, 'utf8')).startsWith('ffmpeg')) found.push(child);
  }
  return found;
}

/** User and system time of a process, all its threads together (proc(5), stat). */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Seconds of processor time that each process takes in a minute, measured for so many seconds. */
export async function secondsPerMinute(
  pids: readonly number[],
  measuredSeconds: number,
): Promise<readonly number[]> {
  const before = await Promise.all(pids.map(processorSeconds));
  await seconds(measuredSeconds);
  const after = await Promise.all(pids.map(processorSeconds));
  return after.map((value, index) => ((value - (before[index] ?? 0)) * 60) / measuredSeconds);
}

/** The memory of a process, with its share of what it shares with others, in bytes. */
export async function memoryOf(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? Number.NaN) * 1024;
}

export function seconds(count: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, count * 1000));
}
