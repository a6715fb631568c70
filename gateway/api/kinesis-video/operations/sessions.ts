/** Streaming sessions: URLs with which players get playlists and media for a while. */
import type { Fragment } from '../../../../storage/model.ts';
import { choice, optional, structure } from '../../aws/shapes.ts';
import { invalid, notFound } from '../errors.ts';
import {
  listedFragments,
  playbackMode,
  sessionSeconds,
  sessionSelector,
  shown,
  streamTarget,
  type SessionSelector,
} from '../members.ts';
import { defineOperation, type CallContext } from '../operation.ts';
import { dashPath, hlsPath } from '../sessions/addresses.ts';
import type { PlaybackMode, Session } from '../sessions/tokens.ts';
import { endOfTimeMs, selectFragments } from '../selection.ts';
import type { StreamTarget } from '../streams.ts';
import { checkKept } from './configurations.ts';

const secondsDefault = 300;
const listedLive = 5;
const listedOnDemand = 1_000;
/** Room for what is placed before the fragment that is the first of a live session now. */
const roomUs = 3_600_000_000;

const common = {
  ...streamTarget,
  PlaybackMode: optional(playbackMode),
  DisplayFragmentTimestamp: optional(shown),
  Expires: optional(sessionSeconds),
};

export const getHlsStreamingSessionUrl = defineOperation({
  name: 'GetHLSStreamingSessionURL',
  path: '/getHLSStreamingSessionURL',
  input: structure({
    ...common,
    HLSFragmentSelector: optional(sessionSelector),
    ContainerFormat: optional(choice(['FRAGMENTED_MP4', 'MPEG_TS'])),
    DiscontinuityMode: optional(choice(['ALWAYS', 'NEVER', 'ON_DISCONTINUITY'])),
    MaxMediaPlaylistFragmentResults: optional(listedFragments),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, context) {
    const session = await begin(input, context, {
      protocol: 'hls',
      ...rangeOf(input.PlaybackMode ?? 'LIVE', input.HLSFragmentSelector),
      container: input.ContainerFormat ?? 'FRAGMENTED_MP4',
      discontinuity: input.DiscontinuityMode ?? 'ALWAYS',
      showsNumbers: false,
      listed: input.MaxMediaPlaylistFragmentResults,
    });
    return { HLSStreamingSessionURL: urlOf(session, hlsPath.master, context) };
  },
});

export const getDashStreamingSessionUrl = defineOperation({
  name: 'GetDASHStreamingSessionURL',
  path: '/getDASHStreamingSessionURL',
  input: structure({
    ...common,
    DisplayFragmentNumber: optional(shown),
    DASHFragmentSelector: optional(sessionSelector),
    MaxManifestFragmentResults: optional(listedFragments),
  }),
  resources: (input, { streams }) => streams.arnOf(input),
  async run(input, context) {
    const session = await begin(input, context, {
      protocol: 'dash',
      ...rangeOf(input.PlaybackMode ?? 'LIVE', input.DASHFragmentSelector),
      ...{ container: 'FRAGMENTED_MP4', discontinuity: 'NEVER' },
      showsNumbers: input.DisplayFragmentNumber === 'ALWAYS',
      listed: input.MaxManifestFragmentResults,
    });
    return { DASHStreamingSessionURL: urlOf(session, dashPath.manifest, context) };
  },
});

type Range = Pick<Session, 'mode' | 'origin' | 'fromMs' | 'toMs'>;

/** @throws KinesisVideoError `InvalidArgumentException` */
function rangeOf(mode: PlaybackMode, selector: SessionSelector | undefined): Range {
  const { FragmentSelectorType: origin = 'SERVER_TIMESTAMP', TimestampRange } = selector ?? {};
  const fromMs = TimestampRange?.StartTimestamp ?? null;
  const toMs = TimestampRange?.EndTimestamp ?? null;
  if (mode === 'LIVE') {
    if (TimestampRange === undefined) return { mode, origin, fromMs, toMs };
    throw invalid('A TimestampRange is for LIVE_REPLAY and ON_DEMAND, not for LIVE.');
  }
  if (fromMs === null) throw invalid(`StartTimestamp is needed with ${mode}.`);
  if (toMs === null && mode === 'ON_DEMAND')
    throw invalid('EndTimestamp is needed with ON_DEMAND.');
  if (toMs !== null && toMs <= fromMs) throw invalid('EndTimestamp must be after StartTimestamp.');
  return {
    ...{ mode, origin },
    fromMs: Math.max(0, fromMs),
    toMs: toMs === null ? null : Math.min(toMs, endOfTimeMs),
  };
}

interface CommonInput extends StreamTarget {
  readonly DisplayFragmentTimestamp?: 'ALWAYS' | 'NEVER';
  readonly Expires?: number;
}

type Wanted = Range &
  Pick<Session, 'protocol' | 'container' | 'discontinuity' | 'showsNumbers'> & {
    readonly listed: number | undefined;
  };

/** @throws KinesisVideoError `ResourceNotFoundException` where there is nothing to play */
async function begin(input: CommonInput, context: CallContext, wanted: Wanted): Promise<Session> {
  const { clock, streams } = context;
  const stream = await streams.find(input);
  if (wanted.mode !== 'LIVE') checkKept(stream);
  const [first] = await firstOf(stream.name, wanted, context);
  if (first === undefined)
    throw notFound('No fragments found in the stream for the streaming request.');
  const createdMs = clock.nowMs();
  const listedDefault = wanted.mode === 'ON_DEMAND' ? listedOnDemand : listedLive;
  return {
    ...wanted,
    camera: stream.name,
    cameraId: stream.camera.id,
    showsTimestamps: input.DisplayFragmentTimestamp === 'ALWAYS',
    listed: wanted.listed ?? listedDefault,
    zeroUs: first.startUs - (wanted.mode === 'LIVE' ? roomUs : 0),
    createdMs,
    expiresMs: createdMs + (input.Expires ?? secondsDefault) * 1000,
  };
}

async function firstOf(
  camera: string,
  { mode, origin, fromMs, toMs }: Range,
  { video }: CallContext,
): Promise<readonly Fragment[]> {
  if (mode === 'LIVE') return video.latestFragments(camera, 1);
  const selection = { origin, fromMs: fromMs ?? 0, toMs: toMs ?? endOfTimeMs };
  return (await selectFragments(video, camera, selection, 1)).fragments;
}

function urlOf(session: Session, path: string, { endpoint, sessions }: CallContext): string {
  return `${endpoint}${path}?SessionToken=${sessions.make(session)}`;
}
