/** `headgate status`: asks the running gateway over HTTP, as any client could (`client.ts`). */
import { CamerasSchema, type Cameras } from '../api/rest/camera-schemas.ts';
import { DeliveriesSchema, type Deliveries } from '../api/rest/delivery-schemas.ts';
import { FunctionsSchema, type Functions } from '../api/rest/function-schemas.ts';
import {
  FileSourcesSchema,
  StatusSchema,
  type FileSources,
  type Status,
} from '../api/rest/status-schemas.ts';
import { StreamsSchema, type Streams } from '../api/rest/stream-schemas.ts';
import { isHeldWithOwner } from '../forward/delivery-status.ts';
import { deliveryNotices, noticeLine } from './delivery-notices.ts';
import { functionAdvice, functionTable, removedFunctionLine } from './function-status.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { counted, formatAge, formatBytes, table } from './table.ts';
import { fileFor } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';

export interface StatusCommandOptions extends ClientOptions {
  readonly json?: boolean;
}

/** Everything that the command shows; also what `--json` prints. */
interface Answers {
  readonly status: Status;
  readonly streams: Streams['streams'];
  readonly files: FileSources['files'];
  readonly cameras: Cameras['cameras'];
  readonly deliveries: Deliveries['deliveries'];
  readonly functions: Functions['functions'];
  readonly removed: Deliveries['removed'];
  readonly removedFunctions: Functions['removed'];
}

