/**
 * `headgate run`: the gateway until a signal ends it.
 *
 * The first SIGTERM or SIGINT drains: what is under way is finished, for `shutdownTimeoutSeconds`
 * at most. A second one leaves at once; nothing acknowledged is lost by that. SIGHUP loads the configuration again.
 */
import { StorageError } from '../../storage/errors.ts';
import { messageOf } from '../config/substitute.ts';
import { createLogger, type GatewayLogger } from '../observe/logger.ts';
import { maskUrls } from '../observe/mask.ts';
import { PrometheusMetrics } from '../observe/metrics.ts';
import { loadFor, type ConfigOption, type LoadedConfig } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode, type RunningGateway } from './context.ts';
import { packageInfo } from './package-info.ts';

/** Closing is bounded itself (closing.ts); this is for when that fails. */
const drainSlackMs = 2000;
/** How long the last log lines may take, where their reader stalls. */
const lastLinesMaxMs = 1000;

/** @throws UnusableConfig */
export async function run(context: CliContext, option: ConfigOption): Promise<ExitCode> {
  const loaded = await loadFor(context, option);
  const logger = loggerFor(context, loaded);
  context.onExit(() => {
    logger.flush();
  });
  const signals = new Signals(context);
  const starting = start(context, loaded, logger);
  try {
    const first = await Promise.race([starting, signals.next()]);
    if (typeof first !== 'string') {
      context.serving();
      // What is wrong with a configuration has been logged, problem by problem.
      signals.reloads = () => void first.reload().catch(() => undefined);
    }
    const signal = typeof first === 'string' ? first : await signals.next();
    const drainMaxMs = loaded.config.shutdownTimeoutSeconds * 1000 + drainSlackMs;
    return await drain(context, starting, signal, signals, logger, drainMaxMs);
  } catch (error) {
    // Who has the store, or that it is damaged, says everything; where in the program that was
    // found does not.
    const isTold =
      error instanceof StorageError && ['already-exists', 'corrupt'].includes(error.code);
    logger.error({ error: isTold ? error.message : error }, 'the gateway could not start');
    context.stderr.write(`headgate: could not start: ${maskUrls(messageOf(error))}\n`);
    return exitCodes.failed;
  } finally {
    signals.close();
    await Promise.race([logger.drained(), after(context, lastLinesMaxMs)]);
  }
}

async function start(
  context: CliContext,
  { config, file, folder, files, isEmpty, load }: LoadedConfig,
  logger: GatewayLogger,
): Promise<RunningGateway> {
  if (isEmpty && file !== null) {
    logger.warn({ file }, 'the configuration file has nothing in it: the defaults are in force');
  }
  const { startGateway } = await context.loadGateway();
  const { version, folder: packageFolder } = packageInfo();
  return startGateway({
    config,
    demonstration: file === null,
    folder,
    env: context.env,
    files: file === null ? [] : files,
    isEmpty,
    load,
    version,
    pid: context.pid,
    killGroup: context.killGroup,
    packageFolder,
    clock: context.clock,
    logger,
    metrics: new PrometheusMetrics({ processMetrics: true }),
    showsSecrets: context.stdoutIsTerminal,
    announce: (line) => {
      // Where the log is JSON for a machine, a line for people must not stand between.
      const output =
        formatFor(context, config.logging.format) === 'json' ? context.stderr : context.stdout;
      logger.flush();
      output.write(`${line}\n`);
    },
  });
}

/** Closes the gateway, as soon as it has started if it has not yet. */
async function drain(
  context: CliContext,
  starting: Promise<RunningGateway>,
  signal: string,
  signals: Signals,
  logger: GatewayLogger,
  drainMaxMs: number,
): Promise<ExitCode> {
  logger.info({ signal }, 'stopping');
  const closing = starting.then(async (gateway) => {
    await gateway.close();
    return 'closed' as const;
  });
  const end = await Promise.race([
    closing,
    signals.next().then(() => 'signal' as const),
    after(context, drainMaxMs),
  ]).catch((error: unknown) => {
    logger.error({ error }, 'the gateway did not close properly');
    return 'failed' as const;
  });
  if (end === 'closed') logger.info({}, 'stopped');
  if (end === 'signal') logger.warn({}, 'leaving at once, by a second signal');
  if (end === 'late') logger.error({ drainMaxMs }, 'leaving: closing took too long');
  return end === 'closed' ? exitCodes.done : exitCodes.failed;
}

function after(context: CliContext, delayMs: number): Promise<'late'> {
  return new Promise((resolve) => {
    context.clock.setTimer(delayMs, () => {
      resolve('late');
    });
  });
}

function formatFor(context: CliContext, format: 'auto' | 'text' | 'json'): 'text' | 'json' {
  if (format !== 'auto') return format;
  return context.stdoutIsTerminal ? 'text' : 'json';
}

function loggerFor(context: CliContext, { config }: LoadedConfig): GatewayLogger {
  return createLogger({
    level: config.logging.level,
    format: formatFor(context, config.logging.format),
    output: context.logOutput,
    color: context.stdoutIsTerminal && (context.env['NO_COLOR'] ?? '') === '',
  });
}

/** Signals to end, one after the other; one that comes while nobody waits is kept. */
class Signals {
  /** What SIGHUP does; null: nothing, since the gateway is starting or ending. */
  reloads: (() => void) | null = null;
  readonly #kept: string[] = [];
  #waiting: ((signal: string) => void) | null = null;
  readonly close: () => void;

  constructor(context: CliContext) {
    this.close = context.onSignal((signal) => {
      if (signal === 'SIGHUP') {
        this.reloads?.();
        return;
      }
      this.reloads = null;
      if (this.#waiting === null) this.#kept.push(signal);
      else this.#waiting(signal);
      this.#waiting = null;
    });
  }

  next(): Promise<string> {
    const kept = this.#kept.shift();
    if (kept !== undefined) return Promise.resolve(kept);
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }
}
