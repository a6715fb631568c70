/**
 * An event source that is killed at random moments while its function fails at random. What the
 * function did is kept here, outside of what is killed, and held against the log in the end.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { KinesisEventRecord } from '../../../../gateway/event-sources/event.ts';
import { EventSource } from '../../../../gateway/event-sources/event-source.ts';
import { Supervisor } from '../../../../gateway/supervisor.ts';
import type { LogRecord, RecordInput } from '../../../../storage/model.ts';
import { openStore, type Store } from '../../../../storage/store.ts';
import { seededRandom } from '../../../storage/support/open.ts';
import { startChild, type Child } from '../../../support/child.ts';
import { compiled } from '../../../support/program.ts';
import type { Scope } from '../../../support/scope.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { startProxy } from '../../forward/support/proxy.ts';
import { streamOptions } from '../../forward/support/rig.ts';
import { systemPorts, type SystemPorts } from './system-ports.ts';

/** Which of the ways that batches are handled is on. */
export type KillsMode = 'windows' | 'bisecting' | 'lanes';

export interface KillsRun {
  /** The store's. */
  readonly folder: string;
  readonly mode: KillsMode;
  /** Where the function is. */
  readonly url: string;
}

export interface Kills {
  readonly seed: number;
  readonly mode: KillsMode;
  readonly kills: number;
}

export interface KillsFigures {
  readonly records: number;
  /** Records that the function did more than once. */
  readonly repeated: number;
  readonly failed: number;
  readonly windows: number;
}

const batchSize = 25;
const lanes = 4;
const keys = 12;
const windowMs = 1_000;

/** The function fails these each time. */
const isPoison = (id: number): boolean => id % 53 === 11;

export function recordsFrom(first: number, count: number): RecordInput[] {
  return Array.from({ length: count }, (_, index) => {
    const id = first + index;
    return { partitionKey: `k${id % keys}`, data: Buffer.from(JSON.stringify({ id })) };
  });
}

export async function sourceOf(
  { mode, url }: KillsRun,
  { log, video }: Store,
  ports: SystemPorts,
): Promise<EventSource> {
  await log.ensureStream(streamOptions('readings'));
  await log.ensureStream(streamOptions('letters'));
  const random = (): number => 0;
  return new EventSource(
    {
      ...{ name: 'f', from: { stream: 'readings' }, batchSize, batchWindowSeconds: 0, filter: [] },
      ...{ function: { http: { url, authorization: null } }, timeoutSeconds: 60 },
      ...{ startAt: { edge: 'earliest' }, required: true, paused: false },
      ...{ maxRecordAgeSeconds: null, deadLetter: { stream: 'letters' } },
      parallelization: mode === 'lanes' ? lanes : 1,
      bisectOnError: mode === 'bisecting',
      retries: mode === 'bisecting' ? 0 : null,
      reportBatchItemFailures: mode !== 'bisecting',
      tumblingWindowSeconds: mode === 'windows' ? windowMs / 1_000 : 0,
    },
    {
      ...{ log, video, owner: 'process-1', account: { accountId: '1', region: 'x' }, fetch },
      ...{ supervisor: new Supervisor({ ...ports, random }), random, ...ports },
    },
  );
}

interface Call {
  readonly Records: readonly KinesisEventRecord[];
  readonly window?: { readonly start: string };
  readonly state?: { readonly ids?: readonly number[] };
  readonly isFinalInvokeForWindow?: boolean;
  readonly isWindowTerminatedEarly?: boolean;
}

/** The function, and what it has done. */
class Done {
  /** In the order in which it was done, with what was done again. */
  readonly ids: number[] = [];
  /** By the beginning of a window: what its last calls got, each once. */
  readonly finals = new Map<number, Map<string, readonly number[]>>();
  /** It fails at random. */
  isTroubled = true;
  readonly #mode: KillsMode;
  readonly #random: () => number;

  constructor(mode: KillsMode, random: () => number) {
    this.#mode = mode;
    this.#random = random;
  }

