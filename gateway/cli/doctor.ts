/**
 * `headgate doctor`: looks at the machine, the configuration and, where one runs, the gateway, and
 * says what to do about what it finds. Works without a gateway, and without a usable configuration.
 */
import { readIdentity } from '../identity.ts';
import { CamerasSchema } from '../api/rest/camera-schemas.ts';
import { DeliveriesSchema, FindingsSchema, type Delivery } from '../api/rest/delivery-schemas.ts';
import { FunctionsSchema } from '../api/rest/function-schemas.ts';
import { ClockSchema } from '../api/rest/operation-schemas.ts';
import { StatusSchema } from '../api/rest/status-schemas.ts';
import { loadConfig } from '../config/load.ts';
import { showProblem } from '../config/problems.ts';
import type { Config } from '../config/schema.ts';
import { diagnoseDelivery } from '../doctor/deliveries.ts';
import { attempt, failure, fine, warning, type Diagnosis } from '../doctor/diagnosis.ts';
import { diagnoseDisk, diagnoseMount } from '../doctor/disk.ts';
import {
  diagnoseClock,
  diagnoseMemory,
  diagnoseNode,
  diagnoseOpenFiles,
  judgePool,
  variableOf,
} from '../doctor/machine.ts';
import { diagnoseFunction } from '../doctor/functions.ts';
import { diagnoseHook } from '../doctor/hooks.ts';
import { diagnosePort } from '../doctor/ports.ts';
import { diagnoseFfmpeg, diagnoseWorker } from '../doctor/programs.ts';
import { namedDeliveries } from '../forward/options.ts';
import { withBackups } from '../forward/source-backup.ts';
import { listenersOf } from '../opening.ts';
import { readCertificate } from '../security/certificates.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { loadFor, UnusableConfig, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { deliveryNotices, type Notice } from './delivery-notices.ts';
import { functionNotices } from './function-status.ts';
import { packageInfo } from './package-info.ts';
import { counted } from './table.ts';

const defaultFloorBytes = 512 * 2 ** 20;
const dayMs = 86_400_000;
const startAdvice =
  'if it should run, see why it ended ("journalctl --unit headgate" where it is a service)';

export interface DoctorCommandOptions extends ClientOptions {
  readonly json?: boolean;
}

/** Ends with 1 when anything fails. */
export async function doctor(
  context: CliContext,
  options: DoctorCommandOptions,
): Promise<ExitCode> {
  const found: Diagnosis[] = [];
  const report = (findings: readonly Diagnosis[]): void => {
    found.push(...findings);
    if (options.json !== true) context.stdout.write(findings.map(show).join(''));
  };
  const config = await configuration(context, options, report);
  const running = await askGateway(context, config, options);
  report(running.findings);
  const pid = running.pid === 'unknown' ? null : running.pid;
  report([diagnoseNode(context.nodeVersion)]);
  report(await attempt('Memory', async () => [await diagnoseMemory()]));
  report(await attempt('Open files', async () => [await diagnoseOpenFiles(pid)]));
  report([
    judgePool(
      pid === null
        ? context.env['UV_THREADPOOL_SIZE']
        : await variableOf(pid, 'UV_THREADPOOL_SIZE'),
      pid !== null,
    ),
  ]);
  report(await attempt('Clock', async () => [await diagnoseClock(context.clock.nowMs())]));
  report(await programs(context, config));
  report(await disks(config));
  report(await ports(config, running.pid));
  report(await attempt('Certificate', () => certificate(config, context.clock.nowMs())));
  report(await deliveries(context, config));
  report(running.deliveries ?? unseen(config));
  report(running.deliveryNotices);
  report(await functions(context, config));
  report(running.functionNotices);
  report(await hooks(context, config));
  if (options.json === true) context.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else context.stdout.write(sum(found));
  return found.some(({ status }) => status === 'fail') ? exitCodes.failed : exitCodes.done;
}

const marks: Readonly<Record<Diagnosis['status'], string>> = { ok: '✓', warn: '!', fail: '✗' };

function show({ name, status, message, advice }: Diagnosis): string {
  const line = `${marks[status]} ${name.padEnd(18)} ${message}\n`;
  return advice === null ? line : `${line}${' '.repeat(21)}→ ${advice}\n`;
}

function sum(found: readonly Diagnosis[]): string {
  const count = (status: Diagnosis['status']): number =>
    found.filter((one) => one.status === status).length;
  const [failures, warnings] = [count('fail'), count('warn')];
  if (failures + warnings === 0) return '\nNothing is wrong.\n';
  return `\n${failures} to mend (✗), ${warnings} to look at (!).\n`;
}

