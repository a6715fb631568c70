/**
 * `POST /putMedia`: media in, acknowledgements out, both at once and for as long as the producer
 * likes. What is taken is in put-media-request.ts, what becomes of it in ingest/mkv/recorder.ts.
 *
 * - 200 and the head of the answer are sent at once; then one JSON object a line, as things happen.
 * - The body is read no faster than it is stored, and no faster than the limits of a stream: 12.5 MB
 *   and 5 fragments a second. What comes faster waits at its producer.
 * - Without data for 30 s it ends with IDLE; after 12 h, at the end of a fragment, with an error, so
 *   that keys which were taken away do not last for ever.
 * - A producer that does not read its acknowledgements is cut off at 64 KiB of them.
 *
 * This answers Node's own request and response: the app has no way to answer while it still reads.
 */
import { randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import type { PutMediaEntrance, Turn } from '../../../ingest/mkv/entrance.ts';
import { PutMediaError } from '../../../ingest/mkv/put-media-errors.ts';
import { MkvRecorder } from '../../../ingest/mkv/recorder.ts';
import type { VideoStore } from '../../../storage/model.ts';
import type { Clock, Logger, Metrics } from '../../../storage/ports.ts';
import type { StreamedRequest, StreamedResponse, StreamingHandler } from '../../http/server.ts';
import type { AwsAuthenticator } from '../../security/aws-authenticator.ts';
import { AwsAuthError } from '../../security/aws-error.ts';
import type { Authorizer } from '../../security/policies.ts';
import { Pace } from './pace.ts';
import {
  authenticatePutMedia,
  type PutMediaHead,
  PutMediaRefusal,
  readHead,
} from './put-media-request.ts';

export interface PutMediaLimits {
  /** 12.5 MB. */
  readonly bytesPerSecond?: number;
  /** 5. */
  readonly fragmentsPerSecond?: number;
  /** 30 s. */
  readonly idleMs?: number;
  /** 12 h. */
  readonly ageMs?: number;
}

export interface PutMediaOptions {
  readonly entrance: PutMediaEntrance;
  readonly video: VideoStore;
  readonly authenticator: AwsAuthenticator;
  readonly authorizer: Authorizer;
  /** The ARN of a camera's stream. */
  readonly arnOf: (camera: string) => Promise<string>;
  /** The number of a fragment as clients see it. */
  readonly fragmentNumber: (number: number) => string;
  readonly limits?: PutMediaLimits;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const path = '/putMedia';
const defaults: Required<PutMediaLimits> = {
  ...{ bytesPerSecond: 12_500_000, fragmentsPerSecond: 5, idleMs: 30_000 },
  ageMs: 12 * 3_600_000,
};
const acksBytesMax = 64 * 1024;
/** How long a producer that goes on sending has to read why it is refused. */
const lingerMs = 2_000;

/**
 * @example
 * createHttpServer({ …, streaming: putMediaHandler({ entrance, video, authenticator, … }) });
 */
export function putMediaHandler(options: PutMediaOptions): StreamingHandler {
  const connections = options.metrics.gauge(
    'headgate_put_media_connections',
    'PutMedia connections open now.',
  );
  const ended = options.metrics.counter(
    'headgate_put_media_ended_total',
    'PutMedia connections that ended, by what they ended with.',
  );
  let open = 0;
  const answer = async (request: StreamedRequest, response: StreamedResponse): Promise<void> => {
    connections.set((open += 1));
    const connection = new Connection(options, request, response);
    ended.add(1, { outcome: await connection.answer() });
    connections.set((open -= 1));
  };
  return (request, response) => {
    const [asked] = (request.url ?? '').split('?');
    if (request.method !== 'POST' || asked !== path) return false;
    answer(request, response).catch((error: unknown) => {
      options.logger.error({ error }, 'A PutMedia connection failed');
      if (!response.headersSent) response.writeHead(500, { 'x-amzn-errortype': 'InternalFailure' });
      response.end();
    });
    return true;
  };
}

/** Why no more of the body is read. */
type Stop = 'idle' | 'unread' | 'ended';

type Body = AsyncIterator<Buffer, undefined>;

class Connection {
  readonly #options: PutMediaOptions;
  readonly #limits: Required<PutMediaLimits>;
  readonly #request: StreamedRequest;
  readonly #response: StreamedResponse;
  readonly #stop = new AbortController();
  readonly #stopped: Promise<null>;
  /** null: it is not read. */
  #body: Body | null = null;
  /** null: nothing stops it. */
  #reason: Stop | null = null;

  constructor(options: PutMediaOptions, request: StreamedRequest, response: StreamedResponse) {
    this.#options = options;
    this.#limits = { ...defaults, ...options.limits };
    this.#request = request;
    this.#response = response;
    this.#stopped = new Promise((resolve) => {
      this.#stop.signal.addEventListener('abort', () => {
        resolve(null);
      });
    });
  }

  /** Resolves, with what it ended with, when the answer is complete. */
  async answer(): Promise<string> {
    // A peer that goes away is seen where it is read from.
    this.#response.on('error', () => undefined);
    let head: PutMediaHead;
    let turn: Turn;
    try {
      head = await this.#enter();
      const found = this.#options.entrance.enter(head.stream);
      if (found === null) throw noStream(head.stream);
      turn = found;
    } catch (error) {
      if (!(error instanceof AwsAuthError) && !(error instanceof PutMediaRefusal)) throw error;
      this.#refuse(error);
      return error.type;
    }
    let failure: string | null = 'it broke';
    try {
      const { outcome, message } = await this.#record(head, turn);
      failure = message;
      return outcome;
    } finally {
      turn.leave(failure);
    }
  }

  /** @throws AwsAuthError, PutMediaRefusal */
  async #enter(): Promise<PutMediaHead> {
    const { authenticator, authorizer, arnOf } = this.#options;
    const caller = await authenticatePutMedia(this.#request, authenticator);
    const head = readHead(this.#request.headers);
    authorizer.authorize(caller, 'kinesisvideo:PutMedia', await arnOf(head.stream), {
      'aws:SourceIp': (this.#request.socket.remoteAddress ?? '').replace(/^::ffff:/i, ''),
    });
    return head;
  }

  async #record(
    head: PutMediaHead,
    turn: Turn,
  ): Promise<{ outcome: string; message: string | null }> {
    this.#response.writeHead(200, {
      'content-type': 'application/json',
      'x-amzn-requestid': randomUUID(),
    });
    if ('flushHeaders' in this.#response) this.#response.flushHeaders();
    const { stream: camera } = head;
    const { video, clock, fragmentNumber } = this.#options;
    const logger = this.#options.logger.child({ camera });
    const recorder = new MkvRecorder({
      ...{ camera, video, timecodes: head.timecodes, clock, logger },
      onAck: ({ type, timecodeMs, fragmentNumber: number }) => {
        if (head.wantsAcks) this.#tell(type, timecodeMs, fragmentNumber(number));
      },
    });
    const end = (): void => {
      this.#end('ended');
    };
    turn.signal.addEventListener('abort', end);
    let failure: Error | null = null;
    try {
      await turn.begun;
      await this.#read(recorder);
    } catch (error) {
      if (!turn.signal.aborted) failure = error instanceof Error ? error : new Error(String(error));
    } finally {
      turn.signal.removeEventListener('abort', end);
    }
    const stop = this.#reason;
    const outcome =
      failure === null ? this.#concluded(stop) : this.#failed(failure, recorder, logger);
    try {
      await recorder.end(failure === null ? (stop ?? 'ended') : `failed: ${failure.message}`);
    } catch (error) {
      logger.error({ error }, 'A PutMedia connection could not be closed properly');
    }
    this.#close(outcome === 'ok');
    return { outcome, message: failure?.message ?? null };
  }

  /** @throws PutMediaError, and what the connection broke with */
  async #read(recorder: MkvRecorder): Promise<void> {
    const { clock } = this.#options;
    const { idleMs, ageMs, bytesPerSecond, fragmentsPerSecond } = this.#limits;
    const [bytesPace, fragmentsPace] = [new Pace(bytesPerSecond), new Pace(fragmentsPerSecond)];
    const beginMs = clock.monotonicMs();
    const body = this.#request.iterator({ destroyOnReturn: false }) as Body;
    this.#body = body;
    for (;;) {
      const cancelIdle = clock.setTimer(idleMs, () => {
        this.#end('idle');
      });
      const piece = await Promise.race([body.next(), this.#stopped]).finally(cancelIdle);
      if (piece === null) return;
      if (piece.done === true) {
        await recorder.finish(clock.nowMs());
        return;
      }
      const before = recorder.fragments;
      await recorder.accept(piece.value, clock.nowMs());
      const nowMs = clock.monotonicMs();
      const fragments = recorder.fragments - before;
      if (fragments > 0 && nowMs - beginMs > ageMs) {
        throw new PutMediaError('MAX_CONNECTION_DURATION_REACHED', 'the connection is too old');
      }
      const waits = [
        bytesPace.take(piece.value.length, nowMs),
        fragmentsPace.take(fragments, nowMs),
      ];
      await this.#wait(Math.max(...waits));
    }
  }

  async #wait(delayMs: number): Promise<void> {
    if (delayMs <= 0) return;
    let cancel = (): void => undefined;
    const passed = new Promise<void>((resolve) => {
      cancel = this.#options.clock.setTimer(delayMs, resolve);
    });
    await Promise.race([passed, this.#stopped]).finally(cancel);
  }

  get #answer(): Writable {
    return this.#response;
  }

  #end(reason: Stop): void {
    this.#reason ??= reason;
    this.#stop.abort();
  }

  /** What ends without a failure. */
  #concluded(stop: Stop | null): string {
    if (stop !== 'idle') return stop ?? 'ok';
    this.#write({ EventType: 'IDLE' });
    return 'idle';
  }

  #failed(failure: Error, recorder: MkvRecorder, logger: Logger): string {
    const error =
      failure instanceof PutMediaError
        ? failure
        : isBroken(failure)
          ? new PutMediaError('STREAM_READ_ERROR', 'the connection broke', { cause: failure })
          : new PutMediaError('INTERNAL_ERROR', failure.message, { cause: failure });
    const { underWay } = recorder;
    const { code: ErrorCode, id: ErrorId } = error;
    this.#write({
      EventType: 'ERROR',
      ...(underWay === null ? {} : { FragmentTimecode: underWay.timecodeMs }),
      ...(underWay === null || underWay.fragmentNumber === null
        ? {}
        : { FragmentNumber: this.#options.fragmentNumber(underWay.fragmentNumber) }),
      ...{ ErrorId, ErrorCode },
    });
    if (ErrorCode === 'INTERNAL_ERROR') {
      logger.error({ error: failure }, 'A PutMedia connection failed');
    } else {
      logger.warn({ reason: error.message, code: ErrorCode }, 'A PutMedia connection ended early');
    }
    return ErrorCode;
  }

  #tell(EventType: string, FragmentTimecode: number, FragmentNumber: string): void {
    this.#write({ EventType, FragmentTimecode, FragmentNumber });
  }

  #write(ack: Readonly<Record<string, unknown>>): void {
    if (this.#response.destroyed || this.#response.writableEnded) return;
    this.#answer.write(`${JSON.stringify(ack)}\r\n`);
    if (this.#response.writableLength > acksBytesMax) this.#end('unread');
  }

  /** @param whole all of the request was read, so that another may follow on the connection */
  #close(whole: boolean): void {
    this.#response.end();
    if (whole) return;
    // What still comes is thrown away for a while: cut off at once, nobody would read the answer.
    const request = this.#request;
    request.on('error', () => undefined);
    const discard = (): void => {
      request.resume();
    };
    Promise.resolve(this.#body?.return?.()).then(discard, discard);
    const cancel = this.#options.clock.setTimer(lingerMs, () => {
      if ('stream' in request) request.stream.close();
      else request.socket.destroySoon();
    });
    request.once('close', cancel);
  }

  #refuse(error: AwsAuthError | PutMediaRefusal): void {
    const status = error instanceof AwsAuthError ? 403 : error.status;
    this.#response.writeHead(status, {
      'content-type': 'application/json',
      'x-amzn-errortype': error.type,
      'x-amzn-requestid': randomUUID(),
    });
    this.#answer.write(JSON.stringify({ Message: error.message }));
    this.#close(false);
  }
}

function noStream(name: string): PutMediaRefusal {
  return new PutMediaRefusal(
    'ResourceNotFoundException',
    `There is no stream ${name} that takes PutMedia.`,
  );
}

/** What Node says of a body that does not come to its end. */
function isBroken(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return ['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'EPIPE', 'ECONNABORTED'].includes(code ?? '');
}
