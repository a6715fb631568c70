/**
 * One TCP connection of the RTSP server: bytes in and out, answers, time-outs, its end.
 *
 * Until packets flow it has `setupTimeoutMs`; a publisher is then ended when nothing came for
 * `publisherTimeoutMs`. What is queued for a peer is bounded by `queueBytesMax` for a reader and
 * by 64 KiB for anybody else: whoever does not read that much is cut off.
 *
 * Everything a request does is done at once, so requests are answered in their order. What
 * requests mean is session.ts.
 */
import type { Socket } from 'node:net';
import type { CancelTimer, Logger } from '../../storage/ports.ts';
import { challenges } from './authentication.ts';
import type { Answer, ConnectionHost, Wire } from './contracts.ts';
import { RtspError, type RtspErrorCode } from './errors.ts';
import { RtspParser, type RtspRequest } from './parser.ts';
import { packetOverheadBytes } from './held-packets.ts';
import type { PublicationEnd } from './publication.ts';
import { ReadingPace, untilTickMs } from '../reading-pace.ts';
import { Challenge, publicMethods, Session } from './session.ts';
import { blockBytes } from './write-blocks.ts';

/** A connection without packets may leave this much unread. */
const answersBytesMax = 65_536;
/** How long at most packets are gathered for a peer that is in no hurry, and how much of them. */
const gatherMs = 100;
const gatheredBytesMax = 262_144;

/** What waits in a block: its first bytes. */
interface Gathered {
  readonly block: Buffer;
  bytes: number;
  /** What it counts in the queue. */
  cost: number;
}

export class Connection implements Wire {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #host: ConnectionHost<Connection>;
  readonly #logger: Logger;
  readonly #parser = new RtspParser();
  readonly #session: Session;
  readonly #pace: ReadingPace;
  #cancelTimer: CancelTimer;
  #lastReceivedMs: number;
  #queuedBytes = 0;
  #gathered: Gathered[] = [];
  #gatheredCost = 0;
  #cancelFlush: CancelTimer | null = null;
  #isOver = false;

