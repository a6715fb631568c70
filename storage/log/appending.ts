/**
 * What an append has to be, and the beginning of each group commit. What its records turn into is in
 * `log-group.ts`.
 */
import { StorageError } from '../errors.ts';
import type { Appender } from '../group-commit.ts';
import type { RecordInput } from '../model.ts';
import type { Clock } from '../ports.ts';
import { encodedBytes, type TimedRecord } from './batch.ts';
import { KeyHasher, hashKeyMax, toHashKey } from './hash-keys.ts';
import {
  LogGroup,
  type AppendListener,
  type LogAppend,
  type LogGroupParts,
  type RoomMaker,
} from './log-group.ts';
import type { Sealing } from './sealing.ts';
import type { Streams } from './streams.ts';
import type { TailCache } from './tail-cache.ts';

/** Longest data of one record, as in the service model. */
export const recordDataBytesMax = 10 * 1024 * 1024;
/** Most that one append may carry. */
export const appendBytesMax = 32 * 1024 * 1024;
export const partitionKeyCharactersMax = 256;

export class LogAppender implements Appender<LogAppend>, LogGroupParts {
  readonly hasher = new KeyHasher();
  readonly streams: Streams;
  readonly tail: TailCache;
  readonly sealing: Sealing;
  readonly listener: AppendListener | null;
  readonly #clock: Clock;
  #roomMaker: RoomMaker | null = null;
  #group: LogGroup | null = null;

  constructor(
    streams: Streams,
    tail: TailCache,
    sealing: Sealing,
    clock: Clock,
    listener: AppendListener | null = null,
  ) {
    this.streams = streams;
    this.tail = tail;
    this.sealing = sealing;
    this.listener = listener;
    this.#clock = clock;
  }

  setRoomMaker(roomMaker: RoomMaker): void {
    this.#roomMaker = roomMaker;
  }

  /** The group that is being committed: what a work item trims shards through. */
  get group(): LogGroup {
    if (this.#group === null) throw new Error('no group is being committed');
    return this.#group;
  }

  prepare(stream: string, records: readonly RecordInput[]): LogAppend {
    const arrivalMs = this.#clock.nowMs();
    const timed: TimedRecord[] = [];
    let explicit: Map<number, string> | null = null;
    let bytes = 0;
    for (const [index, record] of records.entries()) {
      const prepared = checkRecord(record, arrivalMs);
      timed.push(prepared);
      bytes += encodedBytes(prepared);
      if (record.explicitHashKey !== undefined) {
        explicit ??= new Map<number, string>();
        explicit.set(index, toHashKey(record.explicitHashKey));
      }
    }
    if (bytes > appendBytesMax) {
      throw new StorageError(
        'invalid-argument',
        `an append of ${bytes} bytes; at most ${appendBytesMax} are allowed`,
      );
    }
    return { stream, records: timed, explicit, bytes };
  }

  beginGroup(): LogGroup {
    this.#group = new LogGroup(this, this.#roomMaker);
    return this.#group;
  }
}

function checkRecord(record: RecordInput, arrivalMs: number): TimedRecord {
  const { partitionKey, data, explicitHashKey } = record;
  if (partitionKey.length === 0 || partitionKey.length > partitionKeyCharactersMax) {
    throw new StorageError(
      'invalid-argument',
      `a partition key has 1 to ${partitionKeyCharactersMax} characters, not ${partitionKey.length}`,
    );
  }
  if (data.length > recordDataBytesMax) {
    throw new StorageError(
      'invalid-argument',
      `a record of ${data.length} bytes; at most ${recordDataBytesMax} are allowed`,
    );
  }
  if (explicitHashKey !== undefined && (explicitHashKey < 0n || explicitHashKey > hashKeyMax)) {
    throw new StorageError('invalid-argument', 'an explicit hash key is 0 to 2^128 - 1');
  }
  const keyBytes = Buffer.byteLength(partitionKey, 'utf8');
  // Half of a surrogate pair has no UTF-8: it would come back as another key.
  if (keyBytes !== partitionKey.length && /\p{Surrogate}/u.test(partitionKey)) {
    throw new StorageError('invalid-argument', 'a partition key is well-formed Unicode');
  }
  return { partitionKey, keyBytes, data, arrivalMs };
}
