/**
 * A failed record as Firehose writes it into a bucket: an object of JSON for each, on a line of its
 * own. What they have in common, and beside it what each kind of destination tells:
 *
 * - functions: docs.aws.amazon.com/firehose/latest/dev/data-transformation.html
 * - HTTP endpoints, Splunk, OpenSearch: docs.aws.amazon.com/firehose/latest/dev/retry.html
 *
 * `rawData` is the record as it was put, also where a function had changed it since: so it can be put
 * again, or replayed.
 */
import { SequenceNumbers } from '../api/kinesis/sequence-numbers.ts';
import { shardIndexOf, type FailedEnvelope } from './failed-records.ts';
import { errorOutputTypes, type FailureStage } from './shape/shaped-record.ts';
import type { SinkErrorCode } from './sink.ts';

type ErrorCodes = Readonly<Partial<Record<SinkErrorCode, string>>>;

/** What Firehose calls errors of a destination (…/dev/monitoring-with-cloudwatch-logs.html). */
const errorCodes: Readonly<
  Partial<Record<FailureStage, { readonly others: string; readonly codes: ErrorCodes }>>
> = {
  'http-endpoint-failed': {
    others: 'HttpEndpoint.DestinationException',
    codes: {
      unreachable: 'HttpEndpoint.ConnectionFailed',
      timeout: 'HttpEndpoint.RequestTimeout',
      untrusted: 'HttpEndpoint.SSLHandshakeFailure',
    },
  },
  'splunk-failed': {
    others: 'Splunk.ServerError',
    codes: {
      unreachable: 'Splunk.ConnectionClosed',
      timeout: 'Splunk.AckTimeout',
      throttled: 'Splunk.IndexerBusy',
      untrusted: 'Splunk.SSLHandshake',
      credentials: 'Splunk.InvalidToken',
      denied: 'Splunk.InvalidToken',
      missing: 'Splunk.URLNotFound',
      rejected: 'Splunk.InvalidDataFormat',
    },
  },
};

export interface FailedAttempt {
  readonly attempts: number;
  readonly arrivalMs: number;
  readonly errorCode: string;
  readonly errorMessage: string;
  /** null: it is not told. */
  readonly endedMs: number | null;
}

/** What all have in common, in Firehose's order. */
export function failedMembers(attempt: FailedAttempt, rawData: string): object {
  const { attempts: attemptsMade, arrivalMs, errorCode, errorMessage, endedMs } = attempt;
  return {
    attemptsMade,
    arrivalTimestamp: arrivalMs,
    ...{ errorCode, errorMessage },
    ...(endedMs !== null && { attemptEndingTimestamp: endedMs }),
    rawData,
  };
}

/** Where a kept record failed; somebody else may have written it. */
export function stageOf({ stage }: FailedEnvelope): FailureStage {
  return Object.hasOwn(errorOutputTypes, stage) ? (stage as FailureStage) : 'delivery-failed';
}

/** @returns JSON, without an end of line */
export function failedText(envelope: FailedEnvelope, data: Buffer): string {
  const { attempts, errorMessage, arrival, failedAt } = envelope;
  const attempt = {
    ...{ attempts, errorMessage, errorCode: errorCodeOf(envelope) },
    ...{ arrivalMs: Date.parse(arrival), endedMs: Date.parse(failedAt) },
  };
  return JSON.stringify({
    ...failedMembers(attempt, data.toString('base64')),
    ...membersOfStage(envelope),
  });
}

function errorCodeOf(envelope: FailedEnvelope): string {
  const { errorCode } = envelope;
  const known = errorCodes[stageOf(envelope)];
  if (known === undefined) return errorCode;
  const { codes, others } = known;
  return Object.hasOwn(codes, errorCode) ? (codes[errorCode as SinkErrorCode] ?? others) : others;
}

function membersOfStage(envelope: FailedEnvelope): object {
  const { lambdaArn, subSequence: subsequenceNumber, documentId, index } = envelope;
  const ofDestination: Readonly<Partial<Record<FailureStage, () => object>>> = {
    'processing-failed': () => ({ lambdaArn }),
    'http-endpoint-failed': () => ({ subsequenceNumber, dataId: placeOf(envelope) }),
    'splunk-failed': () => ({ EventId: placeOf(envelope) }),
    'opensearch-failed': () => ({
      ...{ esDocumentId: documentId, esIndexName: index, esTypeName: '_doc' },
    }),
  };
  return ofDestination[stageOf(envelope)]?.() ?? {};
}

/** Its sequence number in the stream, and which part of it. */
function placeOf(envelope: FailedEnvelope): string {
  return `${sequenceNumberOf(envelope)}.${envelope.subSequence}`;
}

/** As clients know it; of a record that does not tell its shard, or lies, the bare number. */
function sequenceNumberOf(envelope: FailedEnvelope): string {
  const { sequence, arrival, shardCreated } = envelope;
  const createdMs = Date.parse(shardCreated ?? '');
  const index = shardIndexOf(envelope);
  const isOne = [createdMs, index, sequence].every((one) => Number.isSafeInteger(one) && one >= 0);
  if (!isOne) return String(sequence);
  return new SequenceNumbers({ createdMs, index }).of(sequence, Date.parse(arrival));
}
