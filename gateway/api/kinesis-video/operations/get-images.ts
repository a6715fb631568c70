/** GetImages: pictures at even distances in a stretch of time. */
import type { Fragment, VideoStore } from '../../../../storage/model.ts';
import { ImageError, type ImageOptions } from '../../../media/images.ts';
import {
  choice,
  integer,
  optional,
  required,
  structure,
  textMap,
  timestamp,
} from '../../aws/shapes.ts';
import { invalid, KinesisVideoError } from '../errors.ts';
import { origin, pageToken, streamTarget } from '../members.ts';
import { defineOperation, type CallContext } from '../operation.ts';
import { selectFragments, timestampMs, type Origin } from '../selection.ts';
import { checkFormat, checkKept } from './configurations.ts';

const intervalMsDefault = 3_000;
const intervalMsMin = 200;
const rangeMsMax = 300_000;
const imagesDefault = 25;
const imagesMax = 100;
/** How long before an instant the fragment may have begun that holds it. */
const fragmentMsMax = 60_000;
const fragmentsMax = 5_000;
const contentCharactersMax = 6_291_456;

export const getImages = defineOperation({
  name: 'GetImages',
  path: '/getImages',
  input: structure({
    ...streamTarget,
    ImageSelectorType: required(origin),
    StartTimestamp: required(timestamp()),
    EndTimestamp: required(timestamp()),
    SamplingInterval: optional(integer({})),
    Format: required(choice(['JPEG', 'PNG'])),
    FormatConfig: optional(
      textMap({ min: 1, max: 1, keyLengths: [1, 128], valueLengths: [0, 256] }),
    ),
    WidthPixels: optional(integer({ min: 1, max: 3840 })),
    HeightPixels: optional(integer({ min: 1, max: 2160 })),
    MaxResults: optional(integer({ min: 1, max: imagesMax })),
    NextToken: optional(pageToken),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, context) {
    const stream = await context.streams.find(input);
    checkKept(stream);
    const { StartTimestamp: startMs, EndTimestamp: endMs, ImageSelectorType } = input;
    const { SamplingInterval: intervalMs = intervalMsDefault, MaxResults = imagesDefault } = input;
    checkFormat(input.FormatConfig);
    if (intervalMs < intervalMsMin)
      throw invalid(`SamplingInterval is at least ${intervalMsMin} ms.`);
    if (startMs > endMs) throw invalid('StartTimestamp must not be after EndTimestamp.');
    if (endMs - startMs > rangeMsMax) throw invalid('Images are made of 300 s at most at a time.');
    const firstMs =
      input.NextToken === undefined
        ? startMs
        : (context.pageTokens.open('GetImages', input.NextToken) as { nextMs: number }).nextMs;
    const instants: number[] = [];
    let atMs = firstMs;
    for (; atMs <= endMs && instants.length < MaxResults; atMs += intervalMs) instants.push(atMs);
    const found = await around(context.video, stream.name, ImageSelectorType, firstMs, atMs);
    const images: object[] = [];
    for (const instantMs of instants) {
      images.push(await imageOf(instantMs, found, input, context));
    }
    return {
      Images: images,
      NextToken: atMs > endMs ? undefined : context.pageTokens.make('GetImages', { nextMs: atMs }),
    };
  },
});

interface Wanted {
  readonly ImageSelectorType: Origin;
  readonly Format: 'JPEG' | 'PNG';
  readonly FormatConfig?: ReadonlyMap<string, string>;
  readonly WidthPixels?: number;
  readonly HeightPixels?: number;
}

async function around(
  video: VideoStore,
  camera: string,
  by: Origin,
  fromMs: number,
  toMs: number,
): Promise<readonly Fragment[]> {
  const selection = { origin: by, fromMs: Math.max(0, fromMs - fragmentMsMax), toMs };
  return (await selectFragments(video, camera, selection, fragmentsMax)).fragments;
}

async function imageOf(
  instantMs: number,
  fragments: readonly Fragment[],
  wanted: Wanted,
  { images, video }: CallContext,
): Promise<object> {
  const TimeStamp = new Date(instantMs);
  const startOf = (fragment: Fragment): number => timestampMs(fragment, wanted.ImageSelectorType);
  const fragment = fragments.findLast(
    (one) => startOf(one) <= instantMs && instantMs < startOf(one) + one.durationUs / 1000,
  );
  if (fragment === undefined) return { TimeStamp, Error: 'NO_MEDIA' };
  try {
    const atUs = fragment.startUs + (instantMs - startOf(fragment)) * 1000;
    const options = await optionsOf(fragment, wanted, video);
    const content = (await images.imageOf(fragment, atUs, options)).bytes.toString('base64');
    if (content.length > contentCharactersMax) return { TimeStamp, Error: 'MEDIA_ERROR' };
    return { TimeStamp, ImageContent: content };
  } catch (error) {
    if (error instanceof ImageError && error.code !== 'failed') {
      throw new KinesisVideoError('ServiceUnavailable', error.message, { cause: error });
    }
    return { TimeStamp, Error: 'MEDIA_ERROR' };
  }
}

/** The picture keeps its shape, and fits into both where both are given. */
async function optionsOf(
  { initId }: Fragment,
  { Format, FormatConfig, WidthPixels, HeightPixels }: Wanted,
  video: VideoStore,
): Promise<ImageOptions> {
  const { tracks } = await video.init(initId);
  const { width = 1, height = 1 } = tracks.find(({ kind }) => kind === 'video') ?? {};
  const byHeight = HeightPixels === undefined ? Infinity : (HeightPixels * width) / height;
  const wide = Math.max(1, Math.round(Math.min(WidthPixels ?? Infinity, byHeight)));
  const quality = FormatConfig?.get('JPEGQuality');
  return {
    format: Format === 'JPEG' ? 'jpeg' : 'png',
    ...(Number.isFinite(wide) ? { width: wide } : {}),
    ...(quality === undefined ? {} : { quality: Number(quality) }),
  };
}
