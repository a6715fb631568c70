/**
 * Events into Splunk, through its HTTP Event Collector.
 *
 * What it answers with 200 it has only read. With acknowledgements an attempt goes on until the
 * indexers have said of each request that it is indexed; a request that they have not said it of in
 * time is sent again, and the id in each event tells what came twice.
 *
 * Sources: Splunk, "HTTP Event Collector REST API endpoints", "About HTTP Event Collector Indexer
 * Acknowledgment", "Troubleshoot HTTP Event Collector".
 */
import { z } from 'zod';
import { SinkError, type BatchSink, type Outcomes } from '../../sink.ts';
import { pause } from '../../timing.ts';
import { adviceFor } from '../advice.ts';
import { interception } from '../aws.ts';
import { HttpClient, jsonOf, type Connecting, type HttpAnswer } from '../http-client.ts';
import { Pieces } from '../pieces.ts';
import { eventOf, queryOf, type EventOptions } from './events.ts';

export interface SplunkSinkOptions extends Connecting, EventOptions {
  /** Such as `https://splunk.example.net:8088`. */
  readonly endpoint: string;
  readonly token: string;
  /** A UUID: what the indexers keep their acknowledgements under. */
  readonly channel: string;
  /** false: 200 will do. */
  readonly acknowledgements: boolean;
  /** From a request's answer to its acknowledgement. */
  readonly ackTimeoutMs: number;
  /** Of a request. */
  readonly maxBytes: number;
}

const recordsMax = 10_000;
const defaultTimeoutMs = 60_000;
const firstAskMs = 250;
const longestAskMs = 5_000;

/** An event, and where it stands in the batch. */
interface Outgoing {
  readonly at: number;
  readonly event: Buffer;
}

export function splunkSink(options: SplunkSinkOptions): BatchSink {
  const { maxBytes, ackTimeoutMs, acknowledgements } = options;
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const collector = new Collector({ ...options, timeoutMs });
  const pieces = new Pieces(maxBytes, { isolating: true });
  return {
    kind: 'splunk',
    description: collector.place,
    limits: { records: recordsMax, bytes: maxBytes, recordBytes: maxBytes },
    attemptMs: 2 * timeoutMs + (acknowledgements ? ackTimeoutMs : 0),
    deliver: async ({ items }, signal) => {
      const prepared = items.map((item) => eventOf(item, options));
      const outgoing = prepared.flatMap((event, at) =>
        event instanceof SinkError ? [] : { at, event },
      );
      const sent = await pieces.send(
        outgoing,
        ({ event }) => event.length,
        (piece) => collector.index(piece, signal),
      );
      const outcomes = new Map(outgoing.map(({ at }, index) => [at, sent[index] ?? null]));
      return prepared.map((event, at) =>
        event instanceof SinkError ? event : (outcomes.get(at) ?? null),
      );
    },
    check: (signal) => collector.check(signal),
    close: () => {
      collector.close();
      return Promise.resolve();
    },
  };
}

const answerShape = z.object({
  code: z.number(),
  text: z.string().optional(),
  ackId: z.int().min(0).optional(),
});
/** What it knows of each; what it does not know is false, too. */
const acksShape = z.object({ acks: z.record(z.string(), z.boolean()) });

/**
 * The collector's numbers for an event that it does not take. It says which one, too, but not from
 * where it counts, and nothing of those before it: halving the request tells it for sure.
 */
const codesOfEvents: readonly number[] = [
  5, // no data
  6, // invalid data format
  12, // event field is required
  13, // event field cannot be blank
  15, // error in handling indexed fields
];
const success = 0;
const ackDisabled = 14;
/** No request of ours gets this number, so asking for it takes nothing away. */
const nobodysAckId = 2 ** 31 - 1;

class Collector {
  readonly #options: SplunkSinkOptions;
  readonly #client: HttpClient;
  readonly place: string;
  /** Known of the token; what it would not acknowledge is not sent to it, again and again. */
  #acknowledges = false;

  constructor(options: SplunkSinkOptions) {
    this.#options = options;
    const { origin, pathname } = new URL(options.endpoint);
    this.place = `${origin}${pathname.replace(/\/+$/, '')}`;
    this.#client = new HttpClient({ ...options, service: 'splunk', secrets: [options.token] });
  }

