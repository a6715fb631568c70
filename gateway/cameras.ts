/** The configured cameras: a supervised source each, and what is said about how it is doing. */
import { isDeepStrictEqual } from 'node:util';
import { recordSession } from '../ingest/camera/session.ts';
import { anywhere, onlyNetworks } from '../ingest/rtsp/client/guard.ts';
import { rtspPullSource } from '../ingest/rtsp/pull-source.ts';
import { rtspPushSource } from '../ingest/rtsp/push-source.ts';
import type { RecordRun } from '../ingest/rtsp/recording.ts';
import { RtspServer, type RtspPath } from '../ingest/rtsp/server.ts';
import type { Source } from '../ingest/source.ts';
import type { VideoStore } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { CameraStatus } from './api/rest/cameras.ts';
import type { CameraState } from './api/rest/schemas.ts';
import type { Config } from './config/schema.ts';
import { maskUrls } from './observe/mask.ts';
import type { SupervisedTask, Supervisor, TaskStatus } from './supervisor.ts';

type CameraConfig = Config['cameras'][string];

export interface CamerasOptions {
  readonly cameras: Config['cameras'];
  /** Where cameras that are confined may be, and where any may redirect to. */
  readonly allowedNetworks: readonly string[];
  readonly video: VideoStore;
  /** null: it is switched off, and cameras that push can't come in. */
  readonly rtspServer: RtspServer | null;
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
   * are gone are stopped (their footage stays), those that differ are begun again, no others.
   * @throws StorageError
   */
  update(cameras: Config['cameras']): Promise<void>;
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
  const update = async (cameras: Config['cameras']): Promise<void> => {
    const stopped = [...running].filter(
      ([name, { config }]) =>
        !Object.hasOwn(cameras, name) || !isDeepStrictEqual(cameras[name], config),
    );
    await Promise.all(stopped.map(async ([, { task }]) => task?.stop()));
    for (const [name] of stopped) running.delete(name);
    order = Object.keys(cameras);
    for (const [name, config] of Object.entries(cameras)) {
      if (!running.has(name)) running.set(name, await startCamera(name, config, relay, options));
    }
  };
  await update(options.cameras);
  const isPushed = (name: string): boolean =>
    options.rtspServer?.status().some(({ camera }) => camera === name) ?? false;
  return {
    statuses: () =>
      order.flatMap((name) => {
        const camera = running.get(name);
        if (camera === undefined) return [];
        const { config, task } = camera;
        if (task === null) return [disabled(name)];
        const status = statusOf(name, config, task.status());
        // It has come; its first fragment is not on disk yet.
        const comes = status.state === 'waiting' && isPushed(name);
        return [comes ? { ...status, state: 'starting' } : status];
      }),
    update,
  };
}

async function startCamera(
  name: string,
  config: CameraConfig,
  relay: () => Promise<RtspServer>,
  options: CamerasOptions,
): Promise<RunningCamera> {
  await options.video.ensureCamera({
    name,
    retentionMs: config.retentionHours === null ? null : config.retentionHours * 3_600_000,
    maxBytes: config.maxBytes,
    events: config.events,
  });
  const source = await sourceOf(name, config, relay, options);
  return { config, task: source === null ? null : options.supervisor.start(source) };
}

/**
 * Cameras that are fetched from are recorded through a server of our own. Where the configuration
 * switches that off there is one all the same, on loopback, and nobody else may do anything there.
 */
function relayOf(options: CamerasOptions): () => Promise<RtspServer> {
  const { clock, logger, metrics, onClose } = options;
  let started: Promise<RtspServer> | null =
    options.rtspServer === null ? null : Promise.resolve(options.rtspServer);
  const start = async (): Promise<RtspServer> => {
    const path = (): RtspPath => ({ publisher: null, readers: [] });
    const server = new RtspServer({ host: '127.0.0.1', port: 0, path, clock, logger, metrics });
    await server.listen();
    return server;
  };
  if (options.rtspServer === null) {
    onClose(async () => {
      await (await started)?.close();
    });
  }
  return () => (started ??= start());
}

async function sourceOf(
  camera: string,
  config: CameraConfig,
  relay: () => Promise<RtspServer>,
  options: CamerasOptions,
): Promise<Source | null> {
  const { video, ffmpegPath, clock, logger, metrics, rtspServer } = options;
  const record: RecordRun = (request) =>
    recordSession({
      camera,
      video,
      ffmpegPath,
      clock,
      logger: logger.child({ camera }),
      metrics,
      stallTimeoutMs: config.stallSeconds * 1000,
      ...request,
    });
  if ('rtsp' in config.source) {
    const allowed = onlyNetworks(options.allowedNetworks);
    return rtspPullSource({
      camera,
      url: config.source.rtsp,
      transport: config.transport,
      verifyTls: config.verifyTls,
      guard: config.confined ? allowed : anywhere,
      redirectGuard: allowed,
      server: await relay(),
      record,
      clock,
    });
  }
  return rtspServer === null ? null : rtspPushSource({ camera, server: rtspServer, record });
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

function disabled(name: string): CameraStatus {
  return {
    name,
    state: 'disabled',
    sinceMs: null,
    source: `push to /${name}`,
    lastError: 'The RTSP server is switched off (rtsp.enabled), so this camera has no way in.',
    restarts: 0,
    retryAtMs: null,
  };
}