/** The configuration that is written, or the defaults where that can't be used. */
async function configuration(
  context: CliContext,
  options: ConfigOption,
  report: (findings: readonly Diagnosis[]) => void,
): Promise<Config> {
  try {
    const { config, file } = await loadFor(context, options);
    report([fine('Configuration', file ?? 'no file: the demonstration')]);
    return config;
  } catch (error) {
    if (!(error instanceof UnusableConfig)) throw error;
    const advice = 'correct it; the rest looks at the defaults';
    report(error.problems.map((problem) => failure('Configuration', showProblem(problem), advice)));
  }
  const defaults = await loadConfig({ file: null, folder: context.folder, env: {} });
  if (!defaults.ok) throw new Error('the defaults are no configuration');
  return defaults.config;
}

interface Running {
  /** null: it does not run, or not on this machine; unknown: something answers. */
  readonly pid: number | 'unknown' | null;
  readonly findings: readonly Diagnosis[];
  /** About the deliveries that it alone knows; null: it could not be asked. */
  readonly deliveries: readonly Diagnosis[] | null;
  /** What went wrong with records of deliveries and of functions. */
  readonly deliveryNotices: readonly Diagnosis[];
  readonly functionNotices: readonly Diagnosis[];
}

/** Of a gateway that could not be asked. */
const nothingTold = { deliveries: null, deliveryNotices: [], functionNotices: [] } as const;

async function askGateway(
  context: CliContext,
  config: Config,
  options: DoctorCommandOptions,
): Promise<Running> {
  const name = 'Gateway';
  try {
    const client = await GatewayClient.find(context, options);
    if (options.url === undefined && client.running === null && !(await hasRun(config))) {
      const findings = [fine(name, `has not run yet in ${config.dataDir}`)];
      return { pid: null, findings, ...nothingTold };
    }
    return await client.whileLoggedIn(async () => {
      const { health, version, processId } = await client.get('/api/v1/status', StatusSchema);
      const clock = await client.get('/api/v1/clock', ClockSchema);
      const sent = await client.get('/api/v1/deliveries', DeliveriesSchema);
      const called = await client.get('/api/v1/functions', FunctionsSchema);
      const { cameras } = await client.get('/api/v1/cameras', CamerasSchema);
      const troubles = health.checks
        .filter(({ status, name: check }) => status !== 'ok' && check !== 'cameras')
        .map((check) => {
          const say = check.status === 'failing' ? failure : warning;
          return say(
            `Gateway ${check.name}`,
            check.message ?? check.status,
            'see "headgate status"',
          );
        });
      const away = cameras
        .filter(({ state }) => state === 'backing-off' || state === 'disabled')
        .map((camera) =>
          warning(
            `Camera ${camera.name}`,
            camera.lastError ?? camera.state,
            '"headgate camera probe" tells more',
          ),
        );
      const steps = clock.steps.length;
      const stepped =
        steps === 0
          ? []
          : [fine('Gateway clock', `${counted(steps, 'step')} seen; see "headgate clock"`)];
      const what =
        client.running?.demonstration === true ? `${version}, the demonstration,` : version;
      const findings = [fine(name, `${what} runs: ${health.status}`), ...troubles, ...away];
      return {
        pid: options.url === undefined ? processId : null,
        findings: [...findings, ...stepped],
        deliveries: await deliveryStreams(client, sent.deliveries),
        deliveryNotices: noticed('Delivery', sent.deliveries, deliveryNotices),
        functionNotices: noticed('Function', called.functions, functionNotices),
      };
    });
  } catch (error) {
    const isAway = error instanceof NoAnswer && error.cause !== undefined;
    if (isAway || error instanceof UnusableConfig) {
      const message = isAway ? error.message : 'none runs that could be found';
      return { pid: null, findings: [warning(name, message, startAdvice)], ...nothingTold };
    }
    const reason = error instanceof Error ? error.message : String(error);
    const advice = 'run this as the user of the gateway, or give a --token';
    const findings = [warning(name, `could not be asked: ${reason}`, advice)];
    return { pid: 'unknown', findings, ...nothingTold };
  }
}

/** One whose identity can't be read has run, under another user. */
function hasRun({ dataDir }: Config): Promise<boolean> {
  return readIdentity(dataDir).then(
    (identity) => identity !== null,
    () => true,
  );
}

async function programs(context: CliContext, config: Config): Promise<readonly Diagnosis[]> {
  const needed = Object.keys(config.cameras).length > 0;
  const { env } = context;
  return [
    await diagnoseFfmpeg(config.ffmpegPath ?? 'ffmpeg', env['PATH'] ?? '', needed),
    await diagnoseWorker(packageInfo().folder, env['MEDIASOUP_WORKER_BIN']),
  ];
}

