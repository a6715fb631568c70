/** The configured cameras: a supervised source each, and what is said about how it is doing. */
import { isDeepStrictEqual } from 'node:util';
import { recordSession } from '../ingest/camera/session.ts';
import { putMediaSource, type PutMediaEntrance } from '../ingest/mkv/entrance.ts';
import { anywhere, onlyNetworks } from '../ingest/rtsp/client/guard.ts';
import { rtspPullSource, type RtspPullOptions } from '../ingest/rtsp/pull-source.ts';
import { rtspPushSource } from '../ingest/rtsp/push-source.ts';
import type { RecordRun } from '../ingest/rtsp/recording.ts';
import { RtspServer, type RtspLimits, type RtspPath } from '../ingest/rtsp/server.ts';
import type { Source } from '../ingest/source.ts';
import type { CameraOptions, VideoStore } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { CameraStatus } from './api/rest/cameras.ts';
import type { CameraState } from './api/rest/camera-schemas.ts';
import { whyUnplayable } from './api/webrtc/playable.ts';
import type { Config } from './config/schema.ts';
import { maskUrls } from './observe/mask.ts';
import { substreamName, Substreams, type Substream } from './substreams.ts';
import type { SupervisedTask, Supervisor, TaskStatus } from './supervisor.ts';

type CameraConfig = Config['cameras'][string];

