/**
 * HTTP, when all that it serves is built: health, operations, tokens, and where the app's answers
 * come from.
 */
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { MqttStatus } from '../ingest/mqtt/broker.ts';
import { RtspServer } from '../ingest/rtsp/server.ts';
import { SourceError } from '../ingest/source.ts';
import { mediaFolderName } from '../storage/store.ts';
import { printAddress } from './announcement.ts';
import { cameraFinding } from './camera-finding.ts';
import { cameraSettings } from './camera-settings.ts';
import type { Cameras } from './cameras.ts';
import { diagnoseDelivery } from './doctor/deliveries.ts';
import type { Deliveries } from './forward/deliveries.ts';
import { forecast } from './forecast.ts';
import type { Files } from './files.ts';
import { addChecks } from './health-checks.ts';
import type { EventSources } from './event-sources.ts';
import type { Hooks } from './hooks.ts';
import { createApp } from './http/app.ts';
import { HttpError } from './http/errors.ts';
import { loadPage } from './http/page.ts';
import { createHttpServer, type HttpServer, type StreamingHandler } from './http/server.ts';
import type { KinesisVideo } from './kinesis-video.ts';
import type { Kinesis } from './kinesis.ts';
import { listening } from './listening.ts';
import type { RunningMedia } from './media.ts';
import type { Mqtt } from './mqtt.ts';
import { Health } from './observe/health.ts';
import { watchLoopDelay } from './observe/loop-delay.ts';
import { Tokens } from './security/tokens.ts';
import { streamMetrics } from './observe/stream-metrics.ts';
import { startOperations } from './operations.ts';
import { Reloader } from './reload.ts';
import type { RunningWebRtc } from './webrtc.ts';
import type { Building } from './building.ts';

/** What is served. */
export interface Parts {
  readonly rtspServer: RtspServer | null;
  readonly mqtt: Mqtt;
  readonly files: Files;
  readonly cameras: Cameras;
  readonly webRtc: RunningWebRtc | null;
  readonly media: RunningMedia;
  readonly deliveries: Deliveries;
  readonly hooks: Hooks;
  readonly functions: EventSources;
  readonly kinesis: Kinesis;
  readonly kinesisVideo: KinesisVideo;
  readonly streaming: StreamingHandler;
  readonly reloader: Reloader;
}

/** Serves, until it is closed with the rest. */
export async function startHttp(
  building: Building,
  parts: Parts,
): Promise<{ server: HttpServer; tokens: Tokens }> {
  const { rtspServer, mqtt, files, cameras, webRtc, media } = parts;
  const { deliveries, hooks, functions, reloader } = parts;
  const { config, opening, store, metering, identity, clock, logger, metrics, closing } = building;
  const tokens = await Tokens.open({ folder: join(config.dataDir, 'access'), clock });
  const health = new Health(clock);
  const freeBytes = async (): Promise<number> => {
    const { bavail, bsize } = await statfs(config.dataDir);
    return bavail * bsize;
  };
  const loopDelay = watchLoopDelay({ clock, metrics });
  closing.add('parts', 'the loop watch', () => {
    loopDelay.close();
  });
  const configurationTrouble = (): string | null => reloader.trouble;
  addChecks(health, {
    ...{ store, files, cameras, deliveries, hooks, functions },
    ...{ freeBytes, loopDelay, configurationTrouble },
    mqttTrouble: () => mqtt.trouble(),
    certificateEndsMs: opening.certificate?.notAfterMs ?? null,
    clock,
  });
  const operations = startOperations({
    store,
    folder: config.dataDir,
    mediaFolder: config.mediaDir ?? join(config.dataDir, mediaFolderName),
    version: building.version,
    reload: () => reloader.reload(),
    clock,
    logger,
  });
  closing.add('parts', 'a backup', () => operations.close());
  const updateStreamMetrics = streamMetrics({ log: store.log, metrics });
  const waiting = new AbortController();
  closing.add('parts', 'requests that wait', () => {
    waiting.abort();
  });
  const app = createApp({
    gatewayId: identity.gatewayId,
    processId: building.pid,
    version: building.version,
    startMs: clock.nowMs(),
    hostNames: opening.hostNames,
    page: await loadPage(join(building.packageFolder, 'dist/dashboards')),
    log: store.log,
    video: store.video,
    kinesis: parts.kinesis.routes,
    kinesisVideo: parts.kinesisVideo.routes,
    ...(webRtc === null ? {} : { webRtc }),
    wake: (camera) => wake(cameras, camera),
    metering,
    audit: parts.kinesis.audit,
    media,
    operations,
    cameraSettings: cameraSettings({
      file: building.files[0]?.path ?? null,
      env: building.env,
      allowedNetworks: config.sources.allowedNetworks,
      reload: () => reloader.reload(),
    }),
    cameraFinding: cameraFinding({
      allowedNetworks: config.sources.allowedNetworks,
      closing: waiting.signal,
      clock,
    }),
    tokens,
    closing: waiting.signal,
    clock,
    logger,
    metrics,
    sources: {
      health: () => health.report(),
      live: () => health.live(),
      renderMetrics: () => {
        updateStreamMetrics();
        metering.publish();
        return metrics.render();
      },
      freeBytes,
      fullMs: forecast({
        ...{ store, deliveries, clock, metrics, dataDir: config.dataDir },
        mediaFolder: config.mediaDir ?? join(config.dataDir, mediaFolderName),
        minFreeBytes: config.video.minFreeBytes,
      }),
      mqtt: () => mqttStatus(mqtt),
      rtsp: () => (rtspServer === null ? null : rtspStatus(rtspServer)),
      deliveries: () => deliveries.status(),
      deliveryFlow: deliveries,
      checkDelivery: async (name) => {
        const options = deliveries.optionsOf(name);
        return options && diagnoseDelivery(options, { clock, fetch });
      },
      functions: () => functions.status(),
      functionFlow: functions,
      cameras: () => cameras.statuses(),
      files: () => files.statuses(),
    },
  });
  const { port } = config.http;
  const { httpHost: host, plaintextFor, certificate: tls } = opening;
  const server = await listening(
    'HTTP',
    `${host}:${port}`,
    'http.port',
    createHttpServer({
      ...{
        host,
        port,
        tls,
        plaintextFor,
        fetch: app.fetch,
        streaming: parts.streaming,
        clock,
        logger,
        metrics,
      },
    }),
  );
  closing.add('parts', 'HTTP', () => server.close());
  return { server, tokens };
}

/** @throws HttpError `unavailable` when a sub-stream does not come */
async function wake(cameras: Cameras, camera: string): Promise<void> {
  try {
    await cameras.substream(camera)?.watchStored();
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    const message = `It can not be fetched now: ${error.message}.`;
    throw new HttpError('unavailable', message, { cause: error, retryAfterSeconds: 5 });
  }
}

function mqttStatus(mqtt: Mqtt): { address: string; status: MqttStatus } | null {
  const [address, status] = [mqtt.shownAddress(), mqtt.status()];
  return address === null || status === null ? null : { address, status };
}

function rtspStatus(server: RtspServer): { address: string; publishers: number; readers: number } {
  const publishing = server.status();
  return {
    address: printAddress(server.address),
    publishers: publishing.filter(({ isFetched }) => !isFetched).length,
    readers: publishing.reduce((sum, { players }) => sum + players, 0),
  };
}