  /** Until they are indexed, or at least read. @throws SinkError */
  async index(piece: readonly Outgoing[], signal: AbortSignal): Promise<Outcomes> {
    const { mode, acknowledgements } = this.#options;
    if (acknowledgements && !this.#acknowledges) await this.check(signal);
    const body = piece.map(({ event }) => event);
    const answer = await this.#post(mode, queryOf(this.#options), body, '', signal);
    if (answer.status !== 200) throw this.#refusal(answer);
    const { data } = answerShape.safeParse(jsonOf(answer));
    if (data?.code !== success) {
      const message = 'an answer that is not that of an event collector';
      throw new SinkError('unavailable', message, { advice: interception });
    }
    if (acknowledgements) await this.#acknowledged(data.ackId, cookiesOf(answer), signal);
    return piece.map(() => null);
  }

  /** Asked for an acknowledgement, it says whether the token is good for any. */
  async check(signal: AbortSignal): Promise<string> {
    const answer = await this.#askAcks(nobodysAckId, '', signal);
    const { data } = answerShape.safeParse(jsonOf(answer));
    if (data?.code === ackDisabled && !this.#options.acknowledgements) {
      return `${this.place} takes the token`;
    }
    this.#acksIn(answer);
    this.#acknowledges = true;
    return `${this.place} takes the token, and acknowledges`;
  }

  /** @throws SinkError when it is not said in time, or never will be */
  async #acknowledged(
    ackId: number | undefined,
    cookies: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (ackId === undefined) {
      this.#acknowledges = false;
      throw new SinkError('denied', 'the token is not set to acknowledge what is indexed', {
        advice: adviceFor(`HEC ${ackDisabled}`, {
          ...{ service: 'splunk', region: null, clockOffsetMs: null },
        }),
      });
    }
    const { clock, ackTimeoutMs } = this.#options;
    const untilMs = clock.monotonicMs() + ackTimeoutMs;
    for (let waitMs = firstAskMs; ; waitMs = Math.min(2 * waitMs, longestAskMs)) {
      await pause(clock, waitMs, signal);
      if (signal.aborted) throw new SinkError('aborted', 'called off');
      const failure = await this.#stillMissing(ackId, cookies, signal);
      if (failure === null) return;
      if (clock.monotonicMs() >= untilMs) throw failure;
    }
  }

  /**
   * Why it is not known to be indexed yet; null: it is.
   * @throws SinkError for which there is nothing to wait
   */
  async #stillMissing(
    ackId: number,
    cookies: string,
    signal: AbortSignal,
  ): Promise<SinkError | null> {
    try {
      if (await this.#isIndexed(ackId, cookies, signal)) return null;
      const { ackTimeoutMs } = this.#options;
      return new SinkError('timeout', `not acknowledged within ${ackTimeoutMs / 1000} s`, {
        advice:
          'Look whether the indexers keep up; to.splunk.ackTimeoutSeconds gives them more time.',
      });
    } catch (error) {
      if (!(error instanceof SinkError) || !error.retryable || error.code === 'aborted')
        throw error;
      // What was read may be indexed all the same: it is asked for again.
      return error;
    }
  }

  /** @throws SinkError */
  async #isIndexed(ackId: number, cookies: string, signal: AbortSignal): Promise<boolean> {
    const answer = await this.#askAcks(ackId, cookies, signal);
    return this.#acksIn(answer)[String(ackId)] === true;
  }

  /** @throws SinkError */
  #acksIn(answer: HttpAnswer): Readonly<Record<string, boolean>> {
    if (answer.status !== 200) throw this.#refusal(answer);
    const { data } = acksShape.safeParse(jsonOf(answer));
    if (data !== undefined) return data.acks;
    const message = 'an answer without acknowledgements';
    throw new SinkError('unavailable', message, { advice: interception });
  }

  #askAcks(ackId: number, cookies: string, signal: AbortSignal): Promise<HttpAnswer> {
    const body = Buffer.from(JSON.stringify({ acks: [ackId] }));
    return this.#post('ack', '', [body], cookies, signal);
  }

  #post(
    path: 'event' | 'raw' | 'ack',
    query: string,
    body: readonly Buffer[],
    cookies: string,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const { channel, token } = this.#options;
    const address = `${this.place}/services/collector/${path}?channel=${channel}${query}`;
    const headers = {
      authorization: `Splunk ${token}`,
      'content-type': path === 'raw' ? 'application/octet-stream' : 'application/json',
      'x-splunk-request-channel': channel,
      ...(cookies !== '' && { cookie: cookies }),
    };
    return this.#client.ask({ url: new URL(address), headers, body }, signal);
  }

  #refusal(answer: HttpAnswer): SinkError {
    const { data } = answerShape.safeParse(jsonOf(answer));
    if (data === undefined) return this.#client.refusal(answer, null);
    const message = `${data.text ?? 'refused'} (code ${data.code})`;
    const refusal = this.#client.refusal(answer, { name: `HEC ${data.code}`, message });
    const { advice, retryAfterMs } = refusal;
    if (refusal.code !== 'rejected' || codesOfEvents.includes(data.code)) return refusal;
    // Such as an index that the token may not use: a setting, and no fault of the events.
    return new SinkError('denied', refusal.message, { advice, retryAfterMs });
  }

  close(): void {
    this.#client.close();
  }
}

/** So that a load balancer asks the one who knows. */
function cookiesOf({ headers }: HttpAnswer): string {
  return (headers['set-cookie'] ?? []).map((cookie) => cookie.split(';')[0] ?? '').join('; ');
}