/** @throws UnusableConfig, when none runs */
export async function showStatus(
  context: CliContext,
  options: StatusCommandOptions,
): Promise<ExitCode> {
  try {
    const client = await GatewayClient.find(context, options);
    const answers = await ask(client);
    const file = fileFor(context, options);
    context.stdout.write(
      options.json === true
        ? `${JSON.stringify(answers, null, 2)}\n`
        : `${show(answers)}${client.running?.demonstration === true ? aboutDemonstration(file) : ''}`,
    );
    return answers.status.health.status === 'failing' ? exitCodes.failed : exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}

function ask(client: GatewayClient): Promise<Answers> {
  return client.whileLoggedIn(async () => {
    const [status, streams, files, cameras, deliveries, functions] = await Promise.all([
      client.get('/api/v1/status', StatusSchema),
      client.get('/api/v1/streams', StreamsSchema),
      client.get('/api/v1/files', FileSourcesSchema),
      client.get('/api/v1/cameras', CamerasSchema),
      client.get('/api/v1/deliveries', DeliveriesSchema),
      client.get('/api/v1/functions', FunctionsSchema),
    ]);
    return {
      ...{ status, ...streams, ...files, ...cameras, ...deliveries },
      ...{ functions: functions.functions, removedFunctions: functions.removed },
    };
  });
}

// ---------------------------------------------------------------- what people see

/** @param file that is there by now; null: none */
function aboutDemonstration(file: string | null): string {
  return file === null
    ? '\nThis is the demonstration: there is no configuration file.\n'
    : `\nThis is the demonstration, which goes on without ${file}: stop it and start again.\n`;
}

/** What went wrong is told only where something did. */
function mqttLine(mqtt: NonNullable<Answers['status']['mqtt']>): string {
  const troubles: [number, string][] = [
    [mqtt.undecodableMessages, 'kept raw'],
    [mqtt.unroutedMessages, 'without a route'],
    [mqtt.lostMessages, 'lost'],
    [mqtt.refusedConnections, 'connections refused or dropped'],
  ];
  const parts = [
    `${mqtt.connections} connected`,
    counted(mqtt.receivedMessages, 'message'),
    ...troubles.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`),
  ];
  return `MQTT ${mqtt.address}: ${parts.join(', ')}`;
}

function show(answers: Answers): string {
  const { status, streams, files, cameras, deliveries, functions, removed } = answers;
  const { storage, health, mqtt, rtsp } = status;
  const nowMs = Date.parse(status.time);
  const since = (time: string | null): string =>
    time === null ? '-' : formatAge(nowMs - Date.parse(time));
  const free = storage.freeBytes === null ? '' : `, ${formatBytes(storage.freeBytes)} free`;
  const full = storage.fullTime === null ? '' : `, full on ${storage.fullTime.slice(0, 10)}`;
  const parts = [
    `Gateway ${status.gatewayId}, version ${status.version}: ${health.status}, up ${since(status.startTime)}`,
    ...health.checks
      .filter((check) => check.status !== 'ok')
      .map((check) => `  ${check.status}: ${check.name}: ${check.message ?? ''}`),
    `Log ${formatBytes(storage.logBytes)}, footage ${formatBytes(storage.videoBytes)}${free}${full}`,
    ...lossLines(status.losses),
    ...(mqtt === null ? [] : [mqttLine(mqtt)]),
    ...(rtsp === null
      ? []
      : [`RTSP ${rtsp.address}: ${rtsp.publishers} pushing, ${rtsp.readers} watching`]),
    ...table(
      ['STREAM', 'SHARDS', 'RECORDS', 'STORED', 'RECORDS/S'],
      streams.map((stream) => [
        stream.name,
        String(stream.openShards),
        String(stream.storedRecords),
        formatBytes(stream.storedBytes),
        stream.rate === null ? '-' : stream.rate.recordsPerSecond.toFixed(1),
      ]),
    ),
    ...table(
      ['FILES', 'STATE', 'FOLLOWED', 'RECORDS', 'BACKLOG', 'ERROR'],
      files.map((one) => [
        one.name,
        one.state,
        String(one.files),
        String(one.records),
        formatBytes(one.backlogBytes),
        fileTrouble(one),
      ]),
    ),
    ...table(
      ['CAMERA', 'STATE', 'LAST FRAME', 'STORED', 'ERROR'],
      cameras.map((camera) => [
        camera.name,
        camera.state,
        since(camera.lastFrameTime),
        formatBytes(camera.storedBytes),
        cameraTrouble(camera),
      ]),
    ),
    ...table(
      ['DELIVERY', 'STATE', 'BACKLOG', 'AGE', 'LAST SUCCESS', 'WHY'],
      deliveries.map((delivery) => [
        deliveryName(delivery),
        delivery.state,
        backlogText(delivery),
        formatAge(delivery.backlog.ms),
        since(delivery.lastSuccessTime),
        isHeldWithOwner(delivery, deliveries)
          ? `as ${String(delivery.backupOf)}`
          : whyOf(delivery, nowMs),
      ]),
    ),
    ...functionTable(functions),
    ...deliveries.flatMap(({ name, state, lastError }) =>
      state === 'backing-off' && typeof lastError?.advice === 'string'
        ? [`${name}: ${lastError.advice}`]
        : [],
    ),
    ...deliveries
      .filter(({ held }) => held?.by === 'pause')
      .map(({ name }) => `${name}: "headgate delivery resume ${name}" lets it go on.`),
    ...deliveries
      .filter((one) => !isHeldWithOwner(one, deliveries))
      .flatMap(({ name, held }) => {
        const { advice = null } = held ?? {};
        return advice === null ? [] : [`${name}: ${advice}.`];
      }),
    ...deliveries.flatMap((one) =>
      deliveryNotices(one).map((notice) => noticeLine(one.name, notice)),
    ),
    ...functions.flatMap(functionAdvice),
    ...removed.map(removedText),
    ...answers.removedFunctions.map(removedFunctionLine),
  ];
  return `${parts.join('\n')}\n`;
}

function cameraTrouble({ state, lastError, substream }: Answers['cameras'][number]): string {
  if (state !== 'recording' && lastError !== null) return lastError;
  const small = substream?.lastError ?? null;
  return small === null ? '' : `the sub-stream: ${small}`;
}

function fileTrouble({ state, lastError, refusal, troubles }: Answers['files'][number]): string {
  if (state === 'backing-off') return lastError ?? '';
  if (refusal !== null) return refusal;
  const [first] = troubles;
  return first === undefined ? '' : `${first.path}: ${first.reason}`;
}

/** Whether it is in the configuration, too. */
function deliveryName({ name, origin }: Answers['deliveries'][number]): string {
  return origin === 'firehose' ? `${name} (Firehose)` : name;
}

/** Why a delivery is in its state, and until when. */
function whyOf(delivery: Answers['deliveries'][number], nowMs: number): string {
  const { state, held, lastError, nextAttemptTime, gatheringUntilTime } = delivery;
  if (held !== null) {
    return held.untilTime === null ? held.reason : `until ${held.untilTime}: ${held.reason}`;
  }
  if (gatheringUntilTime !== null) return `until ${gatheringUntilTime} at the latest`;
  if (state !== 'backing-off') return '';
  const { message = 'it failed' } = lastError ?? {};
  if (nextAttemptTime === null) return message;
  const isLater = Date.parse(nextAttemptTime) > nowMs;
  return `${isLater ? `next attempt at ${nextAttemptTime}` : 'tried again now'}: ${message}`;
}

/** What a delivery has left that is no longer configured, and how to let go of it. */
function removedText({ name, backlog, failed, pins }: Answers['removed'][number]): string {
  const { records, bytes } = backlog;
  const left = [
    ...(records > 0 ? [`${formatBytes(bytes)} were not sent`] : []),
    ...(pins ? ['it keeps what it had planned to send'] : []),
    ...(failed > 0
      ? [`${counted(failed, 'record')} failed and ${failed === 1 ? 'is' : 'are'} kept`]
      : []),
  ];
  const force = failed > 0 ? ' --force' : '';
  const also = failed > 0 ? ', and of what failed' : '';
  return `Removed: ${name} is no longer configured; ${left.join('; ')}. It goes on where it was if it is configured again; "headgate delivery forget ${name}${force}" lets go of it${also}.`;
}

/** How much is left; apart, while what is new goes out first. */
function backlogText({ backlog, lanes }: Answers['deliveries'][number]): string {
  if (lanes.length === 0) return formatBytes(backlog.bytes);
  return lanes.map((lane) => `${lane.kind} ${formatBytes(lane.backlog.bytes)}`).join(', ');
}

/** Nothing, where nothing was lost. */
function lossLines(losses: Status['losses']): readonly string[] {
  return losses.map(
    ({ what, subject, count, bytes, lastTime }) =>
      `Lost: ${subject}: ${count} ${what}${bytes === 0 ? '' : ` (${formatBytes(bytes)})`}, last at ${lastTime}`,
  );
}
