/**
 * Builds the parts of the gateway in order: the store, what takes in, what sends on, what serves.
 * They are closed by closing.ts: ways in before the store, so that what was acknowledged is
 * committed; deliveries have nothing to finish that the next start does not repeat.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { probeFfmpegVersion } from '../ingest/camera/session.ts';
import { PutMediaEntrance } from '../ingest/mkv/entrance.ts';
import { RtspServer } from '../ingest/rtsp/server.ts';
import { openStore } from '../storage/store.ts';
import { printAddresses } from './announcement.ts';
import { Metering } from './api/kinesis/metering.ts';
import { CameraMarks } from './camera-marks.ts';
import { relayLimits, startCameras, type Cameras } from './cameras.ts';
import { Closing } from './closing.ts';
import type { GatewayStart, RunningGateway } from './cli/context.ts';
import { FileWatch } from './config/watch.ts';
import { defaultFile } from './cli/configuration.ts';
import { ensureStreams, keptShards } from './configured-streams.ts';
import { parseConfig, type ConfigResult } from './config/load.ts';
import { showProblem } from './config/problems.ts';
import type { Config } from './config/schema.ts';
import {
  demoBucket,
  demoConfiguration,
  demoSecrets,
  demoVariables,
} from './demonstration/configuration.ts';
import { startDemonstration } from './demonstration/start.ts';
import { startDeliveries, type Deliveries } from './forward/deliveries.ts';
import type { DeliveryOptions } from './forward/options.ts';
import { openDeliveryStreams, startAllDeliveries } from './firehose.ts';
import { startFiles } from './files.ts';
import { startEventSources, type EventSources } from './event-sources.ts';
import { startHooks } from './hooks.ts';
import { loadIdentity, type Identity } from './identity.ts';
import { startKinesisVideo } from './kinesis-video.ts';
import { startKinesis } from './kinesis.ts';
import { listening } from './listening.ts';
import { startMedia } from './media.ts';
import { startMqtt } from './mqtt.ts';
import type { Certificate } from './security/certificates.ts';
import { openMasterKeys } from './security/master-key.ts';
import { entrancesOf, loginsOf } from './entrances.ts';
import { openingOf, withMadeUsers, type Opening } from './opening.ts';
import { putMedia } from './put-media.ts';
import { Reloader } from './reload.ts';
import { removeRunning, writeRunning } from './running.ts';
import { StreamCameras } from './stream-cameras.ts';
import { isSubstreamOf } from './substreams.ts';
import { Supervisor } from './supervisor.ts';
import { startWebRtc, webRtcHosts, type RunningWebRtc } from './webrtc.ts';
import type { Building } from './building.ts';
import { startHttp } from './serving.ts';

const dayMs = 24 * 3_600_000;

/** Starts everything; when a part can't start, closes what has and rejects with the reason. */
export async function startGateway(start: GatewayStart): Promise<RunningGateway> {
  const closing = new Closing(start.clock, start.logger);
  const timeoutMs = start.config.shutdownTimeoutSeconds * 1000;
  const close = (): Promise<void> => closing.close(timeoutMs);
  try {
    const reloader = await build(start, closing);
    return { reload: () => reloader.reload(), close };
  } catch (error) {
    await close().catch((closeError: unknown) => {
      start.logger.error({ error: closeError }, 'a part did not close after a failed start');
    });
    throw error;
  }
}

