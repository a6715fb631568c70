/**
 * What streams are to do besides: images into a bucket, notices to a topic. Both are kept and shown,
 * so that what is set by a template can be set and read back; nothing more. What the gateway itself
 * does in their place is said in COVERAGE.md.
 */
import { choice, integer, optional, required, structure, text, textMap } from '../../aws/shapes.ts';
import { invalid, KinesisVideoError } from '../errors.ts';
import { origin, streamTarget } from '../members.ts';
import { defineOperation } from '../operation.ts';
import { retentionHoursOf, type StreamFacts, type VideoStream } from '../streams.ts';

const status = choice(['ENABLED', 'DISABLED']);
const uri = text({ min: 1, max: 255, pattern: '^[a-zA-Z_0-9]+:(//)?([^/]+)/?([^*]*)$' });

const imageGeneration = structure({
  Status: required(status),
  ImageSelectorType: required(origin),
  DestinationConfig: required(
    structure({
      Uri: required(uri),
      DestinationRegion: required(
        text({ min: 9, max: 14, pattern: '^[a-z]+(-[a-z]+)?-[a-z]+-[0-9]$' }),
      ),
    }),
  ),
  SamplingInterval: required(integer({})),
  Format: required(choice(['JPEG', 'PNG'])),
  FormatConfig: optional(textMap({ min: 1, max: 1, keyLengths: [1, 128], valueLengths: [0, 256] })),
  WidthPixels: optional(integer({ min: 1, max: 3840 })),
  HeightPixels: optional(integer({ min: 1, max: 2160 })),
});
const notification = structure({
  Status: required(status),
  DestinationConfig: required(structure({ Uri: required(uri) })),
});

const samplingMsMin = 200;
const samplingMsMax = 20_000;

export const describeImageGenerationConfiguration = defineOperation({
  name: 'DescribeImageGenerationConfiguration',
  path: '/describeImageGenerationConfiguration',
  input: structure(streamTarget),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { facts } = await streams.find(input);
    return { ImageGenerationConfiguration: facts.imageGeneration };
  },
});

export const updateImageGenerationConfiguration = defineOperation({
  name: 'UpdateImageGenerationConfiguration',
  path: '/updateImageGenerationConfiguration',
  input: structure({ ...streamTarget, ImageGenerationConfiguration: optional(imageGeneration) }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { ImageGenerationConfiguration: wanted } = input;
    await streams.change(input, undefined, (stream) => {
      checkKept(stream);
      const facts = without(stream.facts, 'imageGeneration');
      if (wanted === undefined) return facts;
      const { SamplingInterval: ms, FormatConfig, ...rest } = wanted;
      if (ms < samplingMsMin || ms > samplingMsMax) {
        throw invalid(`SamplingInterval is ${samplingMsMin} to ${samplingMsMax} ms, not ${ms}.`);
      }
      checkFormat(FormatConfig);
      const kept =
        FormatConfig === undefined ? {} : { FormatConfig: Object.fromEntries(FormatConfig) };
      return { ...facts, imageGeneration: { ...rest, SamplingInterval: ms, ...kept } };
    });
    return {};
  },
});

export const describeNotificationConfiguration = defineOperation({
  name: 'DescribeNotificationConfiguration',
  path: '/describeNotificationConfiguration',
  input: structure(streamTarget),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { facts } = await streams.find(input);
    return { NotificationConfiguration: facts.notification };
  },
});

export const updateNotificationConfiguration = defineOperation({
  name: 'UpdateNotificationConfiguration',
  path: '/updateNotificationConfiguration',
  input: structure({ ...streamTarget, NotificationConfiguration: optional(notification) }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { NotificationConfiguration: wanted } = input;
    await streams.change(input, undefined, (stream) => {
      checkKept(stream);
      const facts = without(stream.facts, 'notification');
      return wanted === undefined ? facts : { ...facts, notification: wanted };
    });
    return {};
  },
});

function without(facts: StreamFacts, key: keyof StreamFacts): StreamFacts {
  const { revision } = facts;
  return {
    ...Object.fromEntries(Object.entries(facts).filter(([name]) => name !== key)),
    revision,
  };
}

/** @throws KinesisVideoError `NoDataRetentionException` */
export function checkKept(stream: VideoStream): void {
  if (retentionHoursOf(stream) > 0) return;
  throw new KinesisVideoError(
    'NoDataRetentionException',
    `The stream ${stream.name} keeps no data: its DataRetentionInHours is 0.`,
  );
}

/** @throws KinesisVideoError */
export function checkFormat(config: ReadonlyMap<string, string> | undefined): void {
  for (const [key, value] of config ?? []) {
    const quality = Number(value);
    if (key === 'JPEGQuality' && Number.isInteger(quality) && quality >= 1 && quality <= 100)
      continue;
    throw invalid(`FormatConfig has JPEGQuality, from 1 to 100; not ${key}=${value}.`);
  }
}
