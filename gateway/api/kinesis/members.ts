/** The members that several operations have in common, with the limits of the service model. */
import { choice, integer, list, optional, text, textMap, timestamp } from '../aws/shapes.ts';

const namePattern = '[a-zA-Z0-9_.-]+';
const memberLengths = [1, 128] as const;

export const streamName = text({ pattern: namePattern, min: 1, max: 128 });
export const streamArn = text({
  pattern: 'arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+',
  min: 1,
  max: 2048,
});
export const resourceArn = text({
  pattern: 'arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+',
  min: 1,
  max: 2048,
});
export const consumerArn = text({
  pattern:
    '^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+',
  min: 1,
  max: 2048,
});
export const consumerName = text({ pattern: namePattern, min: 1, max: 128 });
export const shardId = text({ pattern: namePattern, min: 1, max: 128 });
export const hashKey = text({ pattern: '0|([1-9]\\d{0,38})' });
export const sequenceNumber = text({ pattern: '0|([1-9]\\d{0,128})' });
export const partitionKey = text({ min: 1, max: 256 });
export const nextToken = text({ min: 1, max: 1_048_576 });
export const pageSize = integer({ min: 1, max: 10_000 });
export const instant = timestamp();
export const naturalNumber = integer({ min: 0 });
export const positiveNumber = integer({ min: 1 });
export const maxRecordKiB = integer({ min: 1024, max: 10_240 });
export const streamMode = choice(['PROVISIONED', 'ON_DEMAND']);

export const tags = textMap({
  ...{ min: 1, max: 200 },
  keyLengths: memberLengths,
  valueLengths: [0, 256],
});
export const tagKeys = list(text(), { min: 1, max: 50, memberLengths });

/** The two ways to say which stream is meant. */
export const streamTarget = {
  StreamName: optional(streamName),
  StreamARN: optional(streamArn),
};
