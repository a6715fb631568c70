import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFailed } from '../../../gateway/forward/failed-records.ts';

const envelope = {
  ...{ delivery: 'archive', stage: 'processing-failed', errorCode: 'c', errorMessage: 'no' },
  ...{ attempts: 1, failedAt: '2026-01-01T00:00:00.000Z', stream: 'readings' },
  ...{ streamCreated: '2026-01-01T00:00:00.000Z', shard: 'shardId-000000000000', shardKey: 1 },
  ...{ sequence: 7, subSequence: 0, separate: false, partitionKey: 'k' },
  ...{ arrival: '2026-01-01T00:00:00.000Z', rawData: Buffer.from('kept').toString('base64') },
};

test('what others have written into the stream of failed records is passed over', () => {
  const ofNobody = { ...envelope, delivery: undefined };
  const texts = [
    ...['', '{', 'null', '7', '[]', '{"rawData":"a2VwdA=="}'],
    JSON.stringify({ requestContext: { condition: 'RetryAttemptsExhausted' }, payload: {} }),
    ...[ofNobody, { ...envelope, part: [0] }].map((one) => JSON.stringify(one)),
    JSON.stringify(envelope),
  ];
  const records = texts.map((text, sequence) => ({
    ...{ sequence, partitionKey: 'p', data: Buffer.from(text), arrivalMs: 0 },
  }));
  const read = readFailed(records.length)(records);
  assert.deepEqual(
    read.map(({ sequence, data }) => [sequence, data.toString()]),
    [[texts.length - 1, 'kept']],
  );
});
