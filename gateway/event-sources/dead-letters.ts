/**
 * Where batches go that are given up: with what Lambda tells a destination of failed batches
 * (docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html), and with the event
 * itself as `payload`, so that nothing is lost. In a stream each is a record, in a folder a file.
 *
 * A batch that would be too long for a record of a stream is several, one behind the other. After a
 * crash a batch may be put there again: in a folder it replaces itself.
 */
import type { Log, LogRecord } from '../../storage/model.ts';
import { folderSink } from '../forward/sinks/folder/folder-sink.ts';
import { uploadOf } from '../forward/uploads.ts';
import type { BatchEvents, WindowCall } from './event.ts';
import type { EventSourceOptions } from './options.ts';

/** Of one record of a stream; the log takes 10 MiB. */
const recordBytesMax = 9 * 2 ** 20;
/** Characters of a payload that is too long for one record, in each that it is cut into. */
const partLength = 3 * 2 ** 20;

/** Of the names of files. */
export const letterEnding = '.json';

/** Lambda's, and one of ours for a record that no call can hold. */
export type Condition = 'RetryAttemptsExhausted' | 'RecordAgeExceeded' | 'PayloadTooLarge';

export interface GivenUp {
  readonly records: readonly LogRecord[];
  readonly window: WindowCall | null;
  readonly condition: Condition;
  /** null: it was not called. */
  readonly error: { readonly code: string; readonly message: string } | null;
  /** Of calls with these records. */
  readonly attempts: number;
  /** Of the last call. */
  readonly requestId: string;
  readonly atMs: number;
}

export interface DeadLetters {
  readonly description: string;
  /** Resolves once the batch is durable. @throws StorageError, SinkError */
  put(batch: GivenUp, events: BatchEvents, signal: AbortSignal): Promise<void>;
}

/** @param kept told of each that is durable @returns null: there is no place for them */
export function deadLettersOf(
  { name, function: target, deadLetter }: EventSourceOptions,
  log: Pick<Log, 'append'>,
  kept: () => void,
): DeadLetters | null {
  if (deadLetter === null) return null;
  const functionArn = nameOf(target, name);
  if ('stream' in deadLetter) {
    const { stream } = deadLetter;
    return {
      description: `stream ${stream}`,
      put: async (batch, events) => {
        const records = lettersOf(batch, events, functionArn).map((data) => ({
          partitionKey: events.shardId,
          data,
        }));
        for (const record of records) await log.append(stream, [record]);
        kept();
      },
    };
  }
  const sink = folderSink({ path: deadLetter.folder });
  return {
    description: sink.description,
    put: async (batch, events, signal) => {
      const data = letterOf(batch, events, functionArn);
      const [first, last] = [batch.records[0], batch.records.at(-1)];
      const range =
        first === undefined || last === undefined
          ? `window-${batch.window?.startMs ?? 0}`
          : `${events.sequenceNumber(first)}-${events.sequenceNumber(last)}`;
      const stream = events.streamArn.slice(events.streamArn.indexOf('/') + 1);
      const key = `${name}/${stream}/${events.shardId}/${range}${letterEnding}`;
      await sink.put(uploadOf(key, 'application/json', data), signal);
      kept();
    },
  };
}

/** As many as it takes for each to fit into a record. */
function lettersOf(batch: GivenUp, events: BatchEvents, functionArn: string): readonly Buffer[] {
  const letter = letterOf(batch, events, functionArn);
  const { records, window } = batch;
  if (letter.length <= recordBytesMax) return [letter];
  if (records.length < 2) {
    const text = events.payload(records, window).toString('utf8');
    const count = Math.ceil(text.length / partLength);
    return Array.from({ length: count }, (_, index) => {
      const payload = text.slice(index * partLength, (index + 1) * partLength);
      return letterOf(batch, events, functionArn, { part: [index, count], payload });
    });
  }
  const middle = Math.ceil(records.length / 2);
  return [records.slice(0, middle), records.slice(middle)].flatMap((half) =>
    lettersOf({ ...batch, records: half }, events, functionArn),
  );
}

/** @param part of the payload's JSON, where all of it does not fit */
function letterOf(
  batch: GivenUp,
  events: BatchEvents,
  functionArn: string,
  part?: { readonly part: readonly [index: number, count: number]; readonly payload: string },
): Buffer {
  const { records, window, condition, error, attempts, requestId, atMs } = batch;
  const [first, last] = [records[0], records.at(-1)];
  return Buffer.from(
    JSON.stringify({
      requestContext: { requestId, functionArn, condition, approximateInvokeCount: attempts },
      responseContext:
        error === null
          ? null
          : {
              statusCode: 200,
              executedVersion: '$LATEST',
              functionError: 'Unhandled',
              errorCode: error.code,
              errorMessage: error.message,
            },
      version: '1.0',
      timestamp: new Date(atMs).toISOString(),
      KinesisBatchInfo: {
        shardId: events.shardId,
        startSequenceNumber: first === undefined ? null : events.sequenceNumber(first),
        endSequenceNumber: last === undefined ? null : events.sequenceNumber(last),
        approximateArrivalOfFirstRecord: timeOf(first, events),
        approximateArrivalOfLastRecord: timeOf(last, events),
        batchSize: records.length,
        streamArn: events.streamArn,
      },
      ...(part ?? { payload: events.event(records, window) }),
    }),
  );
}

function timeOf(record: LogRecord | undefined, events: BatchEvents): string | null {
  return record === undefined ? null : new Date(events.arrivalMs(record)).toISOString();
}

function nameOf(target: EventSourceOptions['function'], name: string): string {
  return 'lambda' in target ? target.lambda.function : name;
}
