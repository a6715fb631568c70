/** From what a delivery is told to how its shards are sent by plans (`planned.ts`). */
import type { ShardDescription, StreamDescription } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { ObjectAhead } from './encode-ahead.ts';
import { readFailedLines } from './failed-backup.ts';
import { partsMax, readFailed, type DetailsOf } from './failed-records.ts';
import { formatOf } from './format/formats.ts';
import { recordIdOf, type KeyScope } from './keys.ts';
import { compileLayout, failedPrefix, hasPartitions } from './layout/layout.ts';
import { bufferDefaults, type DeliveryOptions, type Destination } from './options.ts';
import type { Emission, PlanInHand, PlannedOptions, PlannedSource } from './planned.ts';
import { BatchEmission } from './record-batches.ts';
import { ObjectEmission } from './record-objects.ts';
import { TableEmission } from './record-tables.ts';
import { asTheyAre } from './shape/source.ts';
import { goesAsItIs, openShaping, plainShape, type ShapeOptions } from './shape/shaping.ts';
import type { Transform, TransformContext } from './transform/transform.ts';
import { inBatches } from './in-batches.ts';
import { indexName } from './sinks/opensearch/index-name.ts';
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
      ...{ shardId: shard.id, shardIndex: shard.index, shardCreatedMs: shard.createdMs },
      isSeparate: false,
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

/** How its failed records are kept in a bucket, from the same stream. */
export function plansOfFailedBackup(plans: RecordPlans, shard: ShardDescription): PlannedOptions {
  const { source, ...planned } = plansOfShard(plans, shard);
  const lines = { reading: readFailedLines, beyond: partsMax - 1 };
  // What is read of them is not what they are.
  return { ...planned, source: { ...source, ...lines }, ahead: () => null };
}

function plansOf(plans: RecordPlans, source: PlannedSource): PlannedOptions {
  const { options, scope, sink, transform } = plans;
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
    failed: { delivery: options.name, detailsOf: detailsOf(options, scope) },
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

/** What is kept of failed records beside the reason. */
function detailsOf({ to, transform = null }: DeliveryOptions, scope: KeyScope): DetailsOf {
  const lambda =
    transform !== null && 'lambda' in transform.function ? transform.function.lambda.function : '';
  return (stage, origin, arrivalMs) => {
    if (stage === 'processing-failed' && lambda.startsWith('arn:')) return { lambdaArn: lambda };
    if (stage !== 'opensearch-failed' || !('opensearch' in to)) return {};
    const { index, rotation = 'none', documentId = 'record' } = to.opensearch;
    return {
      index: indexName(index, rotation, arrivalMs),
      ...(documentId === 'record' && { documentId: recordIdOf(scope, origin) }),
    };
  };
}

function shapeOf(options: DeliveryOptions, { prefix }: KeyScope): ShapeOptions {
  const { layout = {}, failedOf = null } = options;
  return {
    deaggregate: options.deaggregate ?? plainShape.deaggregate,
    filter: options.filter ?? null,
    select: options.select ?? null,
    record: options.record ?? plainShape.record,
    format: options.format ?? plainShape.format,
    layout: {
      ...layout,
      prefix: failedOf === null ? prefix : failedPrefix(prefix, layout.hive ?? false),
    },
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