async function build(start: GatewayStart, closing: Closing): Promise<Reloader> {
  const { clock, logger, metrics } = start;
  const identity = await loadIdentity(start.config.dataDir);
  const written = start.demonstration ? usable(demonstrationConfig(start, identity)) : start.config;
  const config = withMadeUsers(written, identity.secret);
  const metering = new Metering({ clock, metrics });
  const store = await openStore({
    folder: config.dataDir,
    masterKeys: (inUse) => openMasterKeys({ config, inUse, clock, fetch }),
    dataKeyAgeMaxMs: config.encryption.dataKeyDays * dayMs,
    ...(config.mediaDir === null ? {} : { mediaFolder: config.mediaDir }),
    video: { minFreeBytes: config.video.minFreeBytes },
    lingerMs: config.log.lingerMs,
    minFreeBytes: config.log.minFreeBytes,
    maxQueuedBytes: config.log.maxQueuedBytes,
    tailCacheBytes: config.log.tailCacheBytes,
    readCacheBytes: config.log.readCacheBytes,
    maxShards: config.log.maxShards,
    onAppended: metering.took,
    holder: `headgate, process ${start.pid}`,
    clock,
    logger,
    metrics,
  });
  closing.add('store', 'the store', () => store.close());
  metering.start(store.log);
  closing.add('servers', 'metering', () => {
    metering.close();
  });
  await ensureStreams(store.log, config, null);
  for (const remark of keptShards(store.log, config)) logger.warn({}, remark);

  let inForce = config;
  const supervisor = new Supervisor({ clock, logger, metrics, random: Math.random });
  const opening = await openingOf(config, clock.nowMs());
  const building: Building = {
    ...{ ...start, config, identity, opening, supervisor, store, metering, closing },
    inForce: () => inForce,
  };
  const rtspServer = await startRtsp(building);
  const marks = new CameraMarks({ video: store.video, clock, logger });
  marks.update(config.cameras);
  closing.add('servers', 'marks on cameras', () => marks.settled());
  const mqtt = await startMqtt({
    ...building,
    sees: (topic, payload) => {
      marks.see(topic, payload);
    },
    tls: mqttTls(opening),
    onClose: (close) => {
      closing.add('parts', 'MQTT', close);
    },
  });
  const files = await startFiles({ ...building, files: config.files, random: Math.random });
  const ffmpegPath = config.ffmpegPath ?? 'ffmpeg';
  const putMediaEntrance = new PutMediaEntrance(clock);
  const streamCameras = new StreamCameras(store.video, () => inForce.cameras);
  const cameras = await startVideo(building, rtspServer, putMediaEntrance, {
    ffmpegPath,
    cameras: await streamCameras.all(config.cameras),
  });
  streamCameras.start((all) => cameras.update(all));
  closing.add('parts', 'cameras and files', () => supervisor.close());
  const webRtc = startWebRtcFor(building, cameras, ffmpegPath);
  const media = startMedia({ ...building, config: config.video, video: store.video, ffmpegPath });
  closing.add('parts', 'images', () => {
    media.close();
  });
  const { video, log } = store;
  const hooks = await startHooks({
    ...{ ...building, hooks: config.hooks, images: media.images, video, log, fetch },
  });
  closing.add('parts', 'hooks', () => hooks.close());
  const functions = await startFunctions(building);
  const { secret } = identity;
  const deliveryStreams = await openDeliveryStreams({ ...building, secret });
  closing.add('servers', 'delivery streams', () => {
    deliveryStreams.close();
  });
  const { deliveries, all } = await startAllDeliveries(deliveryStreams, building, (first) =>
    startForwarding(building, first),
  );
  const kinesis = await startKinesis({
    ...{ ...building, secret, deliveryStreams },
    onClose: (stage, name, close) => {
      closing.add(stage, name, close);
    },
  });
  const kinesisVideo = startKinesisVideo({
    ...{ ...building, secret: identity.secret, kinesis, cameras: streamCameras },
    images: media.images,
    onClose: (stage, name, close) => {
      closing.add(stage, name, close);
    },
  });
  // Nobody asks before it serves.
  let tell: (config: Config) => Promise<void> = () => Promise.resolve();
  const reloader = new Reloader({
    config: written,
    files: start.files,
    isEmpty: start.isEmpty,
    load: async () => (start.demonstration ? demonstrationConfig(start, identity) : start.load()),
    apply: async (changed) => {
      const next = withMadeUsers(changed, identity.secret);
      await ensureStreams(store.log, next, inForce);
      // The RTSP server asks who may push and watch every time: it has to know before they come.
      inForce = next;
      await streamCameras.update();
      marks.update(next.cameras);
      await mqtt.update(next.mqtt);
      await files.update(next.files);
      await hooks.update(next.hooks);
      await functions.update(next.functions);
      await all.update(next);
      kinesis.update(next);
      logger.setLevel(next.logging.level);
      await tell(changed);
    },
    // The demonstration goes on until the next start, also when somebody has written a file.
    alsoWaiting: () =>
      start.demonstration && existsSync(join(start.folder, defaultFile)) ? [defaultFile] : [],
    withoutEffect: (config) => keptShards(store.log, config),
    logger,
  });
  watchConfiguration(building, reloader);
  const entrances = entrancesOf(written, opening, start.demonstration);
  const streaming = putMedia({ ...building, entrance: putMediaEntrance, kinesis, kinesisVideo });
  const receivers = { rtspServer, mqtt, files, cameras, webRtc, media };
  const services = { kinesis, kinesisVideo, streaming };
  const parts = { ...receivers, ...services, deliveries, hooks, functions, reloader };
  const { server, tokens } = await startHttp(building, parts);

  tell = tellingCommands(building, written, server.url);
  await tell(written);
  const mqttAddress = mqtt.address();
  // Whoever looks for what was sent on finds a place, before anything was.
  if (start.demonstration) await mkdir(demoBucket(config.dataDir), { recursive: true });
  const demonstration =
    start.demonstration && rtspServer !== null && mqttAddress !== null
      ? startDemonstration({
          secrets: demoSecrets(identity.secret),
          host: opening.lanAddresses[0] ?? '127.0.0.1',
          rtspPort: rtspServer.address.port,
          mqttPort: mqttAddress.port,
          ffmpegPath,
          supervisor,
          clock,
        })
      : null;
  for (const line of printAddresses({
    version: start.version,
    config,
    url: server.url,
    loginCode: await tokens.createLoginCode(),
    firstToken: start.showsSecrets ? await tokens.createFirstToken() : null,
    mqtt: mqttAddress,
    rtsp: rtspServer?.address ?? null,
    entrances,
    logins: entrances === null ? { mqtt: null, rtsp: null } : loginsOf(entrances, identity.secret),
    showsSecrets: start.showsSecrets,
    demonstration,
  })) {
    start.announce(line);
  }
  logger.info(
    { version: start.version, gatewayId: identity.gatewayId, http: server.url },
    'serving',
  );
  return reloader;
}

