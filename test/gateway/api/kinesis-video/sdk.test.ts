/** The JavaScript SDK asks for streams, fragments and media, signatures checked. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import * as control from '@aws-sdk/client-kinesis-video';
import * as archived from '@aws-sdk/client-kinesis-video-archived-media';
import * as live from '@aws-sdk/client-kinesis-video-media';
import { bytesOf, camera, packetsIn, readerKey, serveKinesisVideo } from './support.ts';

const framesPerSecond = 25;
/** Of the footage: fragments of two count. */
const count = 6;
const StreamName = camera;

/** Reads until so many documents have come, and leaves. */
async function documentsOf(payload: unknown, documents: number): Promise<string> {
  const stream = payload as Readable;
  let text = '';
  for await (const part of stream) {
    text += (part as Buffer).toString('latin1');
    if (text.split('AWS_KINESISVIDEO_CONTINUATION_TOKEN').length > documents) break;
  }
  if (!stream.destroyed) stream.destroy();
  if (!stream.closed) await once(stream, 'close');
  return text;
}

const wholeRange = {
  StartTimestamp: new Date(Date.now() - 3_600_000),
  EndTimestamp: new Date(Date.now() + 3_600_000),
};

test('the control plane does what it says, and keeps it', async (t) => {
  const box = await serveKinesisVideo(t);
  const { control: client } = box.clients();
  const described = async (name: string): Promise<control.StreamInfo> => {
    const { StreamInfo } = await client.send(
      new control.DescribeStreamCommand({ StreamName: name }),
    );
    assert.ok(StreamInfo);
    return StreamInfo;
  };
  const configured = await described(camera);
  assert.equal(configured.DataRetentionInHours, 168);
  assert.equal(configured.Status, 'ACTIVE');
  const { StreamARN } = await client.send(
    new control.CreateStreamCommand({
      ...{ StreamName: 'dock', DeviceName: 'crane', MediaType: 'video/h264' },
      ...{ DataRetentionInHours: 24, Tags: { site: 'north' } },
    }),
  );
  assert.match(StreamARN ?? '', /^arn:aws:kinesisvideo:us-east-1:\d{12}:stream\/dock\/\d{13}$/);
  await assert.rejects(client.send(new control.CreateStreamCommand({ StreamName: 'dock' })), {
    name: 'ResourceInUseException',
  });
  assert.deepEqual(box.running(), [camera, 'dock']);
  const { StreamInfoList } = await client.send(new control.ListStreamsCommand({ MaxResults: 1 }));
  assert.deepEqual(
    StreamInfoList?.map((stream) => stream.StreamName),
    ['dock'],
  );
  const condition = { ComparisonOperator: 'BEGINS_WITH', ComparisonValue: 'ga' } as const;
  const begun = await client.send(
    new control.ListStreamsCommand({ StreamNameCondition: condition }),
  );
  assert.deepEqual(
    begun.StreamInfoList?.map((stream) => stream.StreamName),
    [camera],
  );

  const first = await described('dock');
  const change = { StreamARN, CurrentVersion: first.Version, MediaType: 'video/h265' };
  await client.send(new control.UpdateStreamCommand(change));
  await assert.rejects(client.send(new control.UpdateStreamCommand(change)), {
    name: 'VersionMismatchException',
  });
  for (const name of ['dock', camera]) {
    await client.send(
      new control.UpdateDataRetentionCommand({
        ...{ StreamName: name, CurrentVersion: (await described(name)).Version },
        ...{ Operation: 'INCREASE_DATA_RETENTION', DataRetentionChangeInHours: 2 },
      }),
    );
  }
  await client.send(new control.TagStreamCommand({ StreamARN, Tags: { floor: '2' } }));
  await client.send(
    new control.TagResourceCommand({ ResourceARN: StreamARN, Tags: [{ Key: 'a', Value: '' }] }),
  );
  await client.send(new control.UntagStreamCommand({ StreamARN, TagKeyList: ['floor'] }));
  await client.send(
    new control.UntagResourceCommand({ ResourceARN: StreamARN, TagKeyList: ['a'] }),
  );
  const ImageGenerationConfiguration: control.ImageGenerationConfiguration = {
    Status: 'ENABLED',
    ImageSelectorType: 'SERVER_TIMESTAMP',
    SamplingInterval: 3_000,
    DestinationConfig: { Uri: 's3://bucket/images', DestinationRegion: 'us-east-1' },
    Format: 'JPEG',
    FormatConfig: { JPEGQuality: '60' },
    WidthPixels: 320,
  };
  await client.send(
    new control.UpdateImageGenerationConfigurationCommand({
      StreamARN,
      ImageGenerationConfiguration,
    }),
  );
  const NotificationConfiguration = {
    Status: 'DISABLED',
    DestinationConfig: { Uri: 'sns://topic' },
  } as const;
  await client.send(
    new control.UpdateNotificationConfigurationCommand({ StreamARN, NotificationConfiguration }),
  );
  await client.send(
    new control.UpdateStreamStorageConfigurationCommand({
      ...{ StreamARN, CurrentVersion: (await described('dock')).Version },
      StreamStorageConfiguration: { DefaultStorageTier: 'WARM' },
    }),
  );
  const before = await described('dock');
  assert.equal(before.MediaType, 'video/h265');
  assert.equal(before.DeviceName, 'crane');
  assert.equal(before.DataRetentionInHours, 26);
  assert.equal((await described(camera)).DataRetentionInHours, 170);
  const { Tags } = await client.send(new control.ListTagsForStreamCommand({ StreamARN }));
  assert.deepEqual(Tags, { site: 'north' });
  const ofResource = await client.send(
    new control.ListTagsForResourceCommand({ ResourceARN: StreamARN }),
  );
  assert.deepEqual(ofResource.Tags, { site: 'north' });
  const images = await client.send(
    new control.DescribeImageGenerationConfigurationCommand({ StreamARN }),
  );
  assert.deepEqual(images.ImageGenerationConfiguration, ImageGenerationConfiguration);
  const notices = await client.send(
    new control.DescribeNotificationConfigurationCommand({ StreamARN }),
  );
  assert.deepEqual(notices.NotificationConfiguration, NotificationConfiguration);
  const storage = await client.send(
    new control.DescribeStreamStorageConfigurationCommand({ StreamARN }),
  );
  assert.equal(storage.StreamStorageConfiguration?.DefaultStorageTier, 'WARM');
  const { DataEndpoint } = await client.send(
    new control.GetDataEndpointCommand({ StreamARN, APIName: 'GET_MEDIA' }),
  );
  assert.equal(DataEndpoint, box.url);

  // A stream that was made goes with its footage; one of the configuration is the configuration's.
  await client.send(new control.DeleteStreamCommand({ StreamARN, CurrentVersion: before.Version }));
  await assert.rejects(described('dock'), { name: 'ResourceNotFoundException' });
  assert.deepEqual(box.running(), [camera]);
  await assert.rejects(
    client.send(new control.DeleteStreamCommand({ StreamARN: configured.StreamARN })),
    { name: 'ResourceInUseException' },
  );
});

