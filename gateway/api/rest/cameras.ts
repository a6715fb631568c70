/** Routes of the video store: cameras, runs, fragments by time, the timeline. */
import { createRoute, z } from '@hono/zod-openapi';
import type {
  CameraDescription,
  Fragment,
  Init,
  Run,
  TrackDescription,
  VideoStore,
} from '../../../storage/model.ts';
import type { CameraSettings } from '../../camera-settings.ts';
import { HttpError } from '../../http/errors.ts';
import { isSubstreamName } from '../../substreams.ts';
import { cameraUrl, fragmentFile, initFile } from '../hls/urls.ts';
import {
  answers,
  checkRange,
  nameParameter,
  rangeFields,
  reloadAnswer,
  wholeQuery,
  type RestRouter,
} from './router.ts';
import {
  CameraSchema,
  CameraSourceSchema,
  CamerasSchema,
  FragmentsSchema,
  RunsSchema,
  TimelineSchema,
  type Camera,
  type CameraFragment,
  type CameraRun,
  type CameraState,
  type Track,
} from './camera-schemas.ts';
import { ReloadSchema } from './operation-schemas.ts';
import { isoFromMsOrNull, isoFromMs, isoFromUs, isoFromUsOrNull } from './times.ts';
import { timelineOf } from './timeline.ts';

const fragmentsMax = 5_000;
const runsMax = 5_000;
const rateFragments = 10;

/** How a camera's source is doing, from whoever supervises it. */
export interface CameraStatus {
  readonly name: string;
  readonly state: CameraState;
  readonly sinceMs: number | null;
  /** How it comes in, credentials masked: `rtsp://10.0.0.7/main`, `push to /gate`. */
  readonly source: string;
  readonly lastError: string | null;
  readonly restarts: number;
  readonly retryAtMs: number | null;
  /** Whether browsers can play it over WebRTC now; left out: no. */
  readonly hasWhep?: boolean;
  /** Its small picture; left out or null: it has none. */
  readonly substream?: {
    readonly name: string;
    readonly hasWhep: boolean;
    /** Why it did not come when it was last wanted; null: nothing speaks against it. */
    readonly lastError: string | null;
  } | null;
}

export interface CameraRoutesOptions {
  readonly video: VideoStore;
  /** Of the cameras that are configured; others in the store are shown as disabled. */
  readonly cameraStatuses: () => readonly CameraStatus[];
  readonly settings: CameraSettings;
}

const list = createRoute({
  method: 'get',
  path: '/cameras',
  summary: 'The cameras',
  responses: answers(CamerasSchema, 'All cameras, by name'),
});

const one = createRoute({
  method: 'get',
  path: '/cameras/{name}',
  summary: 'One camera',
  request: { params: nameParameter },
  responses: answers(CameraSchema, 'The camera'),
});

/** What a camera may be called in the configuration. */
const newNameParameter = z.object({
  name: z
    .string()
    .regex(/^(?!\.{1,2}$|__proto__$)[a-zA-Z0-9_.-]{1,128}$/, '1 to 128 letters, digits, _ . -'),
});

const put = createRoute({
  method: 'put',
  path: '/cameras/{name}',
  summary: 'Adds a camera that is fetched from, or gives it another source',
  description:
    'Writes the configuration file and takes it over. What is left out has its default. The gateway connects only to addresses within sources.allowedNetworks.',
  request: {
    params: newNameParameter,
    body: { required: true, content: { 'application/json': { schema: CameraSourceSchema } } },
  },
  responses: answers(ReloadSchema, 'What was taken over, and what needs a restart'),
});

const remove = createRoute({
  method: 'delete',
  path: '/cameras/{name}',
  summary: 'Takes a camera out of the configuration; its footage stays',
  request: { params: nameParameter },
  responses: answers(ReloadSchema, 'What was taken over, and what needs a restart'),
});

