/** Streams: made, described, listed, changed, deleted. */
import { choice, integer, optional, required, structure, text, textMap } from '../../aws/shapes.ts';
import { invalid, KinesisVideoError } from '../errors.ts';
import {
  deviceName,
  mediaType,
  pageToken,
  streamArn,
  streamName,
  streamTarget,
  version,
} from '../members.ts';
import { defineOperation } from '../operation.ts';
import { checkVersion, retentionHoursMax, retentionHoursOf, type VideoStream } from '../streams.ts';
import { checkTags } from './tags.ts';

const streamsMax = 1_000;
const streamsShown = 10_000;
/** As the configuration has it (`config/camera-text.ts`). */
const usableName = /^(?!\.{1,2}$|__proto__$)[a-zA-Z0-9_.-]{1,128}$/;
const storage = structure({ DefaultStorageTier: required(choice(['HOT', 'WARM'])) });

export const createStream = defineOperation({
  name: 'CreateStream',
  path: '/createStream',
  input: structure({
    DeviceName: optional(deviceName),
    StreamName: required(streamName),
    MediaType: optional(mediaType),
    KmsKeyId: optional(text({ min: 1, max: 2048 })),
    DataRetentionInHours: optional(integer({ min: 0 })),
    Tags: optional(textMap({ min: 1, max: 50, keyLengths: [1, 128], valueLengths: [0, 256] })),
    StreamStorageConfiguration: optional(storage),
  }),
  resources: ({ StreamName }, { streams }) => streams.arnOf({ StreamName }),
  run: (input, { streams }) =>
    streams.inTurn(async () => {
      const { StreamName, DataRetentionInHours = 0, Tags } = input;
      if (!usableName.test(StreamName)) {
        throw invalid('A stream is a camera here, whose name has at most 128 characters.');
      }
      checkRetention(DataRetentionInHours);
      if (Tags !== undefined) checkTags(Object.fromEntries(Tags), {});
      const known = await streams.all();
      if (known.some(({ name }) => name === StreamName)) {
        throw new KinesisVideoError('ResourceInUseException', `The stream ${StreamName} exists.`);
      }
      if (known.length >= streamsMax) {
        const message = `There are ${streamsMax} streams, which is as many as there can be.`;
        throw new KinesisVideoError('AccountStreamLimitExceededException', message);
      }
      await streams.cameras.make(StreamName, DataRetentionInHours, {
        ...{ revision: 0, made: true },
        ...(input.DeviceName === undefined ? {} : { deviceName: input.DeviceName }),
        ...(input.MediaType === undefined ? {} : { mediaType: input.MediaType }),
        ...(input.KmsKeyId === undefined ? {} : { kmsKeyId: input.KmsKeyId }),
        ...(Tags === undefined ? {} : { tags: Object.fromEntries(Tags) }),
        ...(input.StreamStorageConfiguration === undefined
          ? {}
          : { storageTier: input.StreamStorageConfiguration.DefaultStorageTier }),
      });
      return { StreamARN: (await streams.find({ StreamName })).arn };
    }),
});

export const describeStream = defineOperation({
  name: 'DescribeStream',
  path: '/describeStream',
  input: structure(streamTarget),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    return { StreamInfo: infoOf(await streams.find(input)) };
  },
});

export const listStreams = defineOperation({
  name: 'ListStreams',
  path: '/listStreams',
  input: structure({
    MaxResults: optional(integer({ min: 1, max: streamsShown })),
    NextToken: optional(pageToken),
    StreamNameCondition: optional(
      structure({
        ComparisonOperator: optional(choice(['BEGINS_WITH'])),
        ComparisonValue: optional(streamName),
      }),
    ),
  }),
  resources: () => Promise.resolve('*'),
  async run(
    { MaxResults = streamsShown, NextToken, StreamNameCondition },
    { streams, pageTokens },
  ) {
    const prefix = StreamNameCondition?.ComparisonValue ?? '';
    const after =
      NextToken === undefined
        ? ''
        : (pageTokens.open('ListStreams', NextToken) as { after: string }).after;
    const rest = (await streams.all()).filter(
      ({ name }) => name > after && name.startsWith(prefix),
    );
    const page = rest.slice(0, MaxResults);
    const last = page.at(-1);
    return {
      StreamInfoList: page.map(infoOf),
      NextToken:
        last === undefined || rest.length === page.length
          ? undefined
          : pageTokens.make('ListStreams', { after: last.name }),
    };
  },
});