test('fragments are listed by either time, and sent by number or from anywhere', async (t) => {
  const box = await serveKinesisVideo(t);
  const clients = box.clients();
  const list = async (
    range: typeof wholeRange,
    FragmentSelectorType: 'PRODUCER_TIMESTAMP' | 'SERVER_TIMESTAMP' = 'PRODUCER_TIMESTAMP',
  ): Promise<archived.Fragment[]> => {
    const found: archived.Fragment[] = [];
    let NextToken: string | undefined;
    do {
      const page = await clients.archived.send(
        new archived.ListFragmentsCommand({
          ...{ StreamName, MaxResults: 4, NextToken },
          FragmentSelector: { FragmentSelectorType, TimestampRange: range },
        }),
      );
      found.push(...(page.Fragments ?? []));
      ({ NextToken } = page);
    } while (NextToken !== undefined);
    return found;
  };
  const all = await list(wholeRange);
  assert.equal(all.length, count);
  assert.deepEqual(await list(wholeRange, 'SERVER_TIMESTAMP'), all);
  const starts = all.map(({ ProducerTimestamp }) => ProducerTimestamp?.getTime() ?? 0);
  assert.deepEqual(
    starts,
    box.fragments.map(({ startUs }) => Math.round(startUs / 1000)),
  );
  // The range holds the starts of fragments, both ends included.
  const [second = 0, , fourth = 0] = starts.slice(1);
  const some = { StartTimestamp: new Date(second), EndTimestamp: new Date(fourth) };
  assert.deepEqual(await list(some), all.slice(1, 4));
  const arrived = all.map(({ ServerTimestamp }) => ServerTimestamp?.getTime() ?? 0);
  assert.deepEqual(
    arrived.map((ms, index) => ms - (starts[index] ?? 0)),
    Array.from({ length: count }, () => box.delayMs),
  );
  assert.deepEqual(await list(some, 'SERVER_TIMESTAMP'), []);

  const numbers = all.map(({ FragmentNumber }) => FragmentNumber ?? '');
  const chosen = [numbers[4] ?? '', numbers[1] ?? ''];
  const { Payload, ContentType } = await clients.archived.send(
    new archived.GetMediaForFragmentListCommand({ StreamName, Fragments: chosen }),
  );
  assert.equal(ContentType, 'video/webm');
  const media = await bytesOf(Payload);
  const found = media.toString('latin1').match(/\d{47}/g);
  assert.deepEqual(found, chosen);
  const ebml = Buffer.from('1a45dfa3', 'hex');
  const document = media.subarray(0, media.indexOf(ebml, 4));
  assert.equal(await packetsIn(document), 2 * framesPerSecond);
  await assert.rejects(
    clients.archived.send(
      new archived.GetMediaForFragmentListCommand({ StreamName, Fragments: ['77'] }),
    ),
    { name: 'ResourceNotFoundException' },
  );

  const get = async (
    StartSelector: live.StartSelector,
    documents: number,
  ): Promise<readonly string[]> => {
    const answer = await clients.live.send(new live.GetMediaCommand({ StreamName, StartSelector }));
    const text = await documentsOf(answer.Payload, documents);
    return [...text.matchAll(/FRAGMENT_NUMBERD.{1,3}(\d{47})/gs)].map(([, number = '']) => number);
  };
  assert.deepEqual(await get({ StartSelectorType: 'EARLIEST' }, count), numbers);
  assert.deepEqual(
    await get({ StartSelectorType: 'FRAGMENT_NUMBER', AfterFragmentNumber: numbers[2] }, 3),
    numbers.slice(3),
  );
  assert.deepEqual(
    await get({ StartSelectorType: 'CONTINUATION_TOKEN', ContinuationToken: numbers[3] }, 2),
    numbers.slice(4),
  );
  assert.deepEqual(
    await get({ StartSelectorType: 'PRODUCER_TIMESTAMP', StartTimestamp: new Date(second) }, 5),
    numbers.slice(1),
  );
  assert.deepEqual(
    await get({ StartSelectorType: 'SERVER_TIMESTAMP', StartTimestamp: new Date(second) }, count),
    numbers,
  );
  // What is sent while somebody gets it arrives as it is recorded.
  const [now] = await Promise.all([
    get({ StartSelectorType: 'NOW' }, count),
    box.watched().then(() => box.record()),
  ]);
  const later = (await list(wholeRange)).map(({ FragmentNumber }) => FragmentNumber);
  assert.deepEqual(now, later.slice(-now.length));
  assert.equal(now.length, count);
  assert.ok(now.every((number) => !numbers.includes(number)));
});

