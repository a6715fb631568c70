/** GetMedia: from somewhere in the past, or from now, and on as it is recorded. */
import {
  choice,
  optional,
  required,
  structure,
  text,
  timestamp,
  type Described,
} from '../../aws/shapes.ts';
import type { VideoStore } from '../../../../storage/model.ts';
import { invalid } from '../errors.ts';
import { parseFragmentNumber } from '../fragment-numbers.ts';
import { fragmentNumberText, streamTarget } from '../members.ts';
import { defineOperation, type CallContext } from '../operation.ts';
import { endOfTimeMs, selectFragments, type Origin } from '../selection.ts';

const startSelector = structure({
  StartSelectorType: required(
    choice([
      'FRAGMENT_NUMBER',
      'SERVER_TIMESTAMP',
      'PRODUCER_TIMESTAMP',
      'NOW',
      'EARLIEST',
      'CONTINUATION_TOKEN',
    ]),
  ),
  AfterFragmentNumber: optional(fragmentNumberText),
  StartTimestamp: optional(timestamp()),
  ContinuationToken: optional(text({ pattern: '^[a-zA-Z0-9_\\.\\-]+$', min: 1, max: 128 })),
});
type StartSelector = Described<typeof startSelector>;

const beforeAll = 0;

export const getMedia = defineOperation({
  name: 'GetMedia',
  path: '/getMedia',
  input: structure({ ...streamTarget, StartSelector: required(startSelector) }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, context) {
    const { name } = await context.streams.find(input);
    return context.media.live(name, await startOf(name, input.StartSelector, context));
  },
});

/** The number of a fragment, behind which the answer begins. @throws KinesisVideoError */
async function startOf(
  camera: string,
  start: StartSelector,
  context: CallContext,
): Promise<number> {
  const { StartSelectorType: type } = start;
  switch (type) {
    case 'EARLIEST':
      return beforeAll;
    case 'NOW':
      return nowOf(context.video, camera);
    case 'FRAGMENT_NUMBER':
      return numbered(start.AfterFragmentNumber, 'AfterFragmentNumber');
    case 'CONTINUATION_TOKEN':
      return numbered(start.ContinuationToken, 'ContinuationToken');
    case 'PRODUCER_TIMESTAMP':
    case 'SERVER_TIMESTAMP':
      return timed(camera, type, start.StartTimestamp, context.video);
  }
}

function numbered(given: string | undefined, member: string): number {
  const number = given === undefined ? null : parseFragmentNumber(given);
  if (number !== null) return number;
  throw invalid(
    given === undefined
      ? `${member} is needed with this StartSelectorType.`
      : `${member} is none of this stream's: ${given}`,
  );
}

async function timed(
  camera: string,
  origin: Origin,
  fromMs: number | undefined,
  video: VideoStore,
): Promise<number> {
  if (fromMs === undefined) throw invalid('StartTimestamp is needed with this StartSelectorType.');
  const selection = { origin, fromMs: Math.max(0, fromMs), toMs: endOfTimeMs };
  const [first] = (await selectFragments(video, camera, selection, 1)).fragments;
  return first === undefined ? latestOf(video, camera) : first.number - 1;
}

async function latestOf(video: VideoStore, camera: string): Promise<number> {
  const [latest] = await video.latestFragments(camera, 1);
  return latest?.number ?? beforeAll;
}

/** The newest fragment comes first where its run goes on: it is what there is of now. */
async function nowOf(video: VideoStore, camera: string): Promise<number> {
  const [latest] = await video.latestFragments(camera, 1);
  if (latest === undefined) return beforeAll;
  const runs = await video.runs(camera, latest.startUs, latest.startUs + 1);
  const goesOn = runs.find(({ id }) => id === latest.runId)?.endUs === null;
  return goesOn ? latest.number - 1 : latest.number;
}