export const updateStream = defineOperation({
  name: 'UpdateStream',
  path: '/updateStream',
  input: structure({
    ...streamTarget,
    CurrentVersion: required(version),
    DeviceName: optional(deviceName),
    MediaType: optional(mediaType),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { DeviceName, MediaType, CurrentVersion } = input;
    await streams.change(input, CurrentVersion, ({ facts }) => ({
      ...facts,
      ...(DeviceName === undefined ? {} : { deviceName: DeviceName }),
      ...(MediaType === undefined ? {} : { mediaType: MediaType }),
    }));
    return {};
  },
});

export const updateDataRetention = defineOperation({
  name: 'UpdateDataRetention',
  path: '/updateDataRetention',
  input: structure({
    ...streamTarget,
    CurrentVersion: required(version),
    Operation: required(choice(['INCREASE_DATA_RETENTION', 'DECREASE_DATA_RETENTION'])),
    DataRetentionChangeInHours: required(integer({ min: 1 })),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const sign = input.Operation === 'INCREASE_DATA_RETENTION' ? 1 : -1;
    await streams.change(input, input.CurrentVersion, (stream) => {
      const hours = retentionHoursOf(stream) + sign * input.DataRetentionChangeInHours;
      checkRetention(hours);
      return streams.cameras.setRetention(stream, hours);
    });
    return {};
  },
});

export const deleteStream = defineOperation({
  name: 'DeleteStream',
  path: '/deleteStream',
  input: structure({ StreamARN: required(streamArn), CurrentVersion: optional(version) }),
  resources: (input, { streams }) => streams.arnOf(input),
  run: (input, { streams }) =>
    streams.inTurn(async () => {
      const stream = await streams.find(input);
      checkVersion(stream, input.CurrentVersion);
      if (streams.cameras.isConfigured(stream.name)) {
        const message = `${stream.name} is a camera of the configuration: take it out there first.`;
        throw new KinesisVideoError('ResourceInUseException', message);
      }
      await streams.cameras.remove(stream.name);
      return {};
    }),
});

export const describeStreamStorageConfiguration = defineOperation({
  name: 'DescribeStreamStorageConfiguration',
  path: '/describeStreamStorageConfiguration',
  input: structure(streamTarget),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const { name, arn, facts } = await streams.find(input);
    const DefaultStorageTier = facts.storageTier ?? 'HOT';
    return { StreamName: name, StreamARN: arn, StreamStorageConfiguration: { DefaultStorageTier } };
  },
});

export const updateStreamStorageConfiguration = defineOperation({
  name: 'UpdateStreamStorageConfiguration',
  path: '/updateStreamStorageConfiguration',
  input: structure({
    ...streamTarget,
    CurrentVersion: required(version),
    StreamStorageConfiguration: required(storage),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams }) {
    const storageTier = input.StreamStorageConfiguration.DefaultStorageTier;
    await streams.change(input, input.CurrentVersion, ({ facts }) => ({ ...facts, storageTier }));
    return {};
  },
});

export const getDataEndpoint = defineOperation({
  name: 'GetDataEndpoint',
  path: '/getDataEndpoint',
  input: structure({
    ...streamTarget,
    APIName: required(
      choice([
        'PUT_MEDIA',
        'GET_MEDIA',
        'LIST_FRAGMENTS',
        'GET_MEDIA_FOR_FRAGMENT_LIST',
        'GET_HLS_STREAMING_SESSION_URL',
        'GET_DASH_STREAMING_SESSION_URL',
        'GET_CLIP',
        'GET_IMAGES',
      ]),
    ),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams, endpoint }) {
    await streams.find(input);
    return { DataEndpoint: endpoint };
  },
});

function infoOf(stream: VideoStream): object {
  const { name, arn, version: current, camera, facts } = stream;
  return {
    DeviceName: facts.deviceName,
    StreamName: name,
    StreamARN: arn,
    MediaType: facts.mediaType,
    KmsKeyId: facts.kmsKeyId,
    Version: current,
    Status: 'ACTIVE',
    CreationTime: new Date(camera.createdMs),
    DataRetentionInHours: retentionHoursOf(stream),
  };
}

/** @throws KinesisVideoError */
function checkRetention(hours: number): void {
  if (hours >= 0 && hours <= retentionHoursMax) return;
  throw invalid(`Data is kept for 0 to ${retentionHoursMax} hours, not ${hours}.`);
}