export interface CamerasOptions {
  readonly cameras: Config['cameras'];
  /** Where cameras that are confined may be, and where any may redirect to. */
  readonly allowedNetworks: readonly string[];
  readonly video: VideoStore;
  /** null: it is switched off. */
  readonly rtspServer: RtspServer | null;
  /** Whether cameras can push over WebRTC. */
  readonly hasWebRtc: boolean;
  /** Where PutMedia comes in. */
  readonly putMedia: PutMediaEntrance;
  /** Takes what is to be closed after the sources. */
  readonly onClose: (close: () => Promise<void>) => void;
  readonly ffmpegPath: string;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface Cameras {
  /** In the order of the configuration. */
  statuses(): readonly CameraStatus[];
  /**
   * Brings them in line with another configuration: those that are new are started, those that
   * are gone are stopped (their footage stays), those that differ are begun again, unless it is only
   * in how much is kept of them.
   * @throws StorageError
   */
  update(cameras: Config['cameras']): Promise<void>;
  /** What all cameras pass through: the RTSP server, or one that is like it, on loopback. */
  relay(): Promise<RtspServer>;
  /** By its own name; null: there is none of that name. */
  substream(name: string): Substream | null;
}

interface RunningCamera {
  readonly config: CameraConfig;
  readonly task: SupervisedTask | null;
}

/** Starts the source of every camera; returns how to ask how they are doing. */
export async function startCameras(options: CamerasOptions): Promise<Cameras> {
  const running = new Map<string, RunningCamera>();
  let order: readonly string[] = [];
  const relay = relayOf(options);
  const substreams = new Substreams({
    ...options,
    pull: async (name, url, config) => ({
      ...pullOptions(name, url, config, options),
      ...{ server: await relay.get(), record: recordRun(name, config, options) },
    }),
  });
  const update = async (cameras: Config['cameras']): Promise<void> => {
    const stopped = [...running].filter(([name, { config }]) => {
      const wanted = Object.hasOwn(cameras, name) ? cameras[name] : undefined;
      return wanted === undefined || !isDeepStrictEqual(recorded(wanted), recorded(config));
    });
    await Promise.all(stopped.map(async ([, { task }]) => task?.stop()));
    for (const [name] of stopped) running.delete(name);
    order = Object.keys(cameras);
    for (const [name, config] of Object.entries(cameras)) {
      const known = running.get(name);
      if (known === undefined) {
        running.set(name, await startCamera(name, config, relay, options));
      } else if (!isDeepStrictEqual(known.config, config)) {
        await ensureCamera(name, config, options);
        running.set(name, { ...known, config });
      }
    }
    await substreams.update(cameras);
  };
  await update(options.cameras);
  const isPushed = (name: string): boolean =>
    relay
      .now()
      ?.status()
      .some(({ camera }) => camera === name) ?? false;
  const hasWhep = (name: string): boolean => {
    const publication = options.hasWebRtc ? relay.now()?.publication(name) : null;
    return publication != null && whyUnplayable(publication) === null;
  };
  const substreamStatus = (camera: string): CameraStatus['substream'] => {
    const name = substreamName(camera);
    const substream = substreams.find(name);
    if (substream === null) return null;
    const { lastError } = substream;
    // While it is not fetched nobody knows yet.
    const isAway = (relay.now()?.publication(name) ?? null) === null;
    return { name, hasWhep: isAway ? options.hasWebRtc : hasWhep(name), lastError };
  };
  return {
    statuses: () =>
      order.flatMap((name) => {
        const camera = running.get(name);
        if (camera === undefined) return [];
        const { config, task } = camera;
        const substream = substreamStatus(name);
        if (task === null) return [{ ...disabled(name), substream }];
        if ('putMedia' in config.source) {
          return [{ ...sentStatus(name, options.putMedia), substream }];
        }
        const status = statusOf(name, config, task.status());
        // It has come; its first fragment is not on disk yet.
        const comes = status.state === 'waiting' && isPushed(name);
        const state = comes ? 'starting' : status.state;
        return [{ ...status, state, hasWhep: hasWhep(name), substream }];
      }),
    update,
    relay: () => relay.get(),
    substream: (name) => substreams.find(name),
  };
}

/** What a camera that is being recorded has to be begun again for, when it changes. */
function recorded(config: CameraConfig): CameraConfig {
  const unlimited = { retentionHours: null, maxBytes: null };
  const selected = { record: 'continuous', preRollSeconds: 0, postRollSeconds: 0 } as const;
  return { ...config, ...unlimited, ...selected, marks: [], substream: { rtsp: null } };
}

async function startCamera(
  name: string,
  config: CameraConfig,
  relay: Relay,
  options: CamerasOptions,
): Promise<RunningCamera> {
  await ensureCamera(name, config, options);
  const source = await sourceOf(name, config, relay, options);
  return { config, task: source === null ? null : options.supervisor.start(source) };
}

async function ensureCamera(
  name: string,
  config: CameraConfig,
  { video }: CamerasOptions,
): Promise<void> {
  await video.ensureCamera(storedOptions(name, config));
}

/** What the store is to know of a configured camera. */
export function storedOptions(name: string, config: CameraConfig): CameraOptions {
  return {
    name,
    retentionMs: config.retentionHours === null ? null : config.retentionHours * 3_600_000,
    maxBytes: config.maxBytes,
    events: config.events,
    encryption: config.encryption,
    record: config.record,
    preRollMs: config.preRollSeconds * 1000,
    postRollMs: config.postRollSeconds * 1000,
  };
}

interface Relay {
  /** Starts it where that is yet to be done. */
  readonly get: () => Promise<RtspServer>;
  /** null: it was not needed yet. */
  readonly now: () => RtspServer | null;
}

/**
 * Cameras that are fetched from are recorded through a server of our own. Where the configuration
 * switches that off there is one all the same, on loopback, and nobody else may do anything there.
 */
function relayOf(options: CamerasOptions): Relay {
  const { clock, logger, metrics, onClose } = options;
  let server = options.rtspServer;
  let started = server === null ? null : Promise.resolve(server);
  const start = async (): Promise<RtspServer> => {
    const path = (): RtspPath => ({ publisher: null, readers: [] });
    const limits = relayLimits(options.hasWebRtc);
    const made = new RtspServer({
      ...{ host: '127.0.0.1', port: 0, path, limits, clock, logger, metrics },
    });
    await made.listen();
    server = made;
    return made;
  };
  if (options.rtspServer === null) {
    onClose(async () => {
      await (await started)?.close();
    });
  }
  return { get: () => (started ??= start()), now: () => server };
}

async function sourceOf(
  camera: string,
  config: CameraConfig,
  relay: Relay,
  options: CamerasOptions,
): Promise<Source | null> {
  const record = recordRun(camera, config, options);
  if ('rtsp' in config.source) {
    const pull = pullOptions(camera, config.source.rtsp, config, options);
    return rtspPullSource({ ...pull, server: await relay.get(), record });
  }
  if ('putMedia' in config.source) return putMediaSource(camera, options.putMedia);
  const takesPush = options.rtspServer !== null || options.hasWebRtc;
  return takesPush ? rtspPushSource({ camera, server: await relay.get(), record }) : null;
}

function recordRun(
  camera: string,
  config: CameraConfig,
  { video, ffmpegPath, clock, logger, metrics }: CamerasOptions,
): RecordRun {
  return (request) =>
    recordSession({
      ...{ camera, video, ffmpegPath, clock, metrics },
      logger: logger.child({ camera }),
      stallTimeoutMs: config.stallSeconds * 1000,
      ...request,
    });
}

function pullOptions(
  camera: string,
  url: string,
  { transport, verifyTls, confined }: CameraConfig,
  { allowedNetworks, clock }: CamerasOptions,
): Omit<RtspPullOptions, 'server' | 'record'> {
  const allowed = onlyNetworks(allowedNetworks);
  const guard = confined ? allowed : anywhere;
  return { camera, url, transport, verifyTls, guard, redirectGuard: allowed, clock };
}

/** With WebRTC, players may come that want a picture at once. */
export function relayLimits(hasWebRtc: boolean): Partial<RtspLimits> {
  return { groupBytesMax: hasWebRtc ? 4 * 1024 * 1024 : 0 };
}

function statusOf(name: string, config: CameraConfig, task: TaskStatus): CameraStatus {
  const pushes = 'push' in config.source;
  const states: Record<TaskStatus['state'], CameraState> = {
    starting: pushes ? 'waiting' : 'starting',
    running: 'recording',
    'backing-off': 'backing-off',
    stopped: 'stopped',
  };
  return {
    name,
    state: states[task.state],
    sinceMs: task.sinceMs,
    source: 'rtsp' in config.source ? maskUrls(config.source.rtsp) : `push to /${name}`,
    lastError: task.failure?.message ?? null,
    restarts: task.restarts,
    retryAtMs: task.retryAtMs,
  };
}

/** Of a camera whose producer comes and goes as it likes: what was wrong is over when it is. */
function sentStatus(name: string, entrance: PutMediaEntrance): CameraStatus {
  const status = entrance.status(name);
  return {
    name,
    state: status === null ? 'stopped' : status.isSending ? 'recording' : 'waiting',
    sinceMs: status?.sinceMs ?? null,
    source: 'PutMedia',
    lastError: status?.failure ?? null,
    ...{ restarts: 0, retryAtMs: null },
  };
}

function disabled(name: string): CameraStatus {
  return {
    name,
    state: 'disabled',
    sinceMs: null,
    source: `push to /${name}`,
    lastError:
      'RTSP and WebRTC are switched off (rtsp.enabled, webrtc.enabled), so this camera has no way in.',
    restarts: 0,
    retryAtMs: null,
  };
}
