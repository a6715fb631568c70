/** Routes of the gateway as a whole: its status, and its deliveries. */
import { createRoute } from '@hono/zod-openapi';
import type { MqttStatus as BrokerStatus } from '../../../ingest/mqtt/broker.ts';
import type { Log, VideoStore } from '../../../storage/model.ts';
import type { Clock } from '../../../storage/ports.ts';
import { lossKinds, type LossReport } from '../../../storage/losses.ts';
import type { EventSources } from '../../event-sources.ts';
import type { FileSourceStatus } from '../../files.ts';
import { adviceFor, adviceOnHeld } from '../firehose/advice.ts';
import type { Diagnosis } from '../../doctor/diagnosis.ts';
import type { Deliveries } from '../../forward/deliveries.ts';
import type { HealthReport } from '../../observe/health.ts';
import type { HttpError } from '../../http/errors.ts';
import { isSubstreamName } from '../../substreams.ts';
import type { CameraStatus } from './cameras.ts';
import type { DeliveryFlow } from './delivery-flow.ts';
import type { FunctionFlow } from './function-flow.ts';
import { answers, nameParameter, type RestRouter } from './router.ts';
import { DeliveriesSchema, DeliverySchema, type Delivery } from './delivery-schemas.ts';
import {
  FunctionSchema,
  FunctionsSchema,
  type Functions,
  type StreamFunction,
} from './function-schemas.ts';
import {
  FileSourcesSchema,
  StatusSchema,
  type Loss,
  type MqttStatus,
  type RtspStatus,
} from './status-schemas.ts';
import { isoFromMs, isoFromMsOrNull } from './times.ts';

type FunctionStatus = Awaited<ReturnType<EventSources['status']>>[number];
type RemovedStatus = Awaited<ReturnType<EventSources['removed']>>[number];
type DeliveryStatus = Awaited<ReturnType<Deliveries['status']>>[number];

/** Where the routes learn how the parts of the gateway are doing. */
export interface StatusSources {
  readonly health: () => Promise<HealthReport>;
  /** Bytes left on the disk of the store; null when it cannot be told. */
  readonly freeBytes: () => Promise<number | null>;
  /** When a disk will be full; null: what is kept fits. */
  readonly fullMs: () => Promise<number | null>;
  /** null: the broker is switched off. */
  readonly mqtt: () => { readonly address: string; readonly status: BrokerStatus } | null;
  /** null: the RTSP server is switched off. */
  readonly rtsp: () => RtspStatus | null;
  readonly deliveries: () => Promise<readonly DeliveryStatus[]>;
  readonly deliveryFlow: DeliveryFlow;
  /** Whether what one needs is there; null: there is none of that name. */
  readonly checkDelivery: (name: string) => Promise<readonly Diagnosis[] | null>;
  readonly functions: EventSources['status'];
  readonly functionFlow: FunctionFlow;
  /** Of the cameras that are configured; others in the store are shown as disabled. */
  readonly cameras: () => readonly CameraStatus[];
  readonly files: () => readonly FileSourceStatus[];
}

/** What is kept of losses: part of `Operations`. */
interface LossSource {
  losses(): readonly LossReport[];
}

export interface StatusRoutesOptions {
  readonly operations: LossSource;
  readonly gatewayId: string;
  readonly processId: number;
  readonly version: string;
  readonly startMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly video: VideoStore;
  readonly sources: StatusSources;
}

const status = createRoute({
  method: 'get',
  path: '/status',
  summary: 'How the gateway is doing',
  responses: answers(StatusSchema, 'The status'),
});

const deliveries = createRoute({
  method: 'get',
  path: '/deliveries',
  summary: 'The deliveries, each with its backlog',
  responses: answers(DeliveriesSchema, 'In the order of the configuration'),
});

const delivery = createRoute({
  method: 'get',
  path: '/deliveries/{name}',
  summary: 'A delivery with its backlog',
  request: { params: nameParameter },
  responses: answers(DeliverySchema, 'As among the others'),
});

