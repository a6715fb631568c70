/** Lines of failed records, held against the examples that Firehose's documentation has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSequenceNumber } from '../../../gateway/api/kinesis/sequence-numbers.ts';
import { failedText } from '../../../gateway/forward/failed-lines.ts';
import type { FailedEnvelope } from '../../../gateway/forward/failed-records.ts';

const arrivalMs = Date.parse('2017-09-21T22:49:14.675Z');
const failedMs = arrivalMs + 60_000;
const kept: FailedEnvelope = {
  ...{ delivery: 'orders', stage: 'http-endpoint-failed', attempts: 5 },
  ...{ errorCode: 'unavailable', errorMessage: 'status 500: no' },
  ...{ failedAt: new Date(failedMs).toISOString(), arrival: new Date(arrivalMs).toISOString() },
  ...{ stream: 'firehose.orders', streamCreated: '2017-09-21T00:00:00.000Z' },
  ...{ shard: 'shardId-000000000003', shardKey: 9, shardCreated: '2017-09-21T01:00:00.000Z' },
  ...{ sequence: 41, subSequence: 2, separate: true, partitionKey: 'k', rawData: 'unused' },
};

function lineOf(more: Partial<FailedEnvelope>): Record<string, unknown> {
  const data = Buffer.from('sample raw data');
  return JSON.parse(failedText({ ...kept, ...more }, data)) as Record<string, unknown>;
}

const common = {
  ...{ attemptsMade: 5, arrivalTimestamp: arrivalMs, attemptEndingTimestamp: failedMs },
  ...{ errorMessage: 'status 500: no', rawData: 'c2FtcGxlIHJhdyBkYXRh' },
};

test('each kind has the members that are documented for it, and no others', () => {
  const { dataId, ...endpoint } = lineOf({});
  assert.deepEqual(endpoint, {
    ...{ ...common, errorCode: 'HttpEndpoint.DestinationException', subsequenceNumber: 2 },
  });
  const [number = '', part] = String(dataId).split('.');
  const { shardIndex, sequence, arrivalSeconds } = parseSequenceNumber(number) ?? assert.fail();
  assert.deepEqual(
    [shardIndex, sequence, arrivalSeconds, part],
    [3, 41, Math.floor(arrivalMs / 1000), '2'],
  );
  assert.deepEqual(lineOf({ stage: 'splunk-failed', errorCode: 'timeout' }), {
    ...{ ...common, errorCode: 'Splunk.AckTimeout', EventId: dataId },
  });
  const document = { stage: 'opensearch-failed', index: 'orders-2017', documentId: 'id-1' };
  assert.deepEqual(lineOf({ ...document, errorCode: 'rejected' }), {
    ...{ ...common, errorCode: 'rejected' },
    ...{ esDocumentId: 'id-1', esIndexName: 'orders-2017', esTypeName: '_doc' },
  });
  const lambdaArn = 'arn:aws:lambda:us-east-1:123456789012:function:clean';
  const errorCode = 'Lambda.FunctionTimedOut';
  assert.deepEqual(lineOf({ stage: 'processing-failed', lambdaArn, errorCode }), {
    ...{ ...common, errorCode, lambdaArn },
  });
  assert.deepEqual(lineOf({ stage: 'delivery-failed' }), { ...common, errorCode: 'unavailable' });
});

test('errors have the nearest code that Firehose has for the destination', () => {
  for (const [stage, errorCode, expected] of [
    ['http-endpoint-failed', 'unreachable', 'HttpEndpoint.ConnectionFailed'],
    ['http-endpoint-failed', 'timeout', 'HttpEndpoint.RequestTimeout'],
    ['http-endpoint-failed', 'untrusted', 'HttpEndpoint.SSLHandshakeFailure'],
    ['http-endpoint-failed', 'too-large', 'HttpEndpoint.DestinationException'],
    ['http-endpoint-failed', '__proto__', 'HttpEndpoint.DestinationException'],
    ['splunk-failed', 'denied', 'Splunk.InvalidToken'],
    ['splunk-failed', 'throttled', 'Splunk.IndexerBusy'],
    ['splunk-failed', 'rejected', 'Splunk.InvalidDataFormat'],
    ['splunk-failed', 'full', 'Splunk.ServerError'],
    ['nowhere', 'rejected', 'rejected'],
  ] as const) {
    assert.equal(lineOf({ stage, errorCode })['errorCode'], expected, `${stage} ${errorCode}`);
  }
});

test('what an earlier release kept does not tell its shard, and has the bare number', () => {
  const { shardCreated, ...older } = kept;
  assert.ok(shardCreated !== undefined);
  const line = JSON.parse(failedText(older, Buffer.from('x'))) as Record<string, unknown>;
  assert.equal(line['dataId'], '41.2');
  assert.equal(lineOf({ shard: 'shardId-1-2' })['dataId'], '41.2');
});
