/** Every operation of the API, by its name. */
import type { AnyOperation } from '../operation.ts';
import * as consumers from './consumers.ts';
import { getRecords, getShardIterator } from './get.ts';
import * as policies from './policies.ts';
import { putRecord, putRecords } from './put.ts';
import * as settings from './settings.ts';
import { listShards, mergeShards, splitShard, updateShardCount } from './shards.ts';
import * as streams from './streams.ts';
import { subscribeToShard } from './subscribe.ts';
import * as tags from './tags.ts';

const all: readonly AnyOperation[] = [
  putRecord,
  putRecords,
  getShardIterator,
  getRecords,
  streams.createStream,
  streams.deleteStream,
  streams.describeStream,
  streams.describeStreamSummary,
  streams.listStreams,
  streams.describeLimits,
  listShards,
  splitShard,
  mergeShards,
  updateShardCount,
  tags.addTagsToStream,
  tags.removeTagsFromStream,
  tags.listTagsForStream,
  tags.tagResource,
  tags.untagResource,
  tags.listTagsForResource,
  settings.increaseStreamRetentionPeriod,
  settings.decreaseStreamRetentionPeriod,
  settings.updateStreamMode,
  settings.startStreamEncryption,
  settings.stopStreamEncryption,
  settings.enableEnhancedMonitoring,
  settings.disableEnhancedMonitoring,
  settings.updateMaxRecordSize,
  settings.updateStreamWarmThroughput,
  consumers.registerStreamConsumer,
  consumers.describeStreamConsumer,
  consumers.listStreamConsumers,
  consumers.deregisterStreamConsumer,
  subscribeToShard,
  policies.putResourcePolicy,
  policies.getResourcePolicy,
  policies.deleteResourcePolicy,
];

export const operations: ReadonlyMap<string, AnyOperation> = new Map(
  all.map((operation) => [operation.name, operation]),
);
