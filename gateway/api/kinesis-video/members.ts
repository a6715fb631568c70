/** The members that several operations have in common, with the limits of the service models. */
import {
  choice,
  integer,
  optional,
  required,
  structure,
  text,
  timestamp,
  type Described,
} from '../aws/shapes.ts';

const namePattern = '[a-zA-Z0-9_.-]+';

export const streamName = text({ pattern: namePattern, min: 1, max: 256 });
export const streamArn = text({
  pattern: 'arn:[a-z\\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+',
  min: 1,
  max: 1024,
});
export const deviceName = text({ pattern: namePattern, min: 1, max: 128 });
export const mediaType = text({
  pattern: '[\\w\\-\\.\\+]+/[\\w\\-\\.\\+]+(,[\\w\\-\\.\\+]+/[\\w\\-\\.\\+]+)*',
  min: 1,
  max: 128,
});
export const version = text({ pattern: '[a-zA-Z0-9]+', min: 1, max: 64 });
export const pageToken = text({ max: 4096 });
export const fragmentNumberText = text({ pattern: '^[0-9]+$', min: 1, max: 128 });
export const origin = choice(['PRODUCER_TIMESTAMP', 'SERVER_TIMESTAMP']);
export const shown = choice(['ALWAYS', 'NEVER']);
export const playbackMode = choice(['LIVE', 'LIVE_REPLAY', 'ON_DEMAND']);
export const sessionSeconds = integer({ min: 300, max: 43_200 });
export const listedFragments = integer({ min: 1, max: 5000 });

/** The two ways to say which stream is meant. */
export const streamTarget = {
  StreamName: optional(streamName),
  StreamARN: optional(streamArn),
};

const timestampRange = structure({
  StartTimestamp: required(timestamp()),
  EndTimestamp: required(timestamp()),
});

/** A stretch of time, by which of the two times that a fragment has. */
export const fragmentSelector = structure({
  FragmentSelectorType: required(origin),
  TimestampRange: required(timestampRange),
});
export type FragmentSelector = Described<typeof fragmentSelector>;

/** As `fragmentSelector`, where both may be left out. */
export const sessionSelector = structure({
  FragmentSelectorType: optional(origin),
  TimestampRange: optional(
    structure({ StartTimestamp: optional(timestamp()), EndTimestamp: optional(timestamp()) }),
  ),
});
export type SessionSelector = Described<typeof sessionSelector>;