/**
 * Tells the commands where this gateway is (running.ts), until it closes.
 * @returns tells them again, once users have changed; where it listens takes a restart to change
 */
function tellingCommands(
  { opening, demonstration, pid, logger, closing }: Building,
  started: Config,
  url: string,
): (config: Config) => Promise<void> {
  const { dataDir } = started;
  closing.add('servers', 'what commands are told', () => removeRunning(dataDir));
  return async ({ mqtt, rtsp }) => {
    const inForce = {
      ...started,
      mqtt: { ...started.mqtt, users: mqtt.users },
      rtsp: { ...started.rtsp, readers: rtsp.readers },
    };
    const entrances = entrancesOf(inForce, opening, demonstration);
    // On a full disk it serves all the same.
    await writeRunning(dataDir, { processId: pid, url, demonstration, entrances }).catch(
      (error: unknown) => {
        logger.warn(
          { error },
          'commands such as "headgate status" can not be told where it listens',
        );
      },
    );
  };
}

/** Has the configuration loaded again whenever one of its files changes. */
function watchConfiguration({ clock, logger, closing }: Building, reloader: Reloader): void {
  const follow = (): void => {
    watch.follow(reloader.files.map(({ path }) => path));
  };
  const watch = new FileWatch({
    clock,
    logger,
    changed: () => {
      // What went wrong is logged where it went wrong.
      void reloader.reloadIfChanged().then(follow, follow);
    },
  });
  closing.add('parts', 'the configuration', () => {
    watch.close();
    return reloader.close();
  });
  follow();
}

/** The configuration of the demonstration, with the environment laid over it as over any file. */
function demonstrationConfig(start: GatewayStart, identity: Identity): ConfigResult {
  return parseConfig({
    name: 'the demonstration',
    text: demoConfiguration,
    folder: start.folder,
    env: {
      ...start.env,
      ...demoVariables(demoSecrets(identity.secret), start.config.dataDir),
    },
  });
}

function usable(result: ConfigResult): Config {
  if (result.ok) return result.config;
  throw new Error(result.problems.map(showProblem).join('\n'));
}

function mqttTls({ certificate, mqttTlsHost }: Opening): (Certificate & { host: string }) | null {
  return certificate === null ? null : { ...certificate, host: mqttTlsHost };
}

