/** The configured cameras: a supervised source each, and what is said about how it is doing. */
import { recordSession } from '../ingest/camera/session.ts';
import { rtspPullSource } from '../ingest/rtsp/pull-source.ts';
import { rtspPushSource } from '../ingest/rtsp/push-source.ts';
import type { RecordRun } from '../ingest/rtsp/recording.ts';
import type { RtspServer } from '../ingest/rtsp/server.ts';
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
  readonly video: VideoStore;
  /** null: it is switched off, and cameras that push can't come in. */
  readonly rtspServer: RtspServer | null;
  readonly ffmpegPath: string;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Starts the source of every camera; returns how to ask how they are doing. */
export async function startCameras(
  options: CamerasOptions,
): Promise<{ statuses(): readonly CameraStatus[] }> {
  const tasks: { name: string; config: CameraConfig; task: SupervisedTask | null }[] = [];
  for (const [name, config] of Object.entries(options.cameras)) {
    await options.video.ensureCamera({
      name,
      retentionMs: config.retentionHours === null ? null : config.retentionHours * 3_600_000,
      maxBytes: config.maxBytes,
      events: config.events,
    });
    const source = sourceOf(name, config, options);
    tasks.push({ name, config, task: source === null ? null : options.supervisor.start(source) });
  }
  return {
    statuses: () =>
      tasks.map(({ name, config, task }) =>
        task === null ? disabled(name) : statusOf(name, config, task.status()),
      ),
  };
}

function sourceOf(camera: string, config: CameraConfig, options: CamerasOptions): Source | null {
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
  if ('rtsp' in config.source) return rtspPullSource({ camera, url: config.source.rtsp, record });
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
