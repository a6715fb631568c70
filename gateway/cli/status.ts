/**
 * `headgate status`: asks the running gateway over HTTP, as any client could.
 *
 * Without a token it logs in by a one-time code that it puts into the data folder itself: who may
 * write there may look. It logs out again.
 */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { isLoopback } from '../config/rules.ts';
import type { Config } from '../config/schema.ts';
import { maskUrls } from '../observe/mask.ts';
import {
  CamerasSchema,
  DeliveriesSchema,
  StatusSchema,
  StreamsSchema,
  type Cameras,
  type Deliveries,
  type Status,
  type Streams,
} from '../api/rest/schemas.ts';
import { Tokens } from '../security/tokens.ts';
import { formatAge, formatBytes, table } from './table.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { accessFolder } from './token.ts';

const answerTimeoutMs = 10_000;

export interface StatusCommandOptions extends ConfigOption {
  readonly json?: boolean;
  readonly url?: string;
  readonly token?: string;
}

/** Everything that the command shows; also what `--json` prints. */
interface Answers {
  readonly status: Status;
  readonly streams: Streams['streams'];
  readonly cameras: Cameras['cameras'];
  readonly deliveries: Deliveries['deliveries'];
}

/** A sentence that says why there is no answer. */
class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/** @throws UnusableConfig */
export async function showStatus(
  context: CliContext,
  options: StatusCommandOptions,
): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  const base = options.url ?? addressOf(config);
  try {
    const answers = await ask(context, config, base, options.token);
    context.stdout.write(
      options.json === true ? `${JSON.stringify(answers, null, 2)}\n` : show(answers),
    );
    return answers.status.health.status === 'failing' ? exitCodes.failed : exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}

/** Where a gateway with this configuration is reached from this machine. */
function addressOf({ http }: Config): string {
  const everywhere = http.host === '0.0.0.0' || http.host === '::';
  const host = everywhere || isLoopback(http.host) ? '127.0.0.1' : http.host;
  return `http://${host.includes(':') ? `[${host}]` : host}:${http.port}`;
}

async function ask(
  context: CliContext,
  config: Config,
  base: string,
  token: string | undefined,
): Promise<Answers> {
  const client = new Client(context, base);
  const given = token ?? context.env['HEADGATE_TOKEN'] ?? '';
  const logOut =
    given === '' ? await client.logIn(config) : client.use({ authorization: `Bearer ${given}` });
  try {
    const [status, streams, cameras, deliveries] = await Promise.all([
      client.get('/api/v1/status', StatusSchema),
      client.get('/api/v1/streams', StreamsSchema),
      client.get('/api/v1/cameras', CamerasSchema),
      client.get('/api/v1/deliveries', DeliveriesSchema),
    ]);
    return { status, ...streams, ...cameras, ...deliveries };
  } finally {
    await logOut();
  }
}

class Client {
  readonly #context: CliContext;
  readonly #base: string;
  #headers: Readonly<Record<string, string>> = {};

  constructor(context: CliContext, base: string) {
    if (!URL.canParse(base)) throw new NoAnswer(`${base} is not a URL.`);
    this.#context = context;
    this.#base = base;
  }

  use(headers: Readonly<Record<string, string>>): () => Promise<void> {
    this.#headers = headers;
    return () => Promise.resolve();
  }

