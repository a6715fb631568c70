/** All operations of the Firehose API, by name. */
import type { AnyOperation } from '../operation.ts';
import { updateDestination } from './destinations.ts';
import { startDeliveryStreamEncryption, stopDeliveryStreamEncryption } from './encryption.ts';
import { putRecord, putRecordBatch } from './put.ts';
import {
  createDeliveryStream,
  deleteDeliveryStream,
  describeDeliveryStream,
  listDeliveryStreams,
} from './streams.ts';
import { listTagsForDeliveryStream, tagDeliveryStream, untagDeliveryStream } from './tags.ts';

const all: readonly AnyOperation[] = [
  createDeliveryStream,
  deleteDeliveryStream,
  describeDeliveryStream,
  listDeliveryStreams,
  updateDestination,
  putRecord,
  putRecordBatch,
  tagDeliveryStream,
  untagDeliveryStream,
  listTagsForDeliveryStream,
  startDeliveryStreamEncryption,
  stopDeliveryStreamEncryption,
];

export const operations: ReadonlyMap<string, AnyOperation> = new Map(
  all.map((operation) => [operation.name, operation]),
);