test('a key may do what its policy says and no more', async (t) => {
  const box = await serveKinesisVideo(t);
  const clients = box.clients(readerKey);
  const FragmentSelector: archived.FragmentSelector = {
    FragmentSelectorType: 'PRODUCER_TIMESTAMP',
    TimestampRange: wholeRange,
  };
  const { Fragments } = await clients.archived.send(
    new archived.ListFragmentsCommand({ StreamName, FragmentSelector }),
  );
  assert.equal(Fragments?.length, count);
  const refused = { name: 'AccessDeniedException', $metadata: { httpStatusCode: 403 } };
  const denied = async (asked: Promise<unknown>): Promise<void> => {
    await assert.rejects(asked, ({ name, message }: Error) => {
      assert.equal(name, refused.name);
      return /is not authorized to perform: kinesisvideo:\w+ on resource/.test(message);
    });
  };
  await denied(clients.control.send(new control.DescribeStreamCommand({ StreamName })));
  await denied(clients.control.send(new control.ListStreamsCommand({})));
  await denied(
    clients.live.send(
      new live.GetMediaCommand({ StreamName, StartSelector: { StartSelectorType: 'NOW' } }),
    ),
  );
  // Neither does it learn which streams there are.
  await denied(
    clients.archived.send(
      new archived.ListFragmentsCommand({ StreamName: 'none', FragmentSelector }),
    ),
  );
  const wrong = box.clients({ ...readerKey, secretAccessKey: 'guessed' });
  await assert.rejects(
    wrong.archived.send(new archived.ListFragmentsCommand({ StreamName, FragmentSelector })),
    { name: 'InvalidSignatureException' },
  );
});
