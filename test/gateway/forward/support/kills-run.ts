/** A delivery that is killed at random moments while its destination fails at random. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { Bandwidth } from '../../../../gateway/forward/bandwidth.ts';
import { Delivery } from '../../../../gateway/forward/delivery.ts';
import { sharedLimits } from '../../../../gateway/forward/limits.ts';
import type { DeliveryOptions } from '../../../../gateway/forward/options.ts';
import {
  SinkError,
  type Batch,
  type BatchSink,
  type Sink,
} from '../../../../gateway/forward/sink.ts';
import { kinesisSink } from '../../../../gateway/forward/sinks/kinesis/kinesis-sink.ts';
import { folderSink } from '../../../../gateway/forward/sinks/folder/folder-sink.ts';
import { s3Sink } from '../../../../gateway/forward/sinks/s3/s3-sink.ts';
import { Supervisor } from '../../../../gateway/supervisor.ts';
import { systemClock } from '../../../../storage/clock.ts';
import type { RecordInput } from '../../../../storage/model.ts';
import { openStore } from '../../../../storage/store.ts';
import { seededRandom } from '../../../storage/support/open.ts';
import { startChild, type Child } from '../../../support/child.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { compiled } from '../../../support/program.ts';
import type { Scope } from '../../../support/scope.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { failedOf } from './failed.ts';
import { startProxy, type Passing } from './proxy.ts';
import { testPrograms } from './rig.ts';
import {
  createStream,
  credentials,
  getObjects,
  listKeys,
  passWhole,
  readStream,
  s3Client,
  startKinesis,
  startS3,
} from './servers.ts';
import { passSome } from './throttle.ts';

/** Of partition keys. */
const keyCount = 50;

export type KillsTarget = 's3' | 'folder' | 'batches' | 'kinesis';

export interface KillsRun {
  /** The store's. */
  readonly folder: string;
  readonly target: KillsTarget;
  /** An address, or a folder. */
  readonly to: string;
  readonly prefix: string;
  readonly maxBytes: number;
  /** Where a function is; null: none. */
  readonly transform: string | null;
}

/** A function over HTTP: what it does with a record is chance, each time it is asked. */
async function transformOf(context: Scope, random: () => number): Promise<string> {
  const { endpoint } = await startProxy(context, null, async (passing) => {
    const { response } = passing;
    const { records } = JSON.parse((await passing.body()).toString()) as {
      readonly records: readonly { readonly recordId: string; readonly data: string }[];
    };
    if (random() < 0.05) {
      response.destroy();
      return;
    }
    const answers = records.map(({ recordId, data }) => {
      const value = JSON.parse(Buffer.from(data, 'base64').toString()) as { id: number };
      if (value.id % 40 === 11) return { recordId, result: 'ProcessingFailed', data };
      const place = value.id % 40 === 7 ? {} : { place: Math.floor(random() * 3) };
      const made = JSON.stringify({ id: value.id, ...place, made: random() });
      return { recordId, result: 'Ok', data: Buffer.from(made).toString('base64') };
    });
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ records: answers }));
  });
  return endpoint;
}

/** Every fortieth has no place among the partitions. */
export function recordsFrom(first: number, count: number): RecordInput[] {
  return Array.from({ length: count }, (_, index) => {
    const id = first + index;
    const place = id % 40 === 7 ? { places: [] } : { place: id % 3 };
    return {
      partitionKey: `k${id % keyCount}`,
      data: Buffer.from(JSON.stringify({ id, ...place })),
    };
  });
}

export function deliveryOf({ target, maxBytes, transform }: KillsRun): DeliveryOptions {
  return {
    name: 'archive',
    from: { stream: 'readings' },
    // The sink is given.
    to: { folder: { path: '' } },
    buffer: { maxBytes, maxSeconds: 0.05 },
    ...(isOfObjects(target) && { layout: { partitionBy: { place: 'place' } } }),
    ...(transform !== null && {
      transform: {
        function: { http: { url: transform, authorization: null } },
        ...{ batchBytes: 200_000, retries: 1, timeoutSeconds: 30 },
      },
    }),
  };
}

function isOfObjects(target: KillsTarget): boolean {
  return target === 's3' || target === 'folder';
}

export function sinkOf({ target, to }: KillsRun): Sink {
  if (target === 'kinesis') return kinesisSink({ stream: 'upstream', endpoint: to, credentials });
  if (target === 'folder') return folderSink({ path: to });
  if (target === 's3') return s3Sink({ bucket: 'bucket', endpoint: to, credentials });
  return new PostedBatches(to);
}

/** What the stub of a destination is told of an item, and tells. */
interface Item {
  readonly id: string;
  readonly data: string;
}

