/**
 * How the sinks that speak HTTP without an SDK ask: one request per call, its answer whole in
 * memory, and every failure a SinkError. Connections are kept open for the next request; redirects
 * are not followed; what is secret is not repeated when an answer quotes it.
 */
import { readFile } from 'node:fs/promises';
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { Clock } from '../../../storage/ports.ts';
import { SinkError } from '../sink.ts';
import type { Service } from './advice.ts';
import { interception, refusalError, sinkErrorOf } from './aws.ts';
import { answerTo } from './kinesis-video/signed-request.ts';

/** How a sink reaches its server; what is left out has a default. */
export interface Connecting {
  readonly clock: Clock;
  /** A file of certificates in PEM, trusted beside those that Node knows. null: none. */
  readonly caFile?: string | null;
  /** Until a connection stands. Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** Until the answer is whole. Default 3 minutes. */
  readonly timeoutMs?: number;
}

export interface HttpClientOptions extends Connecting {
  readonly service: Service;
  /** Never shown, not even when the other side says them. */
  readonly secrets: readonly string[];
}

export interface HttpRequest {
  /** Default POST. */
  readonly method?: 'GET' | 'HEAD' | 'POST';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: readonly Buffer[];
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** An error in the words of a service. */
export interface Said {
  readonly name?: string;
  readonly message?: string;
}

const defaults = { connectTimeoutMs: 10_000, timeoutMs: 180_000 } as const;
/** An idle connection is closed before servers close it, so that no request meets its end. */
const idleMs = 4_000;
const complaintMax = 300;

export class HttpClient {
  readonly #options: HttpClientOptions;
  readonly #answerBytesMax: number;
  readonly #http = new HttpAgent({ keepAlive: true, timeout: idleMs });
  #https: HttpsAgent | null = null;

  /** @param answerBytesMax what is longer is no answer */
  constructor(options: HttpClientOptions, answerBytesMax = 1024 ** 2) {
    this.#options = options;
    this.#answerBytesMax = answerBytesMax;
  }

  /**
   * Makes one request. Any status is an answer.
   * @throws SinkError when there is none: `unreachable`, `timeout`, `untrusted`, `aborted`
   */
  async ask(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    if (signal.aborted) throw new SinkError('aborted', 'called off');
    const agent = request.url.protocol === 'https:' ? await this.#secureAgent() : this.#http;
    const attempt = new Attempt(this.#options, request, agent, this.#answerBytesMax);
    try {
      return await attempt.run(signal);
    } catch (error) {
      if (isAborted(signal)) throw new SinkError('aborted', 'called off');
      const failure = sinkErrorOf(error, this.#options.service);
      // The file may have been what was wrong: it is read anew.
      if (failure.code === 'untrusted') this.#forgetSecureAgent();
      throw failure;
    }
  }

  /**
   * What an answer that is not what was asked for means.
   * @param said what its body says; null: it is not the service that speaks, so nothing that was
   *   sent can be what it refuses
   */
  refusal(answer: HttpAnswer, said: Said | null): SinkError {
    const { clock, service } = this.#options;
    const { status, headers } = answer;
    const [named] = String(headers['x-amzn-errortype'] ?? '').split(':');
    const name = said?.name ?? (named === undefined || named === '' ? null : named);
    const words = this.#tidy(said?.message ?? answer.body.toString('utf8'));
    const message = [`status ${status}`, ...(words === '' ? [] : [words])].join(': ');
    const retryAfterMs = retryAfterOf(headers, clock.nowMs());
    const refusal = refusalError(service, { name, status, message, retryAfterMs });
    if (said !== null || refusal.code !== 'rejected') return refusal;
    return new SinkError('unavailable', message, { advice: interception, retryAfterMs });
  }

  /** On one line, not long, and without secrets. */
  #tidy(text: string): string {
    const masked = this.#options.secrets
      .filter((secret) => secret !== '')
      .reduce((rest, secret) => rest.replaceAll(secret, '***'), text);
    const line = masked.slice(0, complaintMax * 4).replace(/[\p{Cc}\s]+/gu, ' ');
    return line.trim().slice(0, complaintMax);
  }

  async #secureAgent(): Promise<HttpsAgent> {
    if (this.#https !== null) return this.#https;
    const { caFile = null } = this.#options;
    const own = caFile === null ? null : await readCertificates(caFile);
    this.#https ??= new HttpsAgent({
      keepAlive: true,
      timeout: idleMs,
      ...(own !== null && { ca: [...rootCertificates, own] }),
    });
    return this.#https;
  }

