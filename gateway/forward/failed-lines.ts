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
  return known.codes[errorCode as SinkErrorCode] ?? known.others;
}

function membersOfStage(envelope: FailedEnvelope): object {
  switch (stageOf(envelope)) {
    case 'processing-failed':
      return { lambdaArn: envelope.lambdaArn };
    case 'http-endpoint-failed':
      return { subsequenceNumber: envelope.subSequence, dataId: placeOf(envelope) };
    case 'splunk-failed':
      return { EventId: placeOf(envelope) };
    case 'opensearch-failed': {
      const { documentId: esDocumentId, index: esIndexName } = envelope;
      return { esDocumentId, esIndexName, esTypeName: '_doc' };
    }
    default:
      return {};
  }
}

/** Its sequence number in the stream, and which part of it. */
function placeOf(envelope: FailedEnvelope): string {
  const { sequence, subSequence, arrival, shardCreated } = envelope;
  const createdMs = Date.parse(shardCreated ?? '');
  const number = Number.isNaN(createdMs)
    ? String(sequence)
    : new SequenceNumbers({ createdMs, index: shardIndexOf(envelope) }).of(
        sequence,
        Date.parse(arrival),
      );
  return `${number}.${subSequence}`;
}
