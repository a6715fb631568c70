/** A real store with the real application over it, and what tests ask it with. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Metering } from '../../../gateway/api/kinesis/metering.ts';
import { cameraFinding } from '../../../gateway/camera-finding.ts';
import { cameraSettings } from '../../../gateway/camera-settings.ts';
import {
  createApp,
  type App,
  type AppOptions,
  type AppSources,
} from '../../../gateway/http/app.ts';
import type { Page } from '../../../gateway/http/page.ts';
import type { AuditEntry } from '../../../gateway/observe/audit.ts';
import { startMedia } from '../../../gateway/media.ts';
import { startOperations } from '../../../gateway/operations.ts';
import { Tokens } from '../../../gateway/security/tokens.ts';
import { privateNetworks } from '../../../ingest/rtsp/client/guard.ts';
import type { Log, VideoStore } from '../../../storage/model.ts';
import { openStore, type StoreOptions } from '../../../storage/store.ts';
import { ffmpegPath } from '../../support/tools.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { MemoryLogger } from '../../support/memory-logger.ts';
import { MemoryMetrics } from '../../support/memory-metrics.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

export interface TestGateway {
  readonly app: App;
  readonly log: Log;
  readonly video: VideoStore;
  readonly tokens: Tokens;
  readonly token: string;
  readonly clock: ManualClock;
  readonly logger: MemoryLogger;
  readonly metrics: MemoryMetrics;
  /** What went to the audit log. */
  readonly audited: readonly AuditEntry[];
  readonly sources: { -readonly [name in keyof AppSources]: AppSources[name] };
  /** Asks with the token. */
  get(path: string): Promise<Response>;
  /** Asks with the token, and expects JSON and success. */
  json(path: string): Promise<unknown>;
}

export async function startGateway(
  context: TestContext,
  options: {
    readonly page?: Page;
    readonly mediaFileMs?: number;
    readonly configFile?: string;
    readonly kinesis?: NonNullable<AppOptions['kinesis']>;
    readonly webRtc?: NonNullable<AppOptions['webRtc']>;
    readonly masterKeys?: NonNullable<StoreOptions['masterKeys']>;
  } = {},
): Promise<TestGateway> {
  const folder = await temporaryFolder(context);
  const clock = new ManualClock();
  const logger = new MemoryLogger();
  const metrics = new MemoryMetrics();
  const metering = new Metering({ clock, metrics });
  const store = await openStore({
    onAppended: metering.took,
    folder,
    clock,
    logger,
    metrics,
    video: { mediaFileMs: options.mediaFileMs ?? 60_000 },
    ...(options.masterKeys === undefined ? {} : { masterKeys: options.masterKeys }),
  });
  context.after(() => store.close());
  const { log, video } = store;
  metering.start(log);
  context.after(() => {
    metering.close();
  });
  const tokens = await Tokens.open({ folder: join(folder, 'access'), clock });
  const token = await tokens.createToken();
  const sources: TestGateway['sources'] = {
    health: () => Promise.resolve({ status: 'ok', checks: [] }),
    live: () => Promise.resolve(true),
    freeBytes: () => Promise.resolve(1_000_000),
    fullMs: () => Promise.resolve(null),
    mqtt: () => null,
    rtsp: () => null,
    deliveries: () => Promise.resolve([]),
    functions: () => Promise.resolve([]),
    checkDelivery: () => Promise.resolve(null),
    deliveryFlow: {
      pause: () => Promise.resolve(null),
      resume: () => Promise.resolve(null),
      rewind: () => Promise.resolve(null),
      metered: () => Promise.resolve(null),
      replay: () => Promise.resolve(null),
      removed: () => Promise.resolve([]),
      forget: () => Promise.resolve('unknown'),
      optionsOf: () => null,
    },
    functionFlow: {
      removed: () => Promise.resolve([]),
      pause: () => Promise.resolve(null),
      resume: () => Promise.resolve(null),
      rewind: () => Promise.resolve(null),
      replay: () => Promise.resolve(null),
      forget: () => Promise.resolve('unknown'),
    },
    cameras: () => [],
    files: () => [],
    renderMetrics: () => Promise.resolve('headgate_up 1\n'),
  };
  const operations = startOperations({
    store,
    folder,
    mediaFolder: join(folder, 'media'),
    version: '0.1.0',
    reload: () => Promise.resolve({ changed: [], needsRestart: [], withoutEffect: [] }),
    clock,
    logger,
  });
  context.after(() => operations.close());
  const media = startMedia({
    config: { minFreeBytes: 0, imageCpuShare: 64, thumbnails: 'on-demand' },
    ...{ video, ffmpegPath, clock, logger, metrics },
  });
  context.after(() => {
    media.close();
  });
  const audited: AuditEntry[] = [];
  const closing = new AbortController();
  context.after(() => {
    closing.abort();
  });
  const app = createApp({
    gatewayId: '0197-test',
    processId: 4711,
    version: '0.1.0',
    startMs: clock.nowMs(),
    clock,
    logger,
    metrics,
    log,
    video,
    operations,
    metering,
    audit: { record: (entry) => audited.push(entry) },
    media,
    cameraSettings: cameraSettings({
      file: options.configFile ?? null,
      env: {},
      allowedNetworks: privateNetworks,
      reload: () => Promise.resolve({ changed: ['cameras'], needsRestart: [], withoutEffect: [] }),
    }),
    cameraFinding: cameraFinding({
      allowedNetworks: privateNetworks,
      closing: closing.signal,
      clock,
    }),
    sources,
    tokens,
    closing: closing.signal,
    hostNames: ['gateway.example.net'],
    page: options.page ?? null,
    ...(options.kinesis === undefined ? {} : { kinesis: options.kinesis }),
    ...(options.webRtc === undefined ? {} : { webRtc: options.webRtc }),
  });
  const get = async (path: string): Promise<Response> =>
    app.request(`http://localhost${path}`, { headers: { authorization: `Bearer ${token}` } });
  const json = async (path: string): Promise<unknown> => {
    const response = await get(path);
    const body: unknown = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(body)}`);
    return body;
  };
  const made = { app, log, video, tokens, token, clock, logger, metrics };
  return { ...made, sources, audited, get, json };
}
