/**
 * Which running gateway a command is about, whatever the configuration file says by now: the one
 * whose data folder says where it listens (gateway/running.ts). Looked for are the folder that is
 * configured and those of the defaults, so that a demonstration is found although a configuration
 * file has been written beside it.
 */
import { dirname, resolve } from 'node:path';
import { readFileText } from '../config/files.ts';
import { isLoopback } from '../config/listener-rules.ts';
import { defaultDataDir, type Config } from '../config/schema.ts';
import { readRunning, type Running } from '../running.ts';
import {
  demonstrationFolder,
  fileFor,
  isThere,
  loadFor,
  UnusableConfig,
  type ConfigOption,
} from './configuration.ts';
import type { CliContext } from './context.ts';

const answerTimeoutMs = 2000;
const dataDirLine =
  /^dataDir[ \t]*:[ \t]*(?:'([^'\n]+)'|"([^"\n]+)"|([^'"#\s][^#\n]*?))[ \t]*(?:#.*)?$/m;

export interface FoundGateway {
  /** Where it is reached over HTTP. */
  readonly url: string;
  /** Absolute. */
  readonly dataDir: string;
  /** What it says of itself; null: none that is known runs, this is where one would. */
  readonly running: Running | null;
}

/**
 * @param option with a `url`, that is where it is, and what is looked for is its data folder
 * @throws UnusableConfig for a file that was named and is not there; for any that can't be used when
 *   none runs, and so the file has to say where one would be
 */
export async function findGateway(
  context: CliContext,
  option: ConfigOption & { readonly url?: string },
): Promise<FoundGateway> {
  const loaded = await loadFor(context, option).catch((error: unknown) => {
    if (error instanceof UnusableConfig) return error;
    throw error;
  });
  const file = fileFor(context, option);
  // Whoever named another file by mistake would be told of another gateway.
  if (loaded instanceof UnusableConfig && file !== null && !isThere(context, file)) throw loaded;
  const folder = file === null ? context.folder : dirname(resolve(context.folder, file));
  const configured =
    loaded instanceof UnusableConfig ? await writtenDataDir(context, file) : loaded.config.dataDir;
  const first = resolve(folder, configured ?? defaultDataDir);
  const others = [defaultDataDir, demonstrationFolder].map((name) => resolve(folder, name));
  for (const dataDir of new Set([first, ...others])) {
    const running = await readRunning(dataDir);
    if (running !== null && (await answers(context, running))) {
      return { url: option.url ?? running.url, dataDir, running };
    }
  }
  if (option.url !== undefined) return { url: option.url, dataDir: first, running: null };
  if (loaded instanceof UnusableConfig) throw loaded;
  return { url: addressOf(loaded.config), dataDir: loaded.config.dataDir, running: null };
}

/** Where a gateway with this configuration is reached from this machine. */
function addressOf({ http }: Config): string {
  const everywhere = http.host === '0.0.0.0' || http.host === '::';
  const host = everywhere || isLoopback(http.host) ? '127.0.0.1' : http.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${http.port}`;
}

/** Of a file that can't be used: what its line says. Null when there is none. */
async function writtenDataDir(
  { env, folder }: CliContext,
  file: string | null,
): Promise<string | null> {
  const variable = env['HEADGATE_DATA_DIR'] ?? '';
  if (variable !== '') return variable;
  if (file === null) return null;
  const text = await readFileText(resolve(folder, file)).catch(() => '');
  const [, single, double, plain] = dataDirLine.exec(text) ?? [];
  return single ?? double ?? plain ?? null;
}

/** One that was killed has left its file behind. */
async function answers({ fetch }: CliContext, { url }: Running): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(answerTimeoutMs);
    await (await fetch(new URL('/healthz', url), { redirect: 'manual', signal })).text();
    return true;
  } catch (error) {
    // One that is too busy to answer is there.
    return error instanceof Error && error.name === 'TimeoutError';
  }
}