const runs = createRoute({
  method: 'get',
  path: '/cameras/{name}/runs',
  summary: 'Uninterrupted sessions of a camera within a stretch of time',
  request: { params: nameParameter, query: z.object(rangeFields) },
  responses: answers(RunsSchema, 'In order of time'),
});

const fragments = createRoute({
  method: 'get',
  path: '/cameras/{name}/fragments',
  summary: 'Fragments of a camera that overlap a stretch of time',
  request: {
    params: nameParameter,
    query: z.object({
      ...rangeFields,
      limit: wholeQuery(1, fragmentsMax, 500),
      cursor: z
        .string()
        .regex(/^\d{1,16}$/)
        .optional()
        .describe('The nextCursor of the page before'),
    }),
  },
  responses: answers(FragmentsSchema, 'A page, in order of time'),
});

const timeline = createRoute({
  method: 'get',
  path: '/cameras/{name}/timeline',
  summary: 'Which stretches of time are recorded, and the gaps between them',
  request: {
    params: nameParameter,
    query: z.object({ ...rangeFields, mergeGapMs: wholeQuery(0, 86_400_000, 0) }),
  },
  responses: answers(TimelineSchema, 'Spans and gaps, in order of time'),
});

export function cameraRoutes(router: RestRouter, options: CameraRoutesOptions): void {
  const { video, cameraStatuses, settings } = options;

  router.openapi(list, async (c) => {
    const statuses = new Map(cameraStatuses().map((status) => [status.name, status]));
    const stored = (await video.cameras())
      .filter(({ name }) => !isSubstreamName(name))
      .sort((a, b) => a.name.localeCompare(b.name));
    const cameras: Camera[] = [];
    for (const camera of stored) {
      cameras.push(await describe(video, camera, statuses.get(camera.name)));
    }
    return c.json({ cameras }, 200);
  });

  router.openapi(one, async (c) => {
    const camera = await video.camera(c.req.valid('param').name);
    const status = cameraStatuses().find(({ name }) => name === camera.name);
    return c.json(await describe(video, camera, status), 200);
  });

  router.openapi(put, async (c) => {
    const taken = await settings.put(c.req.valid('param').name, c.req.valid('json'));
    return c.json(reloadAnswer(taken), 200);
  });

  router.openapi(remove, async (c) => {
    const taken = await settings.remove(c.req.valid('param').name);
    return c.json(reloadAnswer(taken), 200);
  });

  router.openapi(runs, async (c) => {
    const { from, to } = c.req.valid('query');
    checkRange(from, to);
    const { name } = await video.camera(c.req.valid('param').name);
    const found = await video.runs(name, from * 1_000, to * 1_000);
    return c.json(
      { runs: found.slice(-runsMax).map(runOf), complete: found.length <= runsMax },
      200,
    );
  });

  router.openapi(fragments, async (c) => {
    const { from, to, limit, cursor } = c.req.valid('query');
    checkRange(from, to);
    const { name } = await video.camera(c.req.valid('param').name);
    const fromUs = cursor === undefined ? from * 1_000 : Math.max(from * 1_000, Number(cursor));
    const toUs = to * 1_000;
    const found = fromUs < toUs ? await video.fragments({ camera: name, fromUs, toUs, limit }) : [];
    const inits = new Map<number, Init>();
    for (const id of new Set(found.map(({ initId }) => initId))) {
      inits.set(id, await video.init(id));
    }
    const last = found.length < limit ? undefined : found.at(-1);
    return c.json(
      {
        fragments: found.map((fragment) => fragmentOf(fragment, inits.get(fragment.initId))),
        nextCursor: last === undefined ? null : String(endUs(last)),
      },
      200,
    );
  });

  router.openapi(timeline, async (c) => {
    const { from, to, mergeGapMs } = c.req.valid('query');
    checkRange(from, to);
    const camera = await video.camera(c.req.valid('param').name);
    const [fromUs, toUs] = [from * 1_000, to * 1_000];
    const found = await video.runs(camera.name, fromUs, toUs);
    const [newest] = await video.latestFragments(camera.name, 1);
    return c.json(
      timelineOf({
        runs: found.slice(-runsMax),
        complete: found.length <= runsMax,
        newest,
        fromUs,
        toUs,
        mergeGapUs: mergeGapMs * 1_000,
      }),
      200,
    );
  });
}

