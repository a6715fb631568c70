/**
 * What a consumer asks the gateway: the routes of `api/rest/applications.ts` for one application and
 * one stream, and reading. Nothing is repeated here; who asks decides.
 */
import { z } from 'zod';
import {
  ApplicationSchema,
  ConsumedShardsSchema,
  HeldLeaseSchema,
  type ConsumedShard,
  type HeldLease,
} from '../api/rest/application-schemas.ts';
import { ErrorSchema } from '../api/rest/error-schemas.ts';
import { RecordsSchema, type StreamRecords } from '../api/rest/stream-schemas.ts';
import type { Clock } from '../../storage/ports.ts';

/** What an answer may take beyond the time that it was asked to wait. */
const answerTimeoutMs = 10_000;

/** Where an application that is new to a stream begins with it. */
export type Start = 'TRIM_HORIZON' | 'LATEST' | { readonly atMs: number };

/** No answer, or one that says no; `code` is the gateway's own (`gateway/http/errors.ts`). */
export class ConsumerError extends Error {
  override readonly name = 'ConsumerError';
  readonly code: string;
  /** Whether the same request may succeed later. */
  readonly retryable: boolean;

  constructor(code: string, message: string, retryable: boolean, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.retryable = retryable;
  }
}

export interface ClientOptions {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** What proves who asks: `{ authorization: 'Bearer …' }`. */
  readonly headers: Readonly<Record<string, string>>;
  readonly stream: string;
  readonly application: string;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
}

/** A lease as its holder names it. */
export interface Holding {
  readonly shard: number;
  readonly owner: string;
  readonly counter: number;
}

export class ApplicationClient {
  readonly #options: ClientOptions;
  readonly #application: string;
  readonly #shards: string;
  readonly #records: string;

  /** @throws ConsumerError for a URL that is none */
  constructor(options: ClientOptions) {
    if (!URL.canParse(options.url)) {
      throw new ConsumerError('bad-request', `${options.url} is not a URL`, false);
    }
    this.#options = options;
    const stream = encodeURIComponent(options.stream);
    this.#application = `/api/v1/applications/${encodeURIComponent(options.application)}`;
    this.#shards = `${this.#application}/streams/${stream}/shards`;
    this.#records = `/api/v1/streams/${stream}/shards`;
  }

  /** Makes the application if it is not there. All methods: @throws ConsumerError */
  async ensure(): Promise<void> {
    await this.#ask('PUT', this.#application, ApplicationSchema);
  }

  async shards(): Promise<readonly ConsumedShard[]> {
    return (await this.#ask('GET', this.#shards, ConsumedShardsSchema)).shards;
  }

  acquire(shard: number, owner: string, durationMs: number, start: Start): Promise<HeldLease> {
    const from =
      typeof start === 'string'
        ? { start }
        : { start: 'AT_TIMESTAMP', startTime: new Date(start.atMs).toISOString() };
    return this.#post(shard, 'acquire', { owner, durationMs, ...from });
  }

  renew({ shard, owner, counter }: Holding, durationMs: number): Promise<HeldLease> {
    return this.#post(shard, 'renew', { owner, counter, durationMs });
  }

  checkpoint({ shard, owner, counter }: Holding, checkpoint: number): Promise<HeldLease> {
    return this.#post(shard, 'checkpoint', { owner, counter, checkpoint });
  }

  async release({ shard, owner, counter }: Holding): Promise<void> {
    await this.#ask('POST', `${this.#shards}/${shard}/release`, z.unknown(), {
      body: { owner, counter },
    });
  }

  async want(shard: number, owner: string): Promise<void> {
    await this.#ask('POST', `${this.#shards}/${shard}/wanted`, z.unknown(), { body: { owner } });
  }

  /** @param signal ends the waiting */
  read(
    { shard, sequence, limit }: { shard: number; sequence: number; limit: number },
    waitSeconds: number,
    signal: AbortSignal,
  ): Promise<StreamRecords> {
    const query = `sequence=${sequence}&limit=${limit}&waitSeconds=${waitSeconds}`;
    return this.#ask('GET', `${this.#records}/${shard}/records?${query}`, RecordsSchema, {
      signal,
      timeoutMs: answerTimeoutMs + waitSeconds * 1_000,
    });
  }

  #post(shard: number, action: string, body: object): Promise<HeldLease> {
    return this.#ask('POST', `${this.#shards}/${shard}/${action}`, HeldLeaseSchema, { body });
  }

  async #ask<Answer>(
    method: string,
    path: string,
    schema: z.ZodType<Answer>,
    {
      body,
      signal,
      timeoutMs = answerTimeoutMs,
    }: { body?: object; signal?: AbortSignal; timeoutMs?: number } = {},
  ): Promise<Answer> {
    const { url, headers, clock } = this.#options;
    const end = new AbortController();
    const cancel = clock.setTimer(timeoutMs, () => {
      end.abort(new Error(`no answer within ${timeoutMs / 1_000} s`));
    });
    const ended = (): void => end.abort(signal?.reason);
    if (signal?.aborted === true) ended();
    signal?.addEventListener('abort', ended);
    try {
      const response = await this.#options.fetch(new URL(path, url), {
        method,
        headers: { ...headers, 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
        redirect: 'manual',
        signal: end.signal,
      });
      return answerOf(response, await response.text(), schema);
    } catch (error) {
      if (error instanceof ConsumerError) throw error;
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new ConsumerError('no-answer', `No answer from ${url}: ${said}`, true, {
        cause: error,
      });
    } finally {
      cancel();
      signal?.removeEventListener('abort', ended);
    }
  }
}

/** @throws ConsumerError */
function answerOf<Answer>(response: Response, text: string, schema: z.ZodType<Answer>): Answer {
  const body = parsed(text);
  const answer = schema.safeParse(body);
  if (response.ok && answer.success) return answer.data;
  const refusal = ErrorSchema.safeParse(body);
  if (!response.ok && refusal.success) {
    const { code, message } = refusal.data.error;
    const retryable = response.status >= 500 || response.status === 429 || code === 'lease-held';
    throw new ConsumerError(code, message, retryable);
  }
  throw new ConsumerError(
    'no-gateway',
    `What answers at ${new URL(response.url).origin} (${response.status}) is not this version of the gateway`,
    response.status >= 500,
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