const functionCalled = createRoute({
  method: 'get',
  path: '/functions/{name}',
  summary: 'A function that gets the records of a stream, with its backlog',
  request: { params: nameParameter },
  responses: answers(FunctionSchema, 'As among the others'),
});

const functions = createRoute({
  method: 'get',
  path: '/functions',
  summary: 'The functions that get the records of streams, each with its backlog',
  responses: answers(FunctionsSchema, 'In the order of the configuration'),
});

const files = createRoute({
  method: 'get',
  path: '/files',
  summary: 'The files that are followed',
  responses: answers(FileSourcesSchema, 'In the order of the configuration'),
});

export function statusRoutes(
  router: RestRouter,
  options: StatusRoutesOptions,
  /** What is said of one that is not there. */
  absentOne: Readonly<Record<'delivery' | 'function', (name: string) => Promise<HttpError>>>,
): void {
  const { clock, log, video, sources } = options;

  router.openapi(status, async (c) => {
    const [health, freeBytes, fullMs, delivering, stored] = await Promise.all([
      sources.health(),
      sources.freeBytes(),
      sources.fullMs(),
      sources.deliveries(),
      video.cameras(),
    ]);
    const streams = log.streams();
    const mqtt = sources.mqtt();
    return c.json(
      {
        gatewayId: options.gatewayId,
        processId: options.processId,
        version: options.version,
        startTime: isoFromMs(options.startMs),
        time: isoFromMs(clock.nowMs()),
        health: { status: health.status, checks: health.checks.map((check) => ({ ...check })) },
        storage: {
          logBytes: streams.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
          videoBytes: stored.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
          freeBytes,
          fullTime: isoFromMsOrNull(fullMs),
        },
        losses: options.operations.losses().map(lossOf),
        mqtt: mqtt === null ? null : mqttStatus(mqtt.address, mqtt.status),
        rtsp: sources.rtsp(),
        counts: {
          streams: streams.length,
          cameras: stored.filter(({ name }) => !isSubstreamName(name)).length,
          camerasRecording: sources.cameras().filter(({ state }) => state === 'recording').length,
          deliveries: delivering.length,
          deliveriesFailing: delivering.filter(({ state }) => state === 'backing-off').length,
        },
      },
      200,
    );
  });

  router.openapi(deliveries, async (c) =>
    c.json(
      {
        deliveries: (await sources.deliveries()).map(deliveryOf),
        removed: (await sources.deliveryFlow.removed()).map((one) => ({
          ...{ name: one.name, pins: one.pins, failed: one.failedRecords },
          backlog: backlogOf(one.backlog),
        })),
      },
      200,
    ),
  );

  router.openapi(functions, async (c) => {
    const [running, removed] = [await sources.functions(), await sources.functionFlow.removed()];
    return c.json({ functions: running.map(functionOf), removed: removed.map(removedOf) }, 200);
  });

  router.openapi(delivery, async (c) => {
    const { name } = c.req.valid('param');
    const found = (await sources.deliveries()).find((one) => one.name === name);
    if (found === undefined) throw await absentOne.delivery(name);
    return c.json(deliveryOf(found), 200);
  });

  router.openapi(functionCalled, async (c) => {
    const { name } = c.req.valid('param');
    const found = (await sources.functions()).find((one) => one.name === name);
    if (found === undefined) throw await absentOne.function(name);
    return c.json(functionOf(found), 200);
  });

  router.openapi(files, (c) =>
    c.json(
      {
        files: sources.files().map(({ lastRecordMs, troubles, ...rest }) => ({
          ...rest,
          troubles: troubles.map((trouble) => ({ ...trouble })),
          lastRecordTime: isoFromMsOrNull(lastRecordMs),
        })),
      },
      200,
    ),
  );
}