  #forgetSecureAgent(): void {
    this.#https?.destroy();
    this.#https = null;
  }

  /** Ends what is idle. Twice is harmless. */
  close(): void {
    this.#http.destroy();
    this.#forgetSecureAgent();
  }
}

function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** @throws SinkError `untrusted` */
async function readCertificates(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SinkError('untrusted', `the certificates in ${file} can't be read`, {
      cause,
      advice: 'Correct caFile, or let the gateway read it.',
    });
  }
}

class Attempt {
  readonly #options: HttpClientOptions;
  readonly #given: HttpRequest;
  readonly #agent: HttpAgent;
  readonly #answerBytesMax: number;
  #request: ClientRequest | null = null;
  /** Why it was cut off. */
  #reason: SinkError | null = null;

  constructor(
    options: HttpClientOptions,
    given: HttpRequest,
    agent: HttpAgent,
    answerBytesMax: number,
  ) {
    this.#options = options;
    this.#given = given;
    this.#agent = agent;
    this.#answerBytesMax = answerBytesMax;
  }

  /** @throws what the system says of the connection; SinkError */
  async run(signal: AbortSignal): Promise<HttpAnswer> {
    const { clock, timeoutMs = defaults.timeoutMs } = this.#options;
    let cancelConnect = (): void => undefined;
    const cancelAnswer = clock.setTimer(timeoutMs, () => {
      this.#cut(`no answer within ${timeoutMs / 1000} s`);
    });
    const onAbort = (): void => {
      this.#cut('called off');
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const request = this.#open();
      this.#request = request;
      cancelConnect = this.#limitConnecting(request);
      const answer = await answerTo(request);
      return await this.#whole(answer);
    } catch (error) {
      throw this.#reason ?? error;
    } finally {
      cancelConnect();
      cancelAnswer();
      signal.removeEventListener('abort', onAbort);
      // A server may answer before it has read everything; the rest is not for it.
      if (this.#request?.writableFinished === false) this.#request.destroy();
    }
  }

  #open(): ClientRequest {
    const { url, method = 'POST', headers, body = [] } = this.#given;
    const contentLength = body.reduce((sum, piece) => sum + piece.length, 0);
    const open = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const request = open(url, {
      method,
      agent: this.#agent,
      headers: {
        ...headers,
        ...(method === 'POST' && { 'content-length': String(contentLength) }),
      },
    });
    for (const piece of body) request.write(piece);
    request.end();
    return request;
  }

  #limitConnecting(request: ClientRequest): () => void {
    const { clock, connectTimeoutMs = defaults.connectTimeoutMs } = this.#options;
    const cancel = clock.setTimer(connectTimeoutMs, () => {
      this.#cut(`no connection within ${connectTimeoutMs / 1000} s`);
    });
    request.once('socket', (socket) => {
      if (!socket.connecting) cancel();
      else socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', cancel);
    });
    return cancel;
  }

  #cut(reason: string): void {
    this.#reason = new SinkError('timeout', reason);
    this.#request?.destroy(this.#reason);
  }

  async #whole(answer: IncomingMessage): Promise<HttpAnswer> {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of answer as AsyncIterable<Buffer>) {
      bytes += piece.length;
      if (bytes > this.#answerBytesMax) {
        throw new SinkError('unavailable', `an answer of more than ${this.#answerBytesMax} bytes`);
      }
      pieces.push(piece);
    }
    const { statusCode: status = 0, headers } = answer;
    return { status, headers, body: Buffer.concat(pieces) };
  }
}

/** In seconds, or as a time; null: nothing that can be read is said. */
function retryAfterOf(headers: IncomingHttpHeaders, nowMs: number): number | null {
  const text = headers['retry-after'];
  if (text === undefined) return null;
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  const atMs = Date.parse(text);
  const fromMs = headers.date === undefined ? nowMs : Date.parse(headers.date);
  return Number.isNaN(atMs - fromMs) ? null : Math.max(0, atMs - fromMs);
}

/** The JSON of an answer; null: it is none. */
export function jsonOf({ body }: HttpAnswer): unknown {
  try {
    return JSON.parse(body.toString('utf8')) as unknown;
  } catch {
    return null;
  }
}
