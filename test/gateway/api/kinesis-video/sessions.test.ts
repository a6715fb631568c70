/** Streaming sessions, clips and images, as players and clients get them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import * as archived from '@aws-sdk/client-kinesis-video-archived-media';
import { Images } from '../../../../gateway/media/images.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { MemoryMetrics } from '../../../support/memory-metrics.ts';
import { ffmpegPath, needs } from '../../../support/tools.ts';
import { makeFootage } from '../hls/footage.ts';
import { bytesOf, camera, packetsIn, serveKinesisVideo, type Served } from './support.ts';

const run = promisify(execFile);
const StreamName = camera;
const framesPerSecond = 25;

type HlsInput = Omit<archived.GetHLSStreamingSessionURLCommandInput, 'StreamName'>;

function hlsUrl(box: Served, input: HlsInput): Promise<string> {
  const command = new archived.GetHLSStreamingSessionURLCommand({ StreamName, ...input });
  return box
    .clients()
    .archived.send(command)
    .then(({ HLSStreamingSessionURL }) => HLSStreamingSessionURL ?? '');
}

function rangeOf(box: Served, from: number, to: number): archived.HLSTimestampRange {
  const at = (index: number): Date =>
    new Date(Math.round((box.fragments[index]?.startUs ?? 0) / 1000));
  return { StartTimestamp: at(from), EndTimestamp: at(to) };
}

function onDemand(box: Served, from: number, to: number): HlsInput {
  return {
    PlaybackMode: 'ON_DEMAND',
    HLSFragmentSelector: {
      FragmentSelectorType: 'PRODUCER_TIMESTAMP',
      TimestampRange: rangeOf(box, from, to),
    },
  };
}

async function get(url: string | URL): Promise<string> {
  const response = await fetch(url);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text;
}

/** The media playlist behind a master playlist, and where it is. */
async function playlistOf(master: string): Promise<{ url: URL; text: string }> {
  const [path = ''] = (await get(master)).split('\n').filter((line) => /^[^#]/.test(line));
  const url = new URL(path, master);
  return { url, text: await get(url) };
}

function uris(text: string): readonly string[] {
  return text.split('\n').filter((line) => /^[^#]/.test(line));
}

/** The pictures that ffmpeg plays of an address. */
async function played(url: string): Promise<number> {
  const { stdout } = await run(
    'ffprobe',
    [
      ...['-v', 'error', '-count_frames', '-select_streams', 'v', '-of', 'csv=p=0'],
      ...['-show_entries', 'stream=nb_read_frames', url],
    ],
    { maxBuffer: 2 ** 24 },
  );
  return Number(stdout.trim().split('\n')[0]);
}

test('a range plays in both containers, whole, and says what it was asked to say', async (t) => {
  if (!needs(t, 'ffprobe')) return;
  const box = await serveKinesisVideo(t);
  for (const ContainerFormat of ['FRAGMENTED_MP4', 'MPEG_TS'] as const) {
    const master = await hlsUrl(box, {
      ...onDemand(box, 1, 4),
      ContainerFormat,
      DiscontinuityMode: 'NEVER',
      DisplayFragmentTimestamp: 'ALWAYS',
    });
    assert.match(
      await get(master),
      /BANDWIDTH=\d+,CODECS="avc1\.\w+,mp4a\.40\.2",RESOLUTION=160x120/,
    );
    const { text } = await playlistOf(master);
    assert.equal(uris(text).length, 4);
    assert.equal(text.match(/#EXT-X-DISCONTINUITY$/gm), null);
    assert.ok(text.endsWith('#EXT-X-ENDLIST\n'));
    const shown = [...text.matchAll(/PROGRAM-DATE-TIME:(.*)/g)].map(([, at = '']) =>
      Date.parse(at),
    );
    assert.deepEqual(
      shown,
      box.fragments.slice(1, 5).map(({ startUs }) => Math.round(startUs / 1000)),
    );
    assert.equal(text.includes('#EXT-X-MAP'), ContainerFormat === 'FRAGMENTED_MP4');
    assert.equal(await played(master), 4 * 2 * framesPerSecond, ContainerFormat);
  }
});

test('discontinuities are told always, never, or where something is missing', async (t) => {
  const box = await serveKinesisVideo(t);
  const other = await box.record(await makeFootage(4, '320x240'));
  const input = { ...onDemand(box, 0, 5), MaxMediaPlaylistFragmentResults: 20 };
  const until = new Date(Math.round((other.at(-1)?.startUs ?? 0) / 1000));
  const range = { ...rangeOf(box, 0, 5), EndTimestamp: until };
  const HLSFragmentSelector = { ...input.HLSFragmentSelector, TimestampRange: range };
  const cuts = async (DiscontinuityMode: archived.HLSDiscontinuityMode): Promise<number> => {
    const url = await hlsUrl(box, { ...input, HLSFragmentSelector, DiscontinuityMode });
    const { text } = await playlistOf(url);
    assert.equal(uris(text).length, 8);
    return text.match(/#EXT-X-DISCONTINUITY$/gm)?.length ?? 0;
  };
  assert.equal(await cuts('ALWAYS'), 7);
  assert.equal(await cuts('NEVER'), 0);
  assert.equal(await cuts('ON_DISCONTINUITY'), 1);
});

test('a live session goes on with what is recorded, its numbers without a leap', async (t) => {
  const box = await serveKinesisVideo(t);
  const url = await hlsUrl(box, { MaxMediaPlaylistFragmentResults: 3 });
  const first = await playlistOf(url);
  assert.equal(uris(first.text).length, 3);
  assert.ok(!first.text.includes('ENDLIST'));
  const sequence = (text: string): number => Number(/MEDIA-SEQUENCE:(\d+)/.exec(text)?.[1]);
  const added = await box.record(await makeFootage(4));
  assert.equal(added.length, 2);
  const text = await get(first.url);
  assert.equal(sequence(text) - sequence(first.text), added.length);
  const numbers = uris(text).map((uri) => Number(/FragmentNumber=(\d+)/.exec(uri)?.[1]));
  assert.deepEqual(
    numbers,
    [...box.fragments.slice(-1), ...added].map(({ number }) => number),
  );
});

test('a replay lists one fragment more each time that its duration has gone by', async (t) => {
  const clock = new ManualClock();
  const box = await serveKinesisVideo(t, { clock });
  const selector = { TimestampRange: rangeOf(box, 0, 5) };
  const url = await hlsUrl(box, {
    PlaybackMode: 'LIVE_REPLAY',
    HLSFragmentSelector: { ...selector, FragmentSelectorType: 'PRODUCER_TIMESTAMP' },
    MaxMediaPlaylistFragmentResults: 2,
  });
  const { url: playlist } = await playlistOf(url);
  const listed = async (): Promise<readonly number[]> =>
    uris(await get(playlist)).map((uri) => {
      const number = Number(/FragmentNumber=(\d+)/.exec(uri)?.[1]);
      return box.fragments.findIndex((fragment) => fragment.number === number);
    });
  assert.deepEqual(await listed(), [0, 1]);
  clock.advance(1_900);
  assert.deepEqual(await listed(), [0, 1]);
  clock.advance(200);
  assert.deepEqual(await listed(), [1, 2]);
  clock.advance(60_000);
  assert.deepEqual(await listed(), [4, 5]);
  assert.match(await get(playlist), /MEDIA-SEQUENCE:4[^]*#EXT-X-ENDLIST/);
});

test('a session opens its own fragments until it expires, and nobody makes another', async (t) => {
  const clock = new ManualClock();
  const box = await serveKinesisVideo(t, { clock });
  const master = await hlsUrl(box, { ...onDemand(box, 1, 2), Expires: 300 });
  const { url, text } = await playlistOf(master);
  const [uri = ''] = uris(text);
  const status = async (changed: (url: URL) => void): Promise<number> => {
    const asked = new URL(uri, url);
    changed(asked);
    const response = await fetch(asked);
    await response.arrayBuffer();
    return response.status;
  };
  assert.equal(await status(() => undefined), 200);
  const other = String(box.fragments[4]?.number);
  assert.equal(await status(({ searchParams }) => searchParams.set('FragmentNumber', other)), 404);
  const token = url.searchParams.get('SessionToken') ?? '';
  const middle = token.length >> 1;
  const forged = `${token.slice(0, middle)}${token[middle] === 'A' ? 'B' : 'A'}${token.slice(middle + 1)}`;
  for (const wrong of ['', 'x', forged]) {
    assert.equal(await status(({ searchParams }) => searchParams.set('SessionToken', wrong)), 403);
  }
  const dash = new URL('/dash/v1/getDASHManifest.mpd', url);
  dash.searchParams.set('SessionToken', token);
  assert.equal((await fetch(dash)).status, 403);
  clock.advance(299_000);
  assert.equal(await status(() => undefined), 200);
  clock.advance(1_000);
  assert.equal(await status(() => undefined), 403);
});

test('DASH plays whole, and names its fragments where it is asked to', async (t) => {
  if (!needs(t, 'ffprobe')) return;
  const box = await serveKinesisVideo(t);
  const { archived: client } = box.clients();
  const selector = {
    FragmentSelectorType: 'PRODUCER_TIMESTAMP',
    TimestampRange: rangeOf(box, 1, 4),
  } as const;
  const { DASHStreamingSessionURL: url = '' } = await client.send(
    new archived.GetDASHStreamingSessionURLCommand({
      ...{ StreamName, PlaybackMode: 'ON_DEMAND', DASHFragmentSelector: selector },
      ...{ DisplayFragmentNumber: 'ALWAYS', DisplayFragmentTimestamp: 'ALWAYS' },
    }),
  );
  const text = await get(url);
  const numbers = [...text.matchAll(/kvs:fn="(\d{47})"/g)].map(([, number]) => Number(number));
  assert.deepEqual(
    [...new Set(numbers)],
    box.fragments.slice(1, 5).map(({ number }) => number),
  );
  assert.match(text, /kvs:ts="\d{13}"/);
  assert.equal(await played(url), 4 * 2 * framesPerSecond);
  const { DASHStreamingSessionURL: live = '' } = await client.send(
    new archived.GetDASHStreamingSessionURLCommand({ StreamName }),
  );
  assert.match(await get(live), /type="dynamic"/);
});

test('a clip has whole fragments', async (t) => {
  if (!needs(t, 'ffprobe')) return;
  const box = await serveKinesisVideo(t);
  const { archived: client } = box.clients();
  const clip = (from: number, to: number): Promise<archived.GetClipCommandOutput> =>
    client.send(
      new archived.GetClipCommand({
        StreamName,
        ClipFragmentSelector: {
          FragmentSelectorType: 'PRODUCER_TIMESTAMP',
          TimestampRange: {
            StartTimestamp: new Date((box.fragments[from]?.startUs ?? 0) / 1000 - 1),
            EndTimestamp: new Date((box.fragments[to]?.startUs ?? 0) / 1000 + 700),
          },
        },
      }),
    );
  const { Payload, ContentType } = await clip(1, 3);
  assert.equal(ContentType, 'video/mp4');
  assert.equal(await packetsIn(await bytesOf(Payload)), 3 * 2 * framesPerSecond);
  const nothing = client.send(
    new archived.GetClipCommand({
      StreamName,
      ClipFragmentSelector: {
        FragmentSelectorType: 'SERVER_TIMESTAMP',
        TimestampRange: { StartTimestamp: new Date(1e12), EndTimestamp: new Date(1e12 + 1000) },
      },
    }),
  );
  await assert.rejects(nothing, { name: 'ResourceNotFoundException' });
});

test('images come by page, and where nothing was recorded it is said', async (t: TestContext) => {
  const made: Images[] = [];
  const box: Served = await serveKinesisVideo(t, {
    images: {
      imageOf: (fragment, atUs, options) => {
        const images = new Images({
          ...{ video: box.video, ffmpegPath, cpuShare: 1 },
          ...{ clock: new ManualClock(), metrics: new MemoryMetrics() },
        });
        made.push(images);
        return images.imageOf(fragment, atUs, options);
      },
    },
  });
  t.after(() => {
    for (const images of made) images.close();
  });
  const { archived: client } = box.clients();
  const startMs = Math.round((box.fragments[0]?.startUs ?? 0) / 1000);
  const page = (NextToken?: string): Promise<archived.GetImagesCommandOutput> =>
    client.send(
      new archived.GetImagesCommand({
        ...{ StreamName, ImageSelectorType: 'PRODUCER_TIMESTAMP', Format: 'JPEG', NextToken },
        ...{ StartTimestamp: new Date(startMs - 2_000), EndTimestamp: new Date(startMs + 2_000) },
        ...{ SamplingInterval: 2_000, MaxResults: 2, WidthPixels: 80 },
        FormatConfig: { JPEGQuality: '50' },
      }),
    );
  const first = await page();
  assert.deepEqual(
    first.Images?.map(({ TimeStamp, Error: error }) => [TimeStamp?.getTime(), error]),
    [
      [startMs - 2_000, 'NO_MEDIA'],
      [startMs, undefined],
    ],
  );
  const jpeg = Buffer.from(first.Images[1]?.ImageContent ?? '', 'base64');
  assert.equal(jpeg.subarray(0, 3).toString('hex'), 'ffd8ff');
  const rest = await page(first.NextToken);
  assert.equal(rest.Images?.length, 1);
  assert.equal(rest.NextToken, undefined);
});

test('what can not be is refused with the words of the model', async (t) => {
  const box = await serveKinesisVideo(t);
  const { archived: client } = box.clients();
  const refused = async (input: HlsInput, message: RegExp): Promise<void> => {
    await assert.rejects(hlsUrl(box, input), (error: Error) => {
      assert.equal(error.name, 'InvalidArgumentException');
      assert.match(error.message, message);
      return true;
    });
  };
  const range = rangeOf(box, 0, 1);
  await refused({ PlaybackMode: 'ON_DEMAND' }, /StartTimestamp is needed/);
  await refused(
    { PlaybackMode: 'LIVE', HLSFragmentSelector: { TimestampRange: range } },
    /not for LIVE/,
  );
  await refused({ Expires: 299 }, /Value '299' at 'expires' failed to satisfy constraint/);
  await refused({ MaxMediaPlaylistFragmentResults: 5_001 }, /less than or equal to 5000/);
  await assert.rejects(
    client.send(
      new archived.GetImagesCommand({
        ...{ StreamName, ImageSelectorType: 'PRODUCER_TIMESTAMP', Format: 'PNG' },
        ...{ StartTimestamp: new Date(0), EndTimestamp: new Date(300_001) },
      }),
    ),
    /300 s at most/,
  );
  await assert.rejects(
    client.send(new archived.ListFragmentsCommand({ StreamName, NextToken: 'forged' })),
    /Invalid NextToken/,
  );
});