/** Posts batches to the stub. */
class PostedBatches implements BatchSink {
  readonly kind = 'http';
  readonly description: string;
  readonly limits = { records: 25, bytes: 1024 ** 2, recordBytes: 1024 ** 2 };

  constructor(url: string) {
    this.description = url;
  }

  async deliver({ items }: Batch, signal: AbortSignal): Promise<readonly (SinkError | null)[]> {
    const body = JSON.stringify(items.map(({ id, data }) => ({ id, data: data.toString() })));
    const answer = await post(this.description, body, signal);
    return (JSON.parse(answer) as (SinkError['code'] | null)[]).map(
      (code) => code && new SinkError(code, 'as the stub says'),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function post(url: string, body: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (cause?: unknown): void => {
      reject(new SinkError('unavailable', 'no good answer', { cause }));
    };
    const outgoing = request(url, { method: 'POST', signal, agent: false }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (piece: Buffer) => pieces.push(piece));
      answer.on('error', failed);
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(Buffer.concat(pieces).toString());
        else failed();
      });
    });
    outgoing.on('error', failed);
    outgoing.end(body);
  });
}

/** Where deliveries go, and what has arrived. */
interface Destination {
  readonly to: string;
  /** Told what comes in, before and after it is taken; may answer in its place. */
  arrived(): Promise<readonly number[]>;
  /** Batches only: the ids under which each came. */
  readonly itemIds: ReadonlyMap<number, ReadonlySet<string>>;
}

/** `take` lets a request arrive, and answers it unless that is not wanted. */
type Handler = (passing: Passing, take: (answers: boolean) => Promise<void>) => Promise<void>;

async function destinationOf(
  context: Scope,
  target: KillsTarget,
  handler: Handler,
): Promise<Destination> {
  const itemIds = new Map<number, Set<string>>();
  if (target === 'folder') {
    const to = await memoryFolder(context);
    return { to, itemIds, arrived: async () => idsOfLines(await filesBelow(to)) };
  }
  if (target === 's3') {
    const server = await startS3(context, await memoryFolder(context));
    const { endpoint } = await startProxy(context, server.endpoint, (passing) =>
      handler(passing, async (answers) => {
        if (answers) await passWhole(passing);
        else await passing.ask();
      }),
    );
    const client = s3Client(context, server.endpoint);
    const arrived = async (): Promise<number[]> =>
      idsOfLines(await getObjects(client, await listKeys(client)));
    return { to: endpoint, itemIds, arrived };
  }
  if (target === 'kinesis') {
    const { endpoint: server, client } = await startKinesis(context);
    await createStream(client, 'upstream', 2);
    let records = 0;
    const { endpoint } = await startProxy(context, server, (passing) =>
      handler(passing, async (answers) => {
        if (!answers) await passing.ask();
        else await passSome(passing, () => (records += 1) % 61 === 0);
      }),
    );
    const arrived = async (): Promise<number[]> =>
      (await readStream(client, 'upstream')).map(
        ({ data }) => (JSON.parse(data.toString()) as { id: number }).id,
      );
    return { to: endpoint, itemIds, arrived };
  }
  let turn = 0;
  const take = async (passing: Passing, answers: boolean): Promise<void> => {
    const items = JSON.parse((await passing.body()).toString()) as Item[];
    const outcomes = items.map(({ id, data }, index) => {
      turn += 1;
      const record = JSON.parse(data) as { id: number };
      if (record.id % 40 === 7) return 'rejected';
      if ((turn + index) % 211 === 0) return 'throttled';
      itemIds.set(record.id, (itemIds.get(record.id) ?? new Set()).add(id));
      return null;
    });
    if (answers) passing.response.end(JSON.stringify(outcomes));
  };
  const { endpoint } = await startProxy(context, null, (passing) =>
    handler(passing, (answers) => take(passing, answers)),
  );
  return { to: endpoint, itemIds, arrived: () => Promise.resolve([...itemIds.keys()]) };
}

async function filesBelow(root: string): Promise<Buffer[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith('.ndjson.gz'));
  return Promise.all(files.map((file) => readFile(join(file.parentPath, file.name))));
}

function idsOfLines(objects: readonly Buffer[]): number[] {
  return objects.flatMap((object) =>
    gunzipSync(object)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { id: number }).id),
  );
}

export interface Kills {
  readonly seed: number;
  readonly target: KillsTarget;
  readonly kills: number;
}

/**
 * Kills a delivery again and again, lets the last one finish, and counts.
 * @throws when a record is lost; or there twice, where it may not be
 */
