/** Every operation of Kinesis Video, as a client asks for it, and what is expected of the answer. */
import assert from 'node:assert/strict';
import { numbersOf } from '../../gateway/media/clock-footage.ts';
import type { Client } from '../aws/clients.ts';

const selectorType = 'PRODUCER_TIMESTAMP';
const iso = (ms: number): string => new Date(ms).toISOString();
const namesRefusal = (name: string) => (error: Error) => error.name === name;

interface StreamInfo {
  readonly StreamARN: string;
  readonly Version: string;
  readonly Status: string;
  readonly DeviceName: string;
  readonly DataRetentionInHours: number;
}

async function describe(client: Client, StreamName: string): Promise<StreamInfo> {
  const { StreamInfo } = await client.ask<{ StreamInfo: StreamInfo }>('DescribeStream', {
    StreamName,
  });
  return StreamInfo;
}

const images = {
  ...{ Status: 'ENABLED', ImageSelectorType: 'SERVER_TIMESTAMP', SamplingInterval: 3_000 },
  ...{ Format: 'JPEG', DestinationConfig: { Uri: 's3://bucket', DestinationRegion: 'us-east-1' } },
};
const notices = { Status: 'ENABLED', DestinationConfig: { Uri: 'sns://topic' } };

/** Makes a stream and changes all that can be changed of it. */
export async function makeStream(client: Client, StreamName: string, url: string): Promise<void> {
  const ask = client.ask.bind(client);
  const created = { StreamName, DataRetentionInHours: 24, Tags: { site: 'north' } };
  const { StreamARN } = await ask<{ StreamARN: string }>('CreateStream', created);
  await assert.rejects(ask('CreateStream', created), namesRefusal('ResourceInUseException'));
  const { Version: CurrentVersion, ...first } = await describe(client, StreamName);
  assert.deepEqual([first.StreamARN, first.Status], [StreamARN, 'ACTIVE']);
  const change = { StreamARN, CurrentVersion, DeviceName: 'crane' };
  await ask('UpdateStream', change);
  await assert.rejects(ask('UpdateStream', change), namesRefusal('VersionMismatchException'));
  await ask('UpdateDataRetention', {
    ...{ StreamName, CurrentVersion: (await describe(client, StreamName)).Version },
    ...{ Operation: 'INCREASE_DATA_RETENTION', DataRetentionChangeInHours: 2 },
  });
  await ask('TagStream', { StreamName, Tags: { floor: '2' } });
  await ask('TagResource', { ResourceARN: StreamARN, Tags: [{ Key: 'a', Value: 'b' }] });
  await ask('UntagStream', { StreamName, TagKeyList: ['floor'] });
  await ask('UntagResource', { ResourceARN: StreamARN, TagKeyList: ['a'] });
  await ask('UpdateImageGenerationConfiguration', {
    ...{ StreamName, ImageGenerationConfiguration: images },
  });
  await ask('UpdateNotificationConfiguration', {
    ...{ StreamName, NotificationConfiguration: notices },
  });
  await ask('UpdateStreamStorageConfiguration', {
    ...{ StreamName, CurrentVersion: (await describe(client, StreamName)).Version },
    StreamStorageConfiguration: { DefaultStorageTier: 'WARM' },
  });
  const StreamNameCondition = { ComparisonOperator: 'BEGINS_WITH', ComparisonValue: StreamName };
  const listed = await ask<{ StreamInfoList: readonly { StreamName: string }[] }>('ListStreams', {
    StreamNameCondition,
  });
  assert.deepEqual(
    listed.StreamInfoList.map((stream) => stream.StreamName),
    [StreamName],
  );
  for (const APIName of ['GET_MEDIA', 'PUT_MEDIA', 'LIST_FRAGMENTS', 'GET_CLIP']) {
    const { DataEndpoint } = await ask('GetDataEndpoint', { StreamName, APIName });
    assert.equal(DataEndpoint, url);
  }
}

/** What was made is as it was made. */
export async function findStream(client: Client, StreamName: string): Promise<void> {
  const ask = client.ask.bind(client);
  const { StreamARN, ...info } = await describe(client, StreamName);
  assert.deepEqual([info.DataRetentionInHours, info.DeviceName], [26, 'crane']);
  const ofStream = await ask('ListTagsForStream', { StreamName });
  const ofResource = await ask('ListTagsForResource', { ResourceARN: StreamARN });
  assert.deepEqual([ofStream['Tags'], ofResource['Tags']], [{ site: 'north' }, { site: 'north' }]);
  const generated = await ask('DescribeImageGenerationConfiguration', { StreamName });
  assert.deepEqual(generated['ImageGenerationConfiguration'], images);
  const notified = await ask('DescribeNotificationConfiguration', { StreamName });
  assert.deepEqual(notified['NotificationConfiguration'], notices);
  const stored = await ask('DescribeStreamStorageConfiguration', { StreamName });
  assert.deepEqual(stored['StreamStorageConfiguration'], { DefaultStorageTier: 'WARM' });
}

