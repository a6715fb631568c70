/**
 * Sends one shard to an object sink, every record in exactly one object.
 *
 * Plan, then put: the range and the key of the next object are saved before it goes up, and the
 * checkpoint moves only afterwards, in the transaction that deletes the plan. Whatever happens in
 * between, the same range goes up again under the same key. Size and age alone would cut
 * elsewhere the second time, and leave the first object lying there as well.
 */
import { z } from 'zod';
import type { Plan, ShardDescription } from '../../storage/model.ts';
import { untilDone, type Worker } from './attempts.ts';
import { gather } from './gather.ts';
import { recordObjectKey, type KeyScope } from './keys.ts';
import { lineBytesEstimate, type RecordFormat } from './ndjson.ts';
import { packRange } from './pack.ts';
import type { ObjectSink } from './sink.ts';

const planDetail = z.object({
  kind: z.literal('records'),
  key: z.string(),
  format: z.enum(['data', 'envelope']),
  oldestMs: z.number().optional(),
});

type PlanDetail = z.infer<typeof planDetail>;

export interface RecordObjectsOptions {
  readonly sink: ObjectSink;
  readonly shard: ShardDescription;
  readonly streamCreatedMs: number;
  readonly scope: KeyScope;
  readonly format: RecordFormat;
  readonly maxBytes: number;
  readonly maxAgeMs: number;
}

/**
 * Runs until all of the lane is sent and no more will come, or its turn is over.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendShardAsObjects(
  worker: Worker,
  options: RecordObjectsOptions,
): Promise<void> {
  for (;;) {
    const plan = (await worker.lease.plan()) ?? (await nextPlan(worker, options));
    if (plan === null) return;
    const arrived = await carryOut(worker, options, plan);
    await worker.lease.completePlan();
    if (arrived && !(await worker.lane.goOn())) return;
  }
}

async function nextPlan(worker: Worker, options: RecordObjectsOptions): Promise<Plan | null> {
  await worker.gate.pass(worker.signal);
  const checkpoint = worker.lease.checkpoint;
  const gathered = await gather({
    log: worker.log,
    clock: worker.clock,
    shardId: options.shard.id,
    from: checkpoint,
    until: worker.lane.end,
    maxBytes: options.maxBytes,
    maxAgeMs: options.maxAgeMs,
    measure: (record) => lineBytesEstimate(record, options.format),
    worker: worker.name,
    progress: worker.progress,
    signal: worker.signal,
  });
  if (gathered.kind === 'end') {
    if (gathered.to > checkpoint) await worker.lease.advance(gathered.to);
    return null;
  }
  const key = recordObjectKey(options.scope, {
    stream: options.shard.stream,
    streamCreatedMs: options.streamCreatedMs,
    shardId: options.shard.id,
    from: gathered.from,
    to: gathered.to,
    oldestArrivalMs: gathered.oldestArrivalMs,
  });
  const detail: PlanDetail = {
    kind: 'records',
    key,
    format: options.format,
    oldestMs: gathered.oldestArrivalMs,
  };
  const { from, to } = gathered;
  const plan: Plan = { from, to, detail, createdMs: worker.clock.nowMs() };
  await worker.lease.savePlan(plan);
  return plan;
}

/** Returns whether anything arrived: nothing does when all of the range is gone. */
async function carryOut(
  worker: Worker,
  options: RecordObjectsOptions,
  plan: Plan,
): Promise<boolean> {
  const detail = planDetail.parse(plan.detail);
  const range = {
    shardId: options.shard.id,
    shardIndex: options.shard.index,
    from: plan.from,
    to: plan.to,
    format: detail.format,
    key: detail.key,
  };
  // Made anew for each attempt: while the sink is down for hours, nothing lies in memory.
  const work = { sizeBytes: options.maxBytes, oldestMs: detail.oldestMs ?? plan.createdMs };
  const sent = await untilDone(worker, work, async (signal, pace) => {
    const packed = await packRange(worker.log, range, signal);
    if (packed.upload !== null) await options.sink.put(pace(packed.upload), signal);
    return packed;
  });
  worker.progress.lost(worker.name, sent.trimmed, 'trimmed');
  if (sent.upload === null) return false;
  worker.progress.sent({ records: sent.records, bytes: sent.plainBytes, objects: 1 });
  return true;
}