async function startRtsp({
  config,
  opening,
  inForce,
  closing,
  ...ports
}: Building): Promise<RtspServer | null> {
  const { enabled, port, tlsPort, maxConnections, maxReaderBufferBytes } = config.rtsp;
  const host = opening.rtspHost;
  if (!enabled) return null;
  const { certificate } = opening;
  const server = new RtspServer({
    host,
    port,
    tls:
      certificate === null
        ? null
        : { host, port: tlsPort, cert: certificate.cert, key: certificate.key },
    path: (camera) => {
      const { cameras, rtsp } = inForce();
      // Nobody but our own recorder: players would find it only while somebody watches elsewhere.
      if (isSubstreamOf(cameras, camera)) return { publisher: null, readers: [] };
      const found = Object.hasOwn(cameras, camera) ? cameras[camera] : undefined;
      if (found === undefined) return undefined;
      return {
        publisher: 'push' in found.source ? found.source.push : null,
        readers: rtsp.readers,
      };
    },
    limits: {
      ...{ connectionsMax: maxConnections, queueBytesMax: maxReaderBufferBytes },
      ...relayLimits(config.webrtc.enabled),
    },
    clock: ports.clock,
    logger: ports.logger,
    metrics: ports.metrics,
  });
  const [at, key] =
    certificate === null
      ? [`${host}:${port}`, 'rtsp.port']
      : [`${host}:${port} and ${tlsPort}`, 'rtsp.port or rtsp.tlsPort'];
  await listening('RTSP', at, key, server.listen());
  closing.add('servers', 'RTSP', () => server.close());
  return server;
}

async function startVideo(
  { config, store, supervisor, closing, clock, logger, metrics }: Building,
  rtspServer: RtspServer | null,
  putMediaEntrance: PutMediaEntrance,
  { ffmpegPath, cameras }: { ffmpegPath: string; cameras: Config['cameras'] },
): Promise<Cameras> {
  if (Object.keys(config.cameras).length > 0) await probeFfmpegVersion(ffmpegPath);
  return startCameras({
    cameras,
    allowedNetworks: config.sources.allowedNetworks,
    video: store.video,
    rtspServer,
    hasWebRtc: config.webrtc.enabled,
    putMedia: putMediaEntrance,
    onClose: (close) => {
      closing.add('servers', 'the relay of cameras', close);
    },
    ffmpegPath,
    supervisor,
    clock,
    logger,
    metrics,
  });
}

function startWebRtcFor(
  { config, opening, inForce, closing, clock, logger, metrics }: Building,
  cameras: Cameras,
  ffmpegPath: string,
): RunningWebRtc | null {
  if (!config.webrtc.enabled) return null;
  const webRtc = startWebRtc({
    config: config.webrtc,
    hosts: webRtcHosts(opening.webRtcHost),
    cameras: () => inForce().cameras,
    relay: () => cameras.relay(),
    substream: (camera) => cameras.substream(camera),
    ...{ ffmpegPath, clock, logger, metrics },
  });
  closing.add('parts', 'WebRTC', () => webRtc.close());
  return webRtc;
}

function startForwarding(building: Building, first: readonly DeliveryOptions[]): Deliveries {
  const { config, store, identity, clock, logger, metrics, closing } = building;
  const deliveries = startDeliveries({
    deliveries: first,
    maxBytesPerSecond: config.uplink.maxBytesPerSecond,
    log: store.log,
    video: store.video,
    gatewayId: identity.gatewayId,
    programs: { env: building.env, killGroup: building.killGroup },
    clock,
    logger,
    metrics,
    random: Math.random,
    account: { accountId: config.aws.accountId, region: config.aws.region },
  });
  closing.add('parts', 'deliveries', () => deliveries.close());
  return deliveries;
}

async function startFunctions(building: Building): Promise<EventSources> {
  const { config, store, identity, clock, logger, metrics, closing } = building;
  const { accountId, region } = config.aws;
  const functions = await startEventSources({
    ...{ functions: config.functions, log: store.log, video: store.video },
    ...{ gatewayId: identity.gatewayId, fetch },
    ...{ account: { accountId, region }, clock, logger, metrics, random: Math.random },
  });
  closing.add('parts', 'functions', () => functions.close());
  return functions;
}