export async function killDelivery(
  context: Scope,
  { seed, target, kills }: Kills,
): Promise<{ readonly records: number; readonly failed: number; readonly repeated: number }> {
  const random = seededRandom(seed);
  const folder = await memoryFolder(context);
  const transform = await transformOf(context, random);
  let child: Child | null = null;
  let killIn = Infinity;
  let trouble = true;
  let repeated = 0;
  const destination = await destinationOf(context, target, async (passing, take) => {
    killIn -= 1;
    const chance = random();
    if (killIn === 0) {
      // Before it arrives, or once it has, without an answer.
      if (chance < 0.5) await take(false);
      child?.process.kill('SIGKILL');
      passing.response.destroy();
    } else if (trouble && chance < 0.05) {
      passing.response.writeHead(503).end();
    } else if (trouble && chance < 0.1) {
      repeated += 1;
      await take(false);
      passing.response.destroy();
    } else {
      await take(true);
    }
  });
  const run = (): KillsRun => ({
    ...{ folder: `${folder}/store`, target, to: destination.to },
    prefix: isOfObjects(target) ? '!{partitionKeyFromQuery:place}/' : '',
    maxBytes: 2_000 + Math.floor(random() * 20_000),
    // Without it records go to Kinesis one by one, with it by plans.
    transform:
      random() < (target === 'kinesis' ? 0.5 : 0.7) || isOfObjects(target) ? transform : null,
  });
  const program = compiled(join(import.meta.dirname, 'kills-child.ts'));
  for (let kill = 0; kill < kills; kill += 1) {
    const appends = 5 + Math.floor(random() * 120);
    killIn = target === 'folder' || random() < 0.3 ? Infinity : 1 + Math.floor(random() * 25);
    child = startChild(context, process.execPath, [program, JSON.stringify(run())]);
    const running = child;
    if (killIn === Infinity) void killAfter(running, appends);
    const { signal } = await running.exited;
    assert.equal(signal, 'SIGKILL', running.lines.slice(-20).join('\n'));
  }
  child = null;
  killIn = Infinity;
  trouble = false;
  return { ...(await finish(context, run(), destination)), repeated };
}

async function killAfter(child: Child, lines: number): Promise<void> {
  try {
    for (let line = 0; line < lines; line += 1) await child.next();
  } catch {
    return;
  }
  child.process.kill('SIGKILL');
}

/** Sends what is left, and holds what has arrived and what was put aside against what there was. */
async function finish(
  context: Scope,
  run: KillsRun,
  destination: Destination,
): Promise<{ readonly records: number; readonly failed: number }> {
  const [clock, logger, metrics] = [systemClock, new MemoryLogger(), new MemoryMetrics()];
  const alive = setInterval(() => undefined, 2 ** 30);
  const store = await openStore({ folder: run.folder, clock, logger, metrics });
  const random = (): number => 0;
  const supervisor = new Supervisor({ clock, logger, metrics, random });
  const delivery = new Delivery(deliveryOf(run), sinkOf(run), run.prefix, {
    ...{ log: store.log, video: store.video, gatewayId: 'box-1', owner: 'process-1', supervisor },
    limits: sharedLimits(new Bandwidth({ clock, maxBytesPerSecond: null })),
    ...{ clock, logger, metrics, random, programs: testPrograms },
  });
  context.after(async () => {
    await delivery.close();
    await supervisor.close();
    await store.close();
    clearInterval(alive);
  });
  while ((await delivery.status()).backlog.records > 0) await setImmediate();
  const failed = (await failedOf(store.log, 'archive')).map(
    ({ rawData }) => (JSON.parse(Buffer.from(rawData, 'base64').toString()) as { id: number }).id,
  );
  const records = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  const arrived = await destination.arrived();
  const all = [...arrived, ...failed];
  assert.equal(new Set(failed).size, failed.length, 'a record failed twice');
  assert.equal(new Set(all).size, records, 'a record is lost');
  assert.ok(records > 0);
  if (run.target === 'batches') {
    for (const [id, ids] of destination.itemIds)
      assert.equal(ids.size, 1, `record ${id} had several ids`);
  } else if (run.target === 'kinesis') {
    assertOrderPerKey(arrived);
  } else {
    assert.equal(all.length, records, 'a record is there twice');
  }
  return { records, failed: failed.length };
}

/** Of what came twice, its first coming counts. */
function assertOrderPerKey(ids: readonly number[]): void {
  const last = new Map<number, number>();
  for (const id of new Set(ids)) {
    const key = id % keyCount;
    assert.ok(id > (last.get(key) ?? -1), `k${key}: ${id} came behind a later one`);
    last.set(key, id);
  }
}
