/** From what a delivery is told to how its shards are sent by plans (`planned.ts`). */
import type { ShardDescription, StreamDescription } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { ObjectAhead } from './encode-ahead.ts';
import { partsMax, readFailed } from './failed-records.ts';
import { formatOf } from './format/formats.ts';
import type { KeyScope } from './keys.ts';
import { compileLayout, hasPartitions } from './layout/layout.ts';
import { bufferDefaults, type DeliveryOptions, type Destination } from './options.ts';
import type { Emission, PlanInHand, PlannedOptions, PlannedSource } from './planned.ts';
import { BatchEmission } from './record-batches.ts';
import { ObjectEmission } from './record-objects.ts';
import { TableEmission } from './record-tables.ts';
import { asTheyAre } from './shape/source.ts';
import { goesAsItIs, openShaping, plainShape, type ShapeOptions } from './shape/shaping.ts';
import type { Transform, TransformContext } from './transform/transform.ts';
import { inBatches } from './in-batches.ts';
import type { BatchSink, ObjectSink, Sink, TableReading, TableSink } from './sink.ts';

export type PlannedSink = ObjectSink | BatchSink | TableSink;

/** The sink as plans see it; null: it takes no records. */
export function plannedSink(sink: Sink): PlannedSink | null {
  if ('connect' in sink) return null;
  return 'send' in sink ? inBatches(sink) : sink;
}

/** Whether records are to be treated as only plans can: shaped, or given up after a time. */
export function needsPlans(options: DeliveryOptions, scope: KeyScope): boolean {
  const { transform = null, retrySeconds = null } = options;
  return transform !== null || retrySeconds !== null || !goesAsItIs(shapeOf(options, scope));
}

/** How long records wait for others, to go with them. */
export function gatheringMs({ buffer, to }: Pick<DeliveryOptions, 'buffer' | 'to'>): number {
  const { maxSeconds = null } = buffer ?? {};
  return (maxSeconds ?? ('kinesis' in to ? 0 : bufferDefaults.maxSeconds)) * 1000;
}

export interface RecordPlans {
  readonly options: DeliveryOptions;
  readonly scope: KeyScope;
  readonly sink: PlannedSink;
  readonly transform: Transform | null;
  /** For the ARNs that a function is told. */
  readonly account: Account;
  readonly stream: StreamDescription;
}

export interface Account {
  readonly accountId: string;
  readonly region: string;
}

/** How a shard of the delivery's stream is sent. */
export function plansOfShard(plans: RecordPlans, shard: ShardDescription): PlannedOptions {
  const { stream } = plans;
  return plansOf(plans, {
    shard,
    origin: {
      ...{ stream: stream.name, streamCreatedMs: stream.createdMs },
      ...{ shardId: shard.id, shardIndex: shard.index, isSeparate: false },
    },
    reading: () => asTheyAre,
    beyond: 0,
  });
}

/** How its failed records are sent again, from the stream that they are in. */
export function plansOfFailed(
  plans: RecordPlans,
  failed: StreamDescription,
  shard: ShardDescription,
): PlannedOptions {
  const planned = plansOf(plans, {
    shard,
    // Objects are named after the stream that the records came from.
    origin: {
      ...{ stream: plans.stream.name, streamCreatedMs: failed.createdMs },
      ...{ shardId: shard.id, shardIndex: shard.index, isSeparate: false },
    },
    reading: readFailed,
    beyond: partsMax - 1,
  });
  // They have waited for long enough, and what is read of them is not what they were.
  return { ...planned, maxAgeMs: 0, ahead: () => null };
}

function plansOf(plans: RecordPlans, source: PlannedSource): PlannedOptions {
  const { options, scope, sink, stream, transform } = plans;
  const { buffer, retrySeconds = null } = options;
  const shape = shapeOf(options, scope);
  const reading = readingOf(options.to);
  const maxBytes = buffer?.maxBytes ?? bufferDefaults.maxBytes;
  const isWhole =
    'put' in sink && transform === null && !hasPartitions(compileLayout(shape.layout));
  return {
    ...{ source, scope, shape, maxBytes, reading },
    transform: transform && {
      run: (records, context, signal) => transform.run(records, context, signal),
      context: (planId) => contextOf(plans, source, planId),
    },
    maxAgeMs: gatheringMs(options),
    retryMs: retrySeconds === null ? Infinity : retrySeconds * 1000,
    ahead: ({ aheadBudget: budget, clock, signal }: Worker) => {
      if (!isWhole) return null;
      const format = formatOf(shape.format, {
        record: shape.record,
        shardIndex: source.origin.shardIndex,
      });
      const turns = { clock, signal };
      return new ObjectAhead({ budget, maxBytes, shaping: openShaping(shape), format, turns });
    },
    emission: (plan) => emissionOf(plan, sink, reading),
    failed: { delivery: options.name, encryption: stream.encryption ?? 'none' },
    errors: 'put' in sink ? sink : null,
  };
}

function contextOf(
  { options, stream, account: { accountId, region } }: RecordPlans,
  { shard: { index, createdMs } }: PlannedSource,
  planId: string,
): TransformContext {
  return {
    planId,
    deliveryStreamArn: `arn:aws:firehose:${region}:${accountId}:deliverystream/${options.name}`,
    sourceStreamArn: `arn:aws:kinesis:${region}:${accountId}:stream/${stream.name}`,
    region,
    shard: { index, createdMs },
  };
}

function shapeOf(options: DeliveryOptions, { prefix }: KeyScope): ShapeOptions {
  return {
    deaggregate: options.deaggregate ?? plainShape.deaggregate,
    filter: options.filter ?? null,
    select: options.select ?? null,
    record: options.record ?? plainShape.record,
    format: options.format ?? plainShape.format,
    layout: { ...options.layout, prefix },
  };
}

function readingOf(to: Destination): TableReading | null {
  if (!('redshift' in to)) return null;
  const { columns = [], copyOptions = '' } = to.redshift;
  return { columns: columns.length === 0 ? null : columns, options: copyOptions };
}

function emissionOf(plan: PlanInHand, sink: PlannedSink, reading: TableReading | null): Emission {
  if ('put' in sink) return new ObjectEmission(plan, sink);
  return 'deliver' in sink ? new BatchEmission(plan, sink) : new TableEmission(plan, sink, reading);
}