/** A fragment's end; a cursor on it always goes forward, also past one without duration. */
function endUs({ startUs, durationUs }: Fragment): number {
  return startUs + Math.max(1, durationUs);
}

async function describe(
  video: VideoStore,
  camera: CameraDescription,
  status: CameraStatus | undefined,
): Promise<Camera> {
  const newest = await video.latestFragments(camera.name, rateFragments);
  const last = newest.at(-1);
  const tracks = last === undefined ? [] : (await video.init(last.initId)).tracks;
  return {
    name: camera.name,
    state: status?.state ?? 'disabled',
    stateTime: isoFromMsOrNull(status?.sinceMs ?? null),
    source: status?.source ?? null,
    lastError: status?.lastError ?? null,
    restarts: status?.restarts ?? 0,
    nextAttemptTime: isoFromMsOrNull(status?.retryAtMs ?? null),
    tracks: tracks.map(trackOf),
    lastFrameTime: last === undefined ? null : isoFromUs(last.startUs + last.durationUs),
    bitsPerSecond: bitsPerSecond(newest),
    storedBytes: camera.storedBytes,
    firstTime: isoFromUsOrNull(camera.firstStartUs),
    lastTime: isoFromUsOrNull(camera.lastEndUs),
    retentionMs: camera.retentionMs,
    maxBytes: camera.maxBytes,
    events: camera.events,
    encryption: camera.encryption ?? 'none',
    record: camera.record ?? 'continuous',
    liveUrl: cameraUrl(camera.name, 'live.m3u8'),
    whepUrl: status?.hasWhep === true ? whepUrl(camera.name) : null,
    substream: substreamOf(status?.substream ?? null),
  };
}

function substreamOf(found: NonNullable<CameraStatus['substream']> | null): Camera['substream'] {
  if (found === null) return null;
  const { name, hasWhep, lastError } = found;
  const liveUrl = cameraUrl(name, 'live.m3u8');
  return { liveUrl, whepUrl: hasWhep ? whepUrl(name) : null, lastError };
}

function whepUrl(camera: string): string {
  return `/whep/${encodeURIComponent(camera)}`;
}

function bitsPerSecond(newest: readonly Fragment[]): number | null {
  const durationUs = newest.reduce((sum, fragment) => sum + fragment.durationUs, 0);
  const bytes = newest.reduce((sum, fragment) => sum + fragment.plainBytes, 0);
  return durationUs === 0 ? null : Math.round((bytes * 8e6) / durationUs);
}

function trackOf(track: TrackDescription): Track {
  return {
    kind: track.kind,
    codec: track.codec,
    width: track.width ?? null,
    height: track.height ?? null,
    sampleRate: track.sampleRate ?? null,
    channels: track.channels ?? null,
  };
}

function runOf(run: Run): CameraRun {
  return {
    id: run.id,
    startTime: isoFromUs(run.startUs),
    endTime: isoFromUsOrNull(run.endUs),
    endReason: run.endReason,
  };
}

function fragmentOf(fragment: Fragment, init: Init | undefined): CameraFragment {
  if (init === undefined) throw new HttpError('corrupt', `Init ${fragment.initId} is missing.`);
  return {
    number: fragment.number,
    runId: fragment.runId,
    initId: fragment.initId,
    startTime: isoFromUs(fragment.startUs),
    durationMs: fragment.durationUs / 1_000,
    producerTime: isoFromMsOrNull(fragment.producerMs),
    serverTime: isoFromMs(fragment.serverMs),
    bytes: fragment.plainBytes,
    damaged: fragment.damaged,
    tags: { ...fragment.tags },
    url: cameraUrl(fragment.camera, fragmentFile(fragment)),
    initUrl: cameraUrl(fragment.camera, initFile(init)),
  };
}
