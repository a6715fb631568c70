/** From what a delivery is told to how its shards are sent by plans (`planned.ts`). */
import type { ShardDescription, StreamDescription } from '../../storage/model.ts';
import { partsMax, readFailed } from './failed-records.ts';
import { defaultFormat } from './format/formats.ts';
import type { KeyScope } from './keys.ts';
import { bufferDefaults, type DeliveryOptions } from './options.ts';
import type { Emission, PlanInHand, PlannedOptions, PlannedSource } from './planned.ts';
import { BatchEmission } from './record-batches.ts';
import { ObjectEmission } from './record-objects.ts';
import { TableEmission } from './record-tables.ts';
import { asTheyAre } from './shape/source.ts';
import type { ShapeOptions } from './shape/shaping.ts';
import type { BatchSink, ObjectSink, Sink, TableSink } from './sink.ts';

export type PlannedSink = ObjectSink | BatchSink | TableSink;

export function takesPlans(sink: Sink): sink is PlannedSink {
  return 'put' in sink || 'deliver' in sink || 'load' in sink;
}

export interface RecordPlans {
  readonly options: DeliveryOptions;
  readonly scope: KeyScope;
  readonly sink: PlannedSink;
  readonly stream: StreamDescription;
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
  // They have waited for long enough.
  return { ...planned, maxAgeMs: 0 };
}

function plansOf(
  { options, scope, sink, stream }: RecordPlans,
  source: PlannedSource,
): PlannedOptions {
  const { buffer, retrySeconds = null } = options;
  return {
    ...{ source, scope, shape: shapeOf(options, scope) },
    transform: null,
    maxBytes: buffer?.maxBytes ?? bufferDefaults.maxBytes,
    maxAgeMs: (buffer?.maxSeconds ?? bufferDefaults.maxSeconds) * 1000,
    retryMs: retrySeconds === null ? Infinity : retrySeconds * 1000,
    emission: (plan) => emissionOf(plan, sink),
    failed: { delivery: options.name, encryption: stream.encryption ?? 'none' },
  };
}

function shapeOf(options: DeliveryOptions, { prefix }: KeyScope): ShapeOptions {
  return {
    deaggregate: options.deaggregate ?? { type: 'none' },
    filter: options.filter ?? null,
    select: options.select ?? null,
    record: options.record ?? 'data',
    format: options.format ?? defaultFormat,
    layout: { ...options.layout, prefix },
  };
}

function emissionOf(plan: PlanInHand, sink: PlannedSink): Emission {
  if ('put' in sink) return new ObjectEmission(plan, sink);
  return 'deliver' in sink ? new BatchEmission(plan, sink) : new TableEmission(plan, sink);
}