async function disks(config: Config): Promise<readonly Diagnosis[]> {
  const { dataDir, mediaDir, log, video } = config;
  const floor = log.minFreeBytes ?? defaultFloorBytes;
  const data = {
    name: 'Data',
    folder: dataDir,
    minFreeBytes: mediaDir === null ? Math.max(floor, video.minFreeBytes) : floor,
    lingerMs: log.lingerMs,
  };
  const found = [
    ...(await attempt('Data', () => diagnoseDisk(data))),
    ...(await attempt('Data', () => diagnoseMount('Data', dataDir))),
  ];
  if (mediaDir === null) return found;
  const { minFreeBytes } = video;
  const media = { name: 'Footage', folder: mediaDir, minFreeBytes, lingerMs: null };
  return [
    ...found,
    ...(await attempt('Footage', () => diagnoseDisk(media))),
    ...(await attempt('Footage', () => diagnoseMount('Footage', mediaDir))),
  ];
}

async function ports(config: Config, pid: Running['pid']): Promise<readonly Diagnosis[]> {
  return Promise.all(listenersOf(config).map((listener) => diagnosePort(listener, pid)));
}

async function certificate(config: Config, nowMs: number): Promise<readonly Diagnosis[]> {
  const { certFile, keyFile } = config.tls;
  if (certFile === null || keyFile === null) return [];
  try {
    const { notAfterMs } = await readCertificate(certFile, keyFile);
    const days = Math.floor((notAfterMs - nowMs) / dayMs);
    if (days < 0) return [failure('Certificate', `${certFile} has ended`, 'put in a new one')];
    return days < 14
      ? [warning('Certificate', `${certFile} ends in ${days} days`, 'put in a new one')]
      : [fine('Certificate', `${certFile} is good for ${days} days`)];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [failure('Certificate', reason, 'correct tls.certFile and tls.keyFile')];
  }
}

async function deliveries(
  { fetch, clock }: CliContext,
  config: Config,
): Promise<readonly Diagnosis[]> {
  const found = await Promise.all(
    withBackups(namedDeliveries(config.deliveries)).map((delivery) =>
      diagnoseDelivery(delivery, { fetch, clock }),
    ),
  );
  return found.flat();
}

/** Those made over the Firehose API: the gateway alone knows them, and what they are let in by. */
async function deliveryStreams(
  client: GatewayClient,
  all: readonly Delivery[],
): Promise<readonly Diagnosis[]> {
  const found = await Promise.all(
    all
      .filter(({ origin }) => origin === 'firehose')
      .map(({ name }) =>
        attempt(`Delivery ${name}`, async () => {
          const path = `/api/v1/deliveries/${encodeURIComponent(name)}/check`;
          return (await client.post(path, FindingsSchema)).findings;
        }),
      ),
  );
  return found.flat();
}

function noticed<One extends { readonly name: string }>(
  what: string,
  all: readonly One[],
  noticesOf: (one: One) => readonly Notice[],
): readonly Diagnosis[] {
  return all.flatMap((one) =>
    noticesOf(one).map((notice) => warning(`${what} ${one.name}`, notice.what, notice.advice)),
  );
}

/** What can't be looked at while no gateway runs. */
function unseen({ firehose: { allowed } }: Config): readonly Diagnosis[] {
  const isUsed = Object.values(allowed).some((places) => places.length > 0);
  const message = 'those made over the Firehose API are looked at while the gateway runs';
  return isUsed ? [fine('Delivery streams', message)] : [];
}

async function functions(
  { fetch, clock }: CliContext,
  config: Config,
): Promise<readonly Diagnosis[]> {
  const found = await Promise.all(
    Object.entries(config.functions).map(([entry, source]) => {
      const { function: target, deadLetter } = source;
      const name = `Function ${entry}`;
      const timeoutMs = source.timeoutSeconds * 1000;
      return attempt(name, async () => [
        await diagnoseFunction(name, target, { fetch, clock, timeoutMs }),
        ...(deadLetter !== null && 'folder' in deadLetter
          ? await diagnoseMount(name, deadLetter.folder)
          : []),
      ]);
    }),
  );
  return found.flat();
}

async function hooks(
  { env, fetch, clock }: CliContext,
  config: Config,
): Promise<readonly Diagnosis[]> {
  const path = env['PATH'] ?? '';
  const found = await Promise.all(
    Object.entries(config.hooks).map(([name, { to, timeoutSeconds }]) => {
      const surroundings = { path, fetch, clock, timeoutMs: timeoutSeconds * 1000 };
      return attempt(`Hook ${name}`, async () => [await diagnoseHook(name, to, surroundings)]);
    }),
  );
  return found.flat();
}
