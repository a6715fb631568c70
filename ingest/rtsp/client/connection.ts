/**
 * One connection to a camera, as an RTSP client (RFC 2326): requests and their answers, in order,
 * with what the camera sends interleaved between them.
 *
 * Limits: the parser's on what one message may hold, `pendingMax` requests under way, and
 * `unsentBytesMax` that a camera may leave unread; everything that comes is handed on at once and
 * never kept. An answer is waited for by whoever set the deadline (`close` ends every wait).
 */
import { isIPv6, type Socket } from 'node:net';
import type { CancelTimer, Clock } from '../../../storage/ports.ts';
import { SourceError } from '../../source.ts';
import type { RtspUser } from '../authentication.ts';
import { RtspError } from '../errors.ts';
import { RtspParser, type RtspRequest, type RtspResponse } from '../parser.ts';
import { ReadingPace } from '../../reading-pace.ts';
import { parseChallenges, Signer } from './authentication.ts';

export interface CameraConnectionOptions {
  readonly socket: Socket;
  /** As `ReadingPace` wants to know it. */
  readonly stopsAtOnce: boolean;
  readonly user: RtspUser | null;
  readonly randomHex: (bytes: number) => string;
  readonly clock: Clock;
}

interface Pending {
  readonly resolve: (response: RtspResponse) => void;
  readonly reject: (error: Error) => void;
}

const pendingMax = 16;
const unsentBytesMax = 65_536;
const userAgent = 'headgate';
const leaveMsMax = 1_000;

export class CameraConnection {
  /** Address and port of the camera. */
  readonly remote: string;
  readonly remoteAddress: string;
  /** Resolves when it is over: with what went wrong, or null when the camera hung up. */
  readonly closed: Promise<SourceError | null>;
  /** Takes each interleaved frame, with its four header bytes: good until it returns. */
  onFrame: (channel: number, frame: Buffer) => void = () => undefined;
  /** Called around each piece that is read, so that what comes of it can be gathered. */
  gather: (read: () => void) => void = (read) => {
    read();
  };
  /** Whether what the camera sends may be let gather before it is read. */
  mayRest: () => boolean = () => false;
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #signer: Signer | null;
  readonly #pace: ReadingPace;
  readonly #parser = new RtspParser();
  /** By CSeq, oldest first. */
  readonly #pending = new Map<string, Pending>();
  #cseq = 0;
  #session: string | null = null;
  #isLeaving = false;
  #cancelLeaving: CancelTimer = () => undefined;
  #failure: SourceError | null = null;
  #settleClosed: (failure: SourceError | null) => void = () => undefined;

