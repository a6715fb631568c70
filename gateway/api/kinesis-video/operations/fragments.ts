/** Fragments: found by time, and sent by number. */
import type { Fragment, VideoStore } from '../../../../storage/model.ts';
import { StorageError } from '../../../../storage/errors.ts';
import { integer, list, optional, required, structure } from '../../aws/shapes.ts';
import { invalid, notFound } from '../errors.ts';
import { fragmentNumber, parseFragmentNumber } from '../fragment-numbers.ts';
import { fragmentNumberText, fragmentSelector, pageToken, streamTarget } from '../members.ts';
import { defineOperation } from '../operation.ts';
import { producerMs, selectFragments, selectionOf, type Selection } from '../selection.ts';
import { checkKept } from './configurations.ts';

const listedMax = 1_000;
const listedDefault = 1_000;

interface Page {
  readonly camera: string;
  readonly selection: Selection;
  readonly fromUs: number;
}

export const listFragments = defineOperation({
  name: 'ListFragments',
  path: '/listFragments',
  input: structure({
    ...streamTarget,
    MaxResults: optional(integer({ min: 1, max: listedMax })),
    NextToken: optional(pageToken),
    FragmentSelector: optional(fragmentSelector),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams, video, pageTokens }) {
    const { MaxResults = listedDefault, NextToken, FragmentSelector } = input;
    const { name } = await streams.find(input);
    let page: Page | null = null;
    if (NextToken !== undefined) page = pageTokens.open('ListFragments', NextToken) as Page;
    else if (FragmentSelector === undefined) throw invalid('FragmentSelector is needed.');
    if (page !== null && page.camera !== name) throw invalid('NextToken is of another stream.');
    const selection =
      page === null && FragmentSelector !== undefined
        ? selectionOf(FragmentSelector)
        : page?.selection;
    if (selection === undefined) throw invalid('FragmentSelector is needed.');
    const fromUs = page?.fromUs ?? null;
    const { fragments, nextUs } = await selectFragments(video, name, selection, MaxResults, fromUs);
    return {
      Fragments: fragments.map(viewOf),
      NextToken:
        nextUs === null
          ? undefined
          : pageTokens.make('ListFragments', { camera: name, selection, fromUs: nextUs }),
    };
  },
});

export const getMediaForFragmentList = defineOperation({
  name: 'GetMediaForFragmentList',
  path: '/getMediaForFragmentList',
  input: structure({
    ...streamTarget,
    Fragments: required(list(fragmentNumberText, { min: 1, max: 1_000 })),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, { streams, video, media }) {
    const stream = await streams.find(input);
    checkKept(stream);
    const fragments: Fragment[] = [];
    for (const number of input.Fragments) {
      fragments.push(await fragmentOf(video, stream.name, number));
    }
    return media.list(fragments);
  },
});

/** @throws KinesisVideoError `ResourceNotFoundException` */
async function fragmentOf(video: VideoStore, camera: string, text: string): Promise<Fragment> {
  const number = parseFragmentNumber(text);
  const found = number === null ? null : await video.fragment(number).catch(goneIsNull);
  if (found?.camera === camera) return found;
  throw notFound(`The stream ${camera} has no fragment ${text}.`);
}

function goneIsNull(error: unknown): null {
  if (error instanceof StorageError && error.code === 'not-found') return null;
  throw error;
}

function viewOf(fragment: Fragment): object {
  return {
    FragmentNumber: fragmentNumber(fragment.number),
    FragmentSizeInBytes: fragment.plainBytes,
    ProducerTimestamp: new Date(producerMs(fragment)),
    ServerTimestamp: new Date(fragment.serverMs),
    FragmentLengthInMilliseconds: Math.round(fragment.durationUs / 1000),
  };
}
