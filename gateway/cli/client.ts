/**
 * How commands ask the running gateway: over HTTP, as any client could.
 *
 * Without a token it logs in by a one-time code that it puts into the data folder itself: who may
 * write there may ask. It logs out again.
 */
import { existsSync } from 'node:fs';
import type { z } from 'zod';
import { ErrorSchema } from '../api/rest/error-schemas.ts';
import { maskUrls } from '../observe/mask.ts';
import type { Running } from '../running.ts';
import { accessFolder } from '../security/access-files.ts';
import { Tokens } from '../security/tokens.ts';
import type { ConfigOption } from './configuration.ts';
import type { CliContext } from './context.ts';
import { findGateway, type FoundGateway } from './find-gateway.ts';

const answerTimeoutMs = 10_000;

export interface ClientOptions extends ConfigOption {
  /** Where the gateway is; where it says itself, or the configured address when left out. */
  readonly url?: string;
  readonly token?: string;
}

/** A sentence that says why there is no answer. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
  /** Of the API's error that came instead; null: none did. */
  readonly code: string | null;

  constructor(message: string, options: { cause?: unknown; code?: string } = {}) {
    super(message, options);
    this.code = options.code ?? null;
  }
}

/**
 * @example
 * const client = await GatewayClient.find(context, options);
 * const status = await client.whileLoggedIn(() => client.get('/api/v1/status', StatusSchema));
 */
export class GatewayClient {
  readonly #context: CliContext;
  readonly #dataDir: string;
  readonly #base: string;
  readonly #token: string;
  #headers: Readonly<Record<string, string>> = {};

  /** What it says of itself; null: it is not known. */
  readonly running: Running | null;

  /** @throws UnusableConfig, when only the file could say where it is; NoAnswer */
  static async find(context: CliContext, options: ClientOptions): Promise<GatewayClient> {
    return new GatewayClient(context, await findGateway(context, options), options);
  }

  /** @throws NoAnswer for a URL that is none */
  constructor(context: CliContext, gateway: FoundGateway, { token }: ClientOptions) {
    this.#base = gateway.url;
    if (!URL.canParse(this.#base)) throw new NoAnswer(`${this.#base} is not a URL.`);
    this.#context = context;
    this.#dataDir = gateway.dataDir;
    this.running = gateway.running;
    this.#token = token ?? context.env['HEADGATE_TOKEN'] ?? '';
  }

  /** Logs in, by the token or through the data folder; logs out when the work is over. */
  async whileLoggedIn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#token !== '') {
      this.#headers = { authorization: `Bearer ${this.#token}` };
      return work();
    }
    const logOut = await this.#logIn(this.#dataDir);
    try {
      return await work();
    } finally {
      await logOut();
    }
  }

  /** Logs in by a code in the data folder. Returns how to log out. */
  async #logIn(dataDir: string): Promise<() => Promise<void>> {
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

  /** Where the gateway is and what proves who asks, for other clients; while logged in. */
  get access(): { readonly url: string; readonly headers: Readonly<Record<string, string>> } {
    return { url: this.#base, headers: this.#headers };
  }

  /** @throws NoAnswer, also when the signal is aborted */
  async get<Answer>(
    path: string,
    schema: z.ZodType<Answer>,
    signal?: AbortSignal,
  ): Promise<Answer> {
    return this.#read(path, await this.#fetch(path, 'GET', undefined, signal), schema);
  }

  /** @throws NoAnswer, also with what the gateway says against it */
  async post<Answer>(path: string, schema: z.ZodType<Answer>, body?: unknown): Promise<Answer> {
    return this.#read(path, await this.#fetch(path, 'POST', body), schema);
  }

  async #read<Answer>(
    path: string,
    response: Response,
    schema: z.ZodType<Answer>,
  ): Promise<Answer> {
    if (response.status === 401) {
      throw new NoAnswer(
        `The gateway at ${this.#base} refused the token. "headgate token" makes another one.`,
      );
    }
    const body: unknown = await response.json().catch(() => null);
    const answer = schema.safeParse(body);
    if (response.ok && answer.success) return answer.data;
    const refusal = ErrorSchema.safeParse(body);
    if (!response.ok && refusal.success && refusal.data.error.code !== 'internal') {
      const { code, message } = refusal.data.error;
      throw new NoAnswer(message, { code });
    }
    throw new NoAnswer(
      response.ok
        ? `What answers at ${this.#base} is not this version of the gateway.`
        : `The gateway at ${this.#base} answered ${path} with ${response.status}.`,
    );
  }

  async #fetch(
    path: string,
    method: 'GET' | 'POST' = 'GET',
    body?: unknown,
    signal?: AbortSignal,
  ): Promise<Response> {
    const json: Record<string, string> =
      body === undefined ? {} : { 'content-type': 'application/json' };
    try {
      return await this.#context.fetch(new URL(path, this.#base), {
        method,
        headers: { ...this.#headers, ...json },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: 'manual',
        signal: AbortSignal.any([
          AbortSignal.timeout(answerTimeoutMs),
          ...(signal === undefined ? [] : [signal]),
        ]),
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