  constructor({ socket, stopsAtOnce, user, randomHex, clock }: CameraConnectionOptions) {
    this.#socket = socket;
    // A socket forgets them when it is closed.
    this.remoteAddress = socket.remoteAddress ?? 'unknown';
    this.remote = `${isIPv6(this.remoteAddress) ? `[${this.remoteAddress}]` : this.remoteAddress}:${socket.remotePort ?? 0}`;
    this.#clock = clock;
    this.#pace = new ReadingPace(socket, clock, stopsAtOnce);
    this.#signer = user === null ? null : new Signer(user, randomHex);
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      if (this.#isLeaving) return;
      this.gather(() => {
        this.#read(chunk);
      });
      if (this.mayRest()) this.#pace.rest(chunk.length);
    });
    socket.on('error', (error) => {
      this.#failure ??= new SourceError('ended', `the connection broke (${codeOf(error)})`, {
        cause: error,
      });
    });
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.#over();
    });
  }

  /**
   * Sends a request and waits for its answer; a 401 is answered with the user's credentials, once.
   * Whatever other status there is comes back.
   *
   * @throws SourceError `unauthorized` when they are refused or there are none; what ended the
   *   connection, when that came first
   */
  async request(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<RtspResponse> {
    const response = await this.#once(method, url, headers);
    if (response.status !== 401) return response;
    const challenges = parseChallenges(response.headers.get('www-authenticate') ?? '');
    if (this.#signer === null) {
      throw new SourceError('unauthorized', '401: the camera wants a user and a password');
    }
    const isStale = challenges.some(({ parameters }) =>
      /true/i.test(parameters.get('stale') ?? ''),
    );
    if (this.#signer.isChallenged && !isStale) throw refused();
    if (!this.#signer.challenged(challenges)) {
      const schemes = challenges.map(({ scheme }) => scheme).join(', ') || 'none';
      throw new SourceError('unsupported', `no known way to log in is offered (${schemes})`);
    }
    const second = await this.#once(method, url, headers);
    if (second.status === 401) throw refused();
    return second;
  }

  /** Sends an interleaved frame; left out when the camera does not read what it is sent. */
  send(frame: Buffer): void {
    if (this.#socket.destroyed || this.#socket.writableLength > unsentBytesMax) return;
    this.#socket.write(frame);
  }

  /** Ends it, for this reason if any. Twice is harmless, and the first reason stays. */
  close(failure: SourceError | null = null): void {
    this.#failure ??= failure;
    this.#socket.destroy();
  }

  /**
   * Says goodbye and hangs up. The camera has a second to hang up too: closing while packets come
   * would take the goodbye back. Twice is harmless.
   */
  leave(url: string): void {
    if (this.#socket.destroyed || this.#isLeaving) return;
    this.#isLeaving = true;
    this.#pace.end();
    this.#socket.end(this.#message('TEARDOWN', url, {}));
    this.#cancelLeaving = this.#clock.setTimer(leaveMsMax, () => {
      this.#socket.destroy();
    });
  }

  #once(
    method: string,
    url: string,
    headers: Readonly<Record<string, string>>,
  ): Promise<RtspResponse> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed || this.#pending.size >= pendingMax) {
        reject(this.#failure ?? new SourceError('ended', 'the camera closed the connection'));
        return;
      }
      const message = this.#message(method, url, headers);
      this.#pending.set(String(this.#cseq), { resolve, reject });
      this.#socket.write(message);
    });
  }

  #message(method: string, url: string, headers: Readonly<Record<string, string>>): string {
    this.#cseq += 1;
    const authorization = this.#signer?.authorization(method, url) ?? null;
    const all: Readonly<Record<string, string>> = {
      CSeq: String(this.#cseq),
      'User-Agent': userAgent,
      ...(this.#session === null ? {} : { Session: this.#session }),
      ...(authorization === null ? {} : { Authorization: authorization }),
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${url} RTSP/1.0\r\n${lines.join('')}\r\n`;
  }

  #read(chunk: Buffer): void {
    try {
      for (const input of this.#parser.push(chunk)) {
        if (this.#socket.destroyed) return;
        if (input.kind === 'frame') this.onFrame(input.channel, input.frame);
        else if (input.kind === 'response') this.#answered(input.response);
        else this.#asked(input.request);
      }
    } catch (error) {
      if (!(error instanceof RtspError)) throw error;
      const message = `what answers is not RTSP: ${error.message}`;
      this.close(new SourceError('malformed', message, { cause: error }));
    }
  }

  #answered(response: RtspResponse): void {
    const [oldest] = this.#pending.keys();
    const cseq = response.headers.get('cseq') ?? oldest ?? '';
    const pending = this.#pending.get(cseq);
    this.#pending.delete(cseq);
    const session = response.headers.get('session')?.split(';')[0]?.trim();
    if (session !== undefined && /^[\x21-\x7e]{1,512}$/.test(session)) this.#session = session;
    pending?.resolve(response);
  }

  /** Some cameras ask whether we are still there. */
  #asked(request: RtspRequest): void {
    const known = /^(OPTIONS|GET_PARAMETER|SET_PARAMETER)$/.test(request.method);
    const cseq = /^\d{1,10}$/.exec(request.headers.get('cseq') ?? '')?.[0] ?? '0';
    const status = known ? '200 OK' : '501 Not Implemented';
    this.send(Buffer.from(`RTSP/1.0 ${status}\r\nCSeq: ${cseq}\r\n\r\n`));
  }

  #over(): void {
    this.#cancelLeaving();
    const reason = this.#failure ?? new SourceError('ended', 'the camera closed the connection');
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
    this.#settleClosed(this.#failure);
  }
}

function refused(): SourceError {
  return new SourceError('unauthorized', '401: the camera refuses this user and password');
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.message;
}