  constructor(socket: Socket, host: ConnectionHost<Connection>) {
    this.#socket = socket;
    this.#host = host;
    this.remote = `${socket.remoteAddress ?? 'unknown'}:${socket.remotePort ?? 0}`;
    this.#logger = host.logger.child({ remote: this.remote });
    this.#session = new Session(this, host);
    this.#pace = new ReadingPace(socket, host.clock);
    this.#lastReceivedMs = host.clock.monotonicMs();
    this.#cancelTimer = host.clock.setTimer(host.limits.setupTimeoutMs, () => {
      this.#logger.debug({}, 'an RTSP connection came to nothing');
      this.close('left');
    });
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('end', () => this.#over('left'));
    socket.on('error', (error) => this.#logger.debug({ error }, 'an RTSP connection broke'));
    socket.on('close', () => {
      this.#over('left');
      host.closed(this);
    });
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  // ---------------------------------------------------------------- what comes in

  #received(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#lastReceivedMs = this.#host.clock.monotonicMs();
    const { published } = this.#session;
    if (published === null) {
      this.#read(chunk);
      return;
    }
    this.#host.received(published.camera, chunk.length);
    published.gather(() => this.#read(chunk));
    if (!published.isAwaited) this.#pace.rest(chunk.length);
  }

  #read(chunk: Buffer): void {
    try {
      for (const input of this.#parser.push(chunk)) {
        if (input.kind === 'request') this.#request(input.request);
        else if (input.kind === 'frame') this.#session.frame(input.channel, input.frame);
        if (this.#isOver) return;
      }
    } catch (error) {
      if (!(error instanceof RtspError)) throw error;
      this.#refuse(error, error.cseq);
    }
  }

  #request(request: RtspRequest): void {
    const cseq = request.headers.get('cseq') ?? null;
    try {
      if (cseq === null || !/^\d{1,10}$/.test(cseq)) {
        throw new RtspError('bad-request', 'a request without CSeq');
      }
      if (request.version !== '1.0') throw new RtspError('unsupported-version', 'not RTSP/1.0');
      const answer = this.#session.handle(request);
      this.#answer(200, 'OK', cseq, answer);
      answer.then?.();
    } catch (error) {
      if (!(error instanceof RtspError)) throw error;
      this.#refuse(error, cseq);
    }
  }

  // ---------------------------------------------------------------- what goes out

  write(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#flush();
    const cost = bytes.length + packetOverheadBytes;
    this.#queuedBytes += cost;
    this.#socket.write(bytes, () => {
      this.#queuedBytes -= cost;
    });
  }

  writeSoon(frame: Buffer, channel: number): void {
    if (this.#isOver) return;
    const cost = frame.length + packetOverheadBytes;
    this.#queuedBytes += cost;
    this.#gatheredCost += cost;
    this.#gather(frame, channel, cost);
    if (this.#gatheredCost >= gatheredBytesMax) this.#flush();
    else {
      const { clock } = this.#host;
      this.#cancelFlush ??= clock.setTimer(untilTickMs(clock, gatherMs), () => this.#flush());
    }
  }

  #gather(frame: Buffer, channel: number, cost: number): void {
    let last = this.#gathered.at(-1);
    if (last === undefined || last.bytes + frame.length > blockBytes) {
      last = { block: this.#host.blocks.take(), bytes: 0, cost: 0 };
      this.#gathered.push(last);
    }
    frame.copy(last.block, last.bytes);
    last.block[last.bytes + 1] = channel;
    last.bytes += frame.length;
    last.cost += cost;
  }

  /** One write, and one system call, for all that was gathered. */
  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = null;
    if (this.#gathered.length === 0) return;
    this.#socket.cork();
    for (const { block, bytes, cost } of this.#gathered) {
      this.#socket.write(block.subarray(0, bytes), () => {
        this.#queuedBytes -= cost;
        this.#host.blocks.giveBack(block);
      });
    }
    this.#socket.uncork();
    this.#gathered = [];
    this.#gatheredCost = 0;
  }

  cork(): void {
    this.#socket.cork();
  }

  uncork(): void {
    this.#socket.uncork();
  }

  #answer(status: number, reason: string, cseq: string | null, answer: Answer): void {
    const body = Buffer.from(answer.body ?? '');
    const lines = [`RTSP/1.0 ${status} ${reason}`];
    if (cseq !== null) lines.push(`CSeq: ${cseq}`);
    lines.push('Server: headgate');
    for (const [name, value] of Object.entries(answer.headers ?? {})) {
      lines.push(`${name}: ${value}`);
    }
    if (body.length > 0) lines.push(`Content-Length: ${body.length}`);
    this.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body]));
    const { queueBytesMax } = this.#host.limits;
    if (this.#queuedBytes > (this.#session.isReader ? queueBytesMax : answersBytesMax)) {
      this.close('left');
    }
  }

  #refuse(error: RtspError, cseq: string | null): void {
    if (!(error instanceof Challenge) || error.isRefusal) this.#host.refused(this.remote, error);
    const headers: Record<string, string> = {};
    if (error instanceof Challenge) {
      const all = challenges(this.#session.nonce, error.isStale);
      headers['WWW-Authenticate'] = all.join('\r\nWWW-Authenticate: ');
    }
    const { publisherTimeoutMs } = this.#host.limits;
    if (error.code === 'busy') headers['Retry-After'] = String(publisherTimeoutMs / 1000);
    if (error.code === 'method-not-allowed') headers.Allow = publicMethods;
    this.#answer(error.status, statusText(error), cseq, { headers });
    if (error.fatal) this.finish(error.code === 'unauthorized' ? 'left' : 'malformed');
  }

  // ---------------------------------------------------------------- time and the end

  established(isPublisher: boolean): void {
    this.#cancelTimer();
    this.#host.established(this);
    if (isPublisher) this.#watchForSilence(this.#host.limits.publisherTimeoutMs);
  }

  #watchForSilence(inMs: number): void {
    this.#cancelTimer = this.#host.clock.setTimer(inMs, () => {
      const { publisherTimeoutMs } = this.#host.limits;
      const silentMs = this.#host.clock.monotonicMs() - this.#lastReceivedMs;
      if (silentMs >= publisherTimeoutMs) this.close('timed-out');
      else this.#watchForSilence(publisherTimeoutMs - silentMs);
    });
  }

  /** Ends the connection once what is queued has been delivered, or after a while. */
  finish(end: PublicationEnd): void {
    if (this.#isOver) return;
    this.#flush();
    this.#over(end);
    this.#socket.end();
    this.#cancelTimer = this.#host.clock.setTimer(this.#host.limits.setupTimeoutMs, () => {
      this.#socket.destroy();
    });
  }

  /** Cuts the connection, delivering nothing more. Twice is harmless. */
  close(end: PublicationEnd): void {
    this.#over(end);
    this.#socket.destroy();
  }

  #over(end: PublicationEnd): void {
    if (this.#socket.destroyed) this.#cancelTimer();
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelTimer();
    this.#pace.end();
    this.#cancelFlush?.();
    this.#session.over(end);
  }
}

/** The reason goes into the status line where the camera's own log can show it to its owner. */
const spoken: ReadonlySet<RtspErrorCode> = new Set([
  'bad-request',
  'not-found',
  'unsupported-media',
  'wrong-state',
  'busy',
]);

function statusText(error: RtspError): string {
  if (!spoken.has(error.code)) return error.reason;
  return `${error.reason}: ${error.message.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)}`;
}
