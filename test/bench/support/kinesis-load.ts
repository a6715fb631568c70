/**
 * Calls a Kinesis server as fast as it answers, and prints how many calls a second that were, how
 * long they took and how much of a core it took to make them: a client that takes all of one is
 * what was measured.
 *
 * node --import tsx kinesis-load.ts <plan as JSON>
 */
import { performance } from 'node:perf_hooks';
import {
  bareCallers,
  sdkCallers,
  type Input,
  type Operation,
  type Protocol,
} from './kinesis-callers.ts';
import { recordOf, recordsPerPut } from './kinesis-records.ts';

export interface LoadPlan {
  readonly port: number;
  readonly client: 'bare' | 'sdk';
  readonly protocol: Protocol;
  readonly operation: Operation;
  readonly callers: number;
  readonly seconds: number;
  readonly stream: string;
  /** Of each record that is put; else as in kinesis-records.ts. */
  readonly recordBytes?: number;
  /** What is asked, in turn; of puts nothing is given, they are made. */
  readonly inputs?: readonly Input[];
}

export interface LoadResult {
  readonly callsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Cores that the client took. */
  readonly clientCores: number;
}

const warmUpSeconds = 1;
/** Different requests that are sent in turn. */
const requests = 20;

const plan = JSON.parse(process.argv[2] ?? '') as LoadPlan;

function putInputs(): readonly Input[] {
  const { operation, stream: StreamName, recordBytes } = plan;
  return Array.from({ length: requests }, (_, request): Input => {
    if (operation === 'PutRecord') return { StreamName, ...recordOf(request * 37, recordBytes) };
    const from = request * recordsPerPut;
    const Records = Array.from({ length: recordsPerPut }, (__, index) =>
      recordOf(from + index, recordBytes),
    );
    return { StreamName, Records };
  });
}

const { port, protocol, operation, callers: count, seconds } = plan;
const open = plan.client === 'sdk' ? sdkCallers : bareCallers;
const called = await open(port, protocol, operation, plan.inputs ?? putInputs(), count);
const warmUntilMs = performance.now() + warmUpSeconds * 1000;
const untilMs = warmUntilMs + seconds * 1000;
const timesMs: number[] = [];
let next = 0;
const cpuBefore: NodeJS.CpuUsage[] = [];
await Promise.all(
  called.callers.map(async (caller) => {
    for (let nowMs = performance.now(); nowMs < untilMs;) {
      await caller.call(next++);
      const doneMs = performance.now();
      if (doneMs >= warmUntilMs && doneMs < untilMs) {
        if (timesMs.length === 0) cpuBefore.push(process.cpuUsage());
        timesMs.push(doneMs - nowMs);
      }
      nowMs = doneMs;
    }
  }),
);
const { user, system } = process.cpuUsage(cpuBefore[0]);
called.close();
timesMs.sort((a, b) => a - b);
const at = (share: number): number => timesMs[Math.floor(timesMs.length * share)] ?? NaN;
const result: LoadResult = {
  callsPerSecond: timesMs.length / seconds,
  p50Ms: at(0.5),
  p99Ms: at(0.99),
  clientCores: (user + system) / 1e6 / seconds,
};
process.stdout.write(`RESULT ${JSON.stringify(result)}\n`);
process.exit(0);