function mqttStatus(address: string, broker: BrokerStatus): MqttStatus {
  return {
    address,
    connections: broker.connections,
    receivedMessages: broker.received,
    messagesPerSecond: broker.messagesPerSecond,
    bytesPerSecond: broker.bytesPerSecond,
    undecodableMessages: broker.routes.reduce((sum, { undecodable }) => sum + undecodable, 0),
    unroutedMessages: broker.unrouted,
    lostMessages: broker.lost,
    refusedConnections: broker.failedConnections,
    routes: broker.routes.map(({ lastMessageMs, ...route }) => ({
      ...route,
      lastMessageTime: isoFromMsOrNull(lastMessageMs),
    })),
  };
}

function lossOf({ firstMs, lastMs, ...loss }: LossReport): Loss {
  const { what } = lossKinds[loss.kind];
  return { ...loss, what, firstTime: isoFromMs(firstMs), lastTime: isoFromMs(lastMs) };
}

function backlogOf({ bytes, records, seconds }: DeliveryStatus['backlog']): Delivery['backlog'] {
  return { bytes, records, ms: Math.max(0, Math.round(seconds * 1_000)) };
}

function newestOf(newest: DeliveryStatus['newestFailed']): Delivery['lastFailed'] {
  return newest && { time: isoFromMs(newest.atMs), reason: newest.reason };
}

function underErrorPrefixOf(
  went: DeliveryStatus['underErrorPrefix'],
): Delivery['underErrorPrefix'] {
  if (went === null) return null;
  const { newest, ...one } = went;
  return { ...one, last: newestOf(newest) };
}

function failedOf(failed: FunctionStatus['failed']): StreamFunction['failed'] {
  return failed && { ...failed, newest: newestOf(failed.newest) };
}

export function functionOf(status: FunctionStatus): StreamFunction {
  const { trouble, backlog, failed, givenUp, sinceMs, ...one } = status;
  return {
    ...one,
    failed: failedOf(failed),
    givenUp: {
      ...{ kept: { ...givenUp.kept }, gone: { ...givenUp.gone } },
      newest: newestOf(givenUp.newest),
    },
    sinceTime: isoFromMs(sinceMs),
    lastError: trouble,
    backlog: backlogOf(backlog),
  };
}

function removedOf({ backlog, failed, ...one }: RemovedStatus): Functions['removed'][number] {
  return { ...one, backlog: backlogOf(backlog), failed: failedOf(failed) };
}

export function deliveryOf(delivery: DeliveryStatus): Delivery {
  const { lastFailure, held } = delivery;
  return {
    name: delivery.name,
    backupOf: delivery.backupOf,
    keeps: delivery.keeps,
    origin: delivery.origin,
    from: { ...delivery.from },
    to: { ...delivery.to },
    required: delivery.required,
    state: delivery.state,
    gatheringUntilTime: isoFromMsOrNull(delivery.gatheringUntilMs),
    held:
      held === null
        ? null
        : {
            ...{ by: held.by, reason: held.reason, isFault: held.isFault },
            advice: adviceOnHeld(held),
            untilTime: isoFromMsOrNull(held.untilMs),
          },
    priority: delivery.priority,
    nextAttemptTime: isoFromMsOrNull(delivery.retryAtMs),
    backlog: backlogOf(delivery.backlog),
    catchUp: delivery.catchUp,
    lanes: delivery.lanes.map(({ kind, backlog }) => ({ kind, backlog: backlogOf(backlog) })),
    maxBytesPerSecond: delivery.maxBytesPerSecond,
    rate: { ...delivery.rate },
    sinceTime: isoFromMs(delivery.sinceMs),
    sentRecords: delivery.sentRecords,
    sentBytes: delivery.sentBytes,
    errors: delivery.failures,
    lost: delivery.lostRecords,
    failed: delivery.failedRecords,
    isReplaying: delivery.isReplaying,
    lastFailed: newestOf(delivery.newestFailed),
    underErrorPrefix: underErrorPrefixOf(delivery.underErrorPrefix),
    lastError:
      lastFailure === null
        ? null
        : {
            time: isoFromMs(lastFailure.atMs),
            code: lastFailure.code,
            message: lastFailure.message,
            advice: adviceFor(delivery),
          },
    lastSuccessTime: isoFromMsOrNull(delivery.lastSuccessMs),
  };
}
