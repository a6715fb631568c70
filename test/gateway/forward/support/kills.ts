/** A delivery that is killed at random moments while its destination fails at random. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { Bandwidth } from '../../../../gateway/forward/bandwidth.ts';
import { Delivery } from '../../../../gateway/forward/delivery.ts';
import { sharedLimits } from '../../../../gateway/forward/limits.ts';
import { Supervisor } from '../../../../gateway/supervisor.ts';
import { systemClock } from '../../../../storage/clock.ts';
import { openStore } from '../../../../storage/store.ts';
import { seededRandom } from '../../../storage/support/open.ts';
import { startChild, type Child } from '../../../support/child.ts';
import { MemoryLogger } from '../../../support/memory-logger.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { compiled } from '../../../support/program.ts';
import type { Scope } from '../../../support/scope.ts';
import { memoryFolder } from '../../../support/temporary-folder.ts';
import { failedOf } from './failed.ts';
import { destinationOf, type Destination, type Disturbance } from './kills-destinations.ts';
import {
  deliveryOf,
  isOfObjects,
  keyOf,
  sinkOf,
  type KillsRun,
  type KillsTarget,
} from './kills-run.ts';
import { startProxy } from './proxy.ts';
import type { Fault } from './redshift.ts';
import { testPrograms } from './rig.ts';

const faults: readonly Fault[] = ['cut-before', 'cut-after', 'lose-answer', 'late'];

/** A function over HTTP: what it does with a record is chance, each time it is asked. */
async function transformOf(
  context: Scope,
  target: KillsTarget,
  random: () => number,
): Promise<string> {
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
      // A table takes numbers there.
      const isRefused = target === 'redshift' && value.id % 300 === 23;
      const made = JSON.stringify({ id: value.id, ...place, made: isRefused ? '?' : random() });
      return { recordId, result: 'Ok', data: Buffer.from(made).toString('base64') };
    });
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ records: answers }));
  });
  return endpoint;
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
  const transform = await transformOf(context, target, random);
  let child: Child | null = null;
  let killIn = Infinity;
  // A load is a connection and a dozen requests: where too many fail, it waits ever longer.
  const isSlow = target === 'redshift';
  const troubles = isSlow ? 0.02 : 0.05;
  let trouble = true;
  let repeated = 0;
  const request: Disturbance['request'] = async (passing, take) => {
    killIn -= 1;
    const chance = random();
    if (killIn === 0) {
      // Before it arrives, or once it has, without an answer.
      if (chance < 0.5) await take(false);
      child?.process.kill('SIGKILL');
      passing.response.destroy();
    } else if (trouble && chance < troubles) {
      passing.response.writeHead(503).end();
    } else if (trouble && chance < 2 * troubles) {
      repeated += 1;
      await take(false);
      passing.response.destroy();
    } else {
      await take(true);
    }
  };
  const statement = (): Fault | null => {
    killIn -= 1;
    if (killIn === 0) child?.process.kill('SIGKILL');
    else if (!trouble || random() > troubles) return null;
    return faults[Math.floor(random() * faults.length)] ?? null;
  };
  const destination = await destinationOf(context, target, { request, statement });
  const { to, cluster } = destination;
  const run = (): KillsRun => ({
    ...{ folder: `${folder}/store`, target, to, cluster },
    prefix: isOfObjects(target) ? '!{partitionKeyFromQuery:place}/' : '',
    maxBytes: Math.floor((2_000 + random() * 20_000) / (isSlow ? 5 : 1)),
    aheadMax: isSlow ? 300 : 1_500,
    // Without it records go to Kinesis one by one, with it by plans.
    transform:
      random() < (target === 'kinesis' ? 0.5 : 0.7) || isOfObjects(target) ? transform : null,
  });
  const program = compiled(join(import.meta.dirname, 'kills-child.ts'));
  for (let kill = 0; kill < kills; kill += 1) {
    const pulses = 5 + Math.floor(random() * (isSlow ? 600 : 120));
    const requests = 1 + Math.floor(random() * (isSlow ? 120 : 25));
    killIn = target === 'folder' || random() < 0.3 ? Infinity : requests;
    child = startChild(context, process.execPath, [program, JSON.stringify(run())]);
    const running = child;
    if (killIn === Infinity) void running.killAfter(pulses);
    const { signal } = await running.exited;
    assert.equal(signal, 'SIGKILL', running.lines.slice(-20).join('\n'));
  }
  child = null;
  killIn = Infinity;
  trouble = false;
  return { ...(await finish(context, run(), destination)), repeated };
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
  // Of a checkpoint that moves nothing tells, and into Kinesis it moves behind what is sent.
  while ((await delivery.status()).backlog.records > 0) await setTimeout(50);
  const failed = (await failedOf(store.log, 'archive')).map(
    ({ rawData }) => (JSON.parse(Buffer.from(rawData, 'base64').toString()) as { id: number }).id,
  );
  const records = store.log.stream('readings').shards[0]?.nextSequence ?? 0;
  const arrived = await destination.arrived();
  const all = [...arrived, ...failed];
  assert.equal(new Set(failed).size, failed.length, 'a record failed twice');
  assert.equal(new Set(all).size, records, 'a record is lost');
  assert.ok(records > 0);
  await destination.check(new Set(failed));
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
  const last = new Map<string, number>();
  for (const id of new Set(ids)) {
    const key = keyOf(id);
    assert.ok(id > (last.get(key) ?? -1), `${key}: ${id} came behind a later one`);
    last.set(key, id);
  }
}