  /** Logs in by a code in the data folder. Returns how to log out. */
  async logIn({ dataDir }: Config): Promise<() => Promise<void>> {
    const folder = accessFolder(dataDir);
    if (!existsSync(folder)) {
      // Nothing answers, or something else does: the better of the two sentences.
      await this.#fetch('/healthz');
      throw new NoAnswer(
        `${this.#base} answers, but it needs a token, and ${dataDir} is not its data folder. Give one with --token or HEADGATE_TOKEN.`,
      );
    }
    const tokens = await Tokens.open({ folder, clock: this.#context.clock });
    const code = await tokens.createLoginCode();
    try {
      const answer = await this.#fetch(`/login?token=${encodeURIComponent(code)}`);
      const cookie = answer.headers.getSetCookie()[0]?.split(';')[0];
      if (cookie === undefined) {
        throw new NoAnswer(
          `The gateway at ${this.#base} does not take a login from ${dataDir}. Give a token with --token or HEADGATE_TOKEN.`,
        );
      }
      this.#headers = { cookie, origin: new URL(this.#base).origin };
    } finally {
      await tokens.redeemLoginCode(code);
    }
    return async () => {
      await this.#fetch('/logout', 'POST');
    };
  }

  async get<Answer>(path: string, schema: z.ZodType<Answer>): Promise<Answer> {
    const response = await this.#fetch(path);
    if (response.status === 401) {
      throw new NoAnswer(
        `The gateway at ${this.#base} refused the token. "headgate token" makes another one.`,
      );
    }
    const body: unknown = await response.json().catch(() => null);
    const answer = schema.safeParse(body);
    if (response.ok && answer.success) return answer.data;
    throw new NoAnswer(
      response.ok
        ? `What answers at ${this.#base} is not this version of the gateway.`
        : `The gateway at ${this.#base} answered ${path} with ${response.status}.`,
    );
  }

  async #fetch(path: string, method: 'GET' | 'POST' = 'GET'): Promise<Response> {
    try {
      return await this.#context.fetch(new URL(path, this.#base), {
        method,
        headers: this.#headers,
        redirect: 'manual',
        signal: AbortSignal.timeout(answerTimeoutMs),
      });
    } catch (error) {
      throw new NoAnswer(
        `No gateway answers at ${maskUrls(this.#base)} (${causeOf(error)}). "headgate run" starts one.`,
        { cause: error },
      );
    }
  }
}

/** `fetch` says only that it failed; why is in the cause. */
function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? error.cause : error;
  const code: unknown = 'code' in cause ? cause.code : undefined;
  if (error.name === 'TimeoutError') return `no answer within ${answerTimeoutMs / 1000} s`;
  return typeof code === 'string' ? code : cause.message;
}

// ---------------------------------------------------------------- what people see

function show({ status, streams, cameras, deliveries }: Answers): string {
  const { storage, health, mqtt, rtsp } = status;
  const nowMs = Date.parse(status.time);
  const since = (time: string | null): string =>
    time === null ? '-' : formatAge(nowMs - Date.parse(time));
  const free = storage.freeBytes === null ? '' : `, ${formatBytes(storage.freeBytes)} free`;
  const parts = [
    `Gateway ${status.gatewayId}, version ${status.version}: ${health.status}, up ${since(status.startTime)}`,
    ...health.checks
      .filter((check) => check.status !== 'ok')
      .map((check) => `  ${check.status}: ${check.name}: ${check.message ?? ''}`),
    `Log ${formatBytes(storage.logBytes)}, footage ${formatBytes(storage.videoBytes)}${free}`,
    ...(mqtt === null
      ? []
      : [`MQTT ${mqtt.address}: ${mqtt.connections} connected, ${mqtt.receivedMessages} messages`]),
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
      ['CAMERA', 'STATE', 'LAST FRAME', 'STORED', 'ERROR'],
      cameras.map((camera) => [
        camera.name,
        camera.state,
        since(camera.lastFrameTime),
        formatBytes(camera.storedBytes),
        camera.state === 'recording' ? '' : (camera.lastError ?? ''),
      ]),
    ),
    ...table(
      ['DELIVERY', 'STATE', 'BACKLOG', 'AGE', 'LAST SUCCESS', 'ERROR'],
      deliveries.map((delivery) => [
        delivery.name,
        delivery.state,
        formatBytes(delivery.backlog.bytes),
        formatAge(delivery.backlog.ms),
        since(delivery.lastSuccessTime),
        delivery.state === 'backing-off' ? (delivery.lastError?.message ?? '') : '',
      ]),
    ),
  ];
  return `${parts.join('\n')}\n`;
}