  /** null: it has failed. */
  call({ Records, window, state, ...flags }: Call): object | null {
    if (this.isTroubled && this.#random() < 0.03) return null;
    if (flags.isFinalInvokeForWindow === true) {
      assert.equal(flags.isWindowTerminatedEarly, false);
      const startMs = Date.parse(window?.start ?? '');
      const ids = state?.ids ?? [];
      const finals = this.finals.get(startMs) ?? new Map<string, readonly number[]>();
      this.finals.set(startMs, finals.set(ids.join(), ids));
      return {};
    }
    const all = Records.map(({ kinesis }) => idOf(Buffer.from(kinesis.data, 'base64')));
    if (this.#mode === 'bisecting' && all.some(isPoison)) return null;
    const isPartial = this.isTroubled && this.#mode !== 'bisecting' && this.#random() < 0.1;
    const count = isPartial ? Math.floor(this.#random() * all.length) : all.length;
    const done = all.slice(0, count);
    this.ids.push(...done);
    const left = Records[count]?.kinesis.sequenceNumber;
    return {
      batchItemFailures: left === undefined ? [] : [{ itemIdentifier: left }],
      state: { ids: [...(state?.ids ?? []), ...done] },
    };
  }
}

/**
 * Kills an event source again and again, lets the last one finish, and counts.
 * @throws when a record was left out, came out of order, or is not in its window exactly once
 */
export async function killEventSource(
  context: Scope,
  { seed, mode, kills }: Kills,
): Promise<KillsFigures> {
  const random = seededRandom(seed);
  const folder = await memoryFolder(context);
  const done = new Done(mode, random);
  let child: Child | null = null;
  let killIn = Infinity;
  const { endpoint: url } = await startProxy(context, null, async (passing) => {
    const { response } = passing;
    const event = JSON.parse((await passing.body()).toString()) as Call;
    killIn -= 1;
    // Before the function has done it, or once it has, without an answer.
    const isDone = killIn !== 0 || random() < 0.5;
    const answer = isDone ? done.call(event) : null;
    if (killIn === 0) {
      child?.process.kill('SIGKILL');
      response.destroy();
      return;
    }
    response.writeHead(answer === null ? 500 : 200).end(JSON.stringify(answer));
  });
  const run: KillsRun = { folder: `${folder}/store`, mode, url };
  const program = compiled(join(import.meta.dirname, 'kills-child.ts'));
  for (let kill = 0; kill < kills; kill += 1) {
    killIn = random() < 0.6 ? 5 + Math.floor(random() * 60) : Infinity;
    child = startChild(context, process.execPath, [program, JSON.stringify(run)]);
    const running = child;
    if (killIn === Infinity) void running.killAfter(10 + Math.floor(random() * 200));
    const { signal } = await running.exited;
    assert.equal(signal, 'SIGKILL', running.lines.slice(-20).join('\n'));
  }
  child = null;
  killIn = Infinity;
  done.isTroubled = false;
  return finish(context, run, done, kills);
}

/** Has the rest done, and holds what was done and given up against what there was. */
async function finish(
  context: Scope,
  run: KillsRun,
  done: Done,
  kills: number,
): Promise<KillsFigures> {
  const ports = systemPorts();
  const store = await openStore({ folder: run.folder, ...ports });
  const source = await sourceOf(run, store, ports);
  context.after(async () => {
    await source.close();
    await store.close();
  });
  const stored = await allOf(store, 'readings');
  const newest = stored.at(-1)?.arrivalMs ?? 0;
  const isOver = async (): Promise<boolean> => {
    if ((await source.status()).backlog.records > 0) return false;
    return run.mode !== 'windows' || done.finals.has(windowOf(newest));
  };
  while (!(await isOver())) await setImmediate();
  const wanted = stored.map(({ data }) => idOf(data));
  const failed = (await allOf(store, 'letters')).flatMap(({ data }) => failedIds(data));
  assert.deepEqual(
    [...new Set([...done.ids, ...failed])].sort((a, b) => a - b),
    wanted,
    'a record was left out',
  );
  checkOrder(run.mode, done.ids);
  // What was under way at a kill goes again, and no more: with each lane what others wait for.
  const repeated = done.ids.length - new Set(done.ids).size;
  if (run.mode !== 'lanes') assert.ok(repeated <= kills * batchSize, `${repeated} again`);
  if (run.mode === 'bisecting') {
    assert.deepEqual(done.ids.filter(isPoison), []);
    assert.deepEqual(
      failed.filter(isPoison).length >= wanted.filter(isPoison).length,
      true,
      'what always fails is kept',
    );
  } else {
    assert.deepEqual(failed, []);
  }
  if (run.mode === 'windows') checkWindows(stored, done.finals);
  const windows = done.finals.size;
  return { records: wanted.length, repeated, failed: failed.length, windows };
}

/** The first time that each was done, those of a key come in order; without lanes all do. */
function checkOrder(mode: KillsMode, ids: readonly number[]): void {
  const last = new Map<number, number>();
  for (const id of new Set(ids)) {
    const key = mode === 'lanes' ? id % keys : 0;
    assert.ok(id > (last.get(key) ?? -1), `record ${id} came after ${last.get(key)}`);
    last.set(key, id);
  }
}

/** Each record is counted once, in the last state of its window, however often the calls came. */
function checkWindows(
  stored: readonly LogRecord[],
  finals: ReadonlyMap<number, ReadonlyMap<string, readonly number[]>>,
): void {
  const wanted = new Map<number, number[]>();
  for (const { arrivalMs, data } of stored) {
    const startMs = windowOf(arrivalMs);
    wanted.set(startMs, [...(wanted.get(startMs) ?? []), idOf(data)]);
  }
  // Where a commit took longer than a window waits, what came late is another state of it.
  const found = [...finals].map(([startMs, states]) => [startMs, [...states.values()].flat()]);
  assert.deepEqual(Object.fromEntries(found), Object.fromEntries(wanted));
}

const windowOf = (arrivalMs: number): number => Math.floor(arrivalMs / windowMs) * windowMs;

const idOf = (data: Buffer): number => (JSON.parse(data.toString()) as { id: number }).id;

function failedIds(letter: Buffer): readonly number[] {
  const { payload } = JSON.parse(letter.toString()) as { readonly payload: Call };
  return payload.Records.map(({ kinesis }) => idOf(Buffer.from(kinesis.data, 'base64')));
}

async function allOf({ log }: Store, stream: string): Promise<readonly LogRecord[]> {
  const [shard] = log.stream(stream).shards;
  assert.ok(shard !== undefined);
  const all: LogRecord[] = [];
  for (let fromSequence = 0; ;) {
    const limits = { maxRecords: 10_000, maxBytes: 2 ** 24 };
    const read = await log.read({ shardId: shard.id, fromSequence, ...limits });
    all.push(...read.records);
    fromSequence = read.nextSequence;
    if (read.recordsBehind === 0) return all;
  }
}