/**
 * Reads footage in every way: four fragments of 25 numbered pictures, from `startMs` on.
 * @returns the numbers of the fragments
 */
export async function readStream(
  client: Client,
  StreamName: string,
  startMs: number,
): Promise<readonly string[]> {
  const ask = client.ask.bind(client);
  const range = (fromMs: number, toMs: number) => ({
    FragmentSelectorType: selectorType,
    TimestampRange: { StartTimestamp: iso(startMs + fromMs), EndTimestamp: iso(startMs + toMs) },
  });
  const numbers: string[] = [];
  let NextToken: string | undefined;
  do {
    const page = await ask<{ Fragments: { FragmentNumber: string }[]; NextToken?: string }>(
      'ListFragments',
      { StreamName, MaxResults: 3, NextToken, FragmentSelector: range(0, 60_000) },
    );
    numbers.push(...page.Fragments.map(({ FragmentNumber }) => FragmentNumber));
    ({ NextToken } = page);
  } while (NextToken !== undefined);
  assert.equal(numbers.length, 4);
  assert.deepEqual([...numbers].sort(), numbers);
  assert.ok(numbers.every((number) => /^\d{47}$/.test(number)));

  const media = await payloadOf(
    ask('GetMediaForFragmentList', { StreamName, Fragments: numbers.slice(0, 2) }),
  );
  assert.deepEqual(fragmentsIn(media), numbers.slice(0, 2));

  const playback = { StreamName, PlaybackMode: 'ON_DEMAND' };
  const hls = await ask('GetHLSStreamingSessionURL', {
    ...{ ...playback, HLSFragmentSelector: range(0, 60_000) },
  });
  assert.match(await textOf(hls['HLSStreamingSessionURL']), /#EXT-X-STREAM-INF/);
  const dash = await ask('GetDASHStreamingSessionURL', {
    ...{ ...playback, DASHFragmentSelector: range(0, 60_000) },
  });
  assert.match(await textOf(dash['DASHStreamingSessionURL']), /<MPD/);

  // Whole fragments, of those that begin in the range; and the very pictures of two instants. boto3
  // leaves out what is less than a second.
  const clip = await payloadOf(
    ask('GetClip', { StreamName, ClipFragmentSelector: range(1_000, 2_000) }),
  );
  assert.deepEqual(
    await numbersOf(['-i', 'pipe:0'], clip),
    Array.from({ length: 50 }, (_, index) => 25 + index),
  );
  const { Images } = await ask<{ Images: readonly { ImageContent: string }[] }>('GetImages', {
    ...{ StreamName, ImageSelectorType: selectorType, Format: 'PNG', SamplingInterval: 1_000 },
    ...{ StartTimestamp: iso(startMs + 1_000), EndTimestamp: iso(startMs + 2_000) },
  });
  const pictures = Images.map(({ ImageContent }) => Buffer.from(ImageContent, 'base64'));
  const shown = await numbersOf(['-f', 'image2pipe', '-i', 'pipe:0'], Buffer.concat(pictures));
  assert.deepEqual(shown, [25, 50]);
  return numbers;
}

/** Gets the media of a stream behind its first fragment, as far as the client wants it. */
export async function getMedia(
  client: Client,
  StreamName: string,
  numbers: readonly string[],
): Promise<readonly string[]> {
  const StartSelector = {
    ...{ StartSelectorType: 'FRAGMENT_NUMBER', AfterFragmentNumber: numbers[0] },
  };
  return fragmentsIn(await payloadOf(client.ask('GetMedia', { StreamName, StartSelector })));
}

export async function deleteStream(client: Client, StreamName: string): Promise<void> {
  const { StreamARN, Version: CurrentVersion } = await describe(client, StreamName);
  await client.ask('DeleteStream', { StreamARN, CurrentVersion });
  await assert.rejects(describe(client, StreamName), namesRefusal('ResourceNotFoundException'));
}

async function payloadOf(answer: Promise<Readonly<Record<string, unknown>>>): Promise<Buffer> {
  return Buffer.from(String((await answer)['Payload']), 'base64');
}

/** The numbers that media tell of their fragments. */
function fragmentsIn(media: Buffer): readonly string[] {
  const tags = media.toString('latin1').matchAll(/FRAGMENT_NUMBERD.{1,3}(\d{47})/gs);
  return [...tags].map(([, number = '']) => number);
}

async function textOf(url: unknown): Promise<string> {
  return (await fetch(String(url))).text();
}
