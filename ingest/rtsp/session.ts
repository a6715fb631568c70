/**
 * What one connection is doing, and the RTSP methods that move it on.
 *
 * A session is new, then either publishes (ANNOUNCE, SETUP, RECORD) or reads (DESCRIBE, SETUP,
 * PLAY) one camera; it is never both. It keeps which channel stands for which track, and carries
 * packets between the wire and the camera's publication.
 *
 * Sockets, answers as text and timers are the connection's (connection.ts); which cameras there
 * are, and who has a path, is the server's to say (`SessionHost`).
 */
import { authenticate, type RtspUser } from './authentication.ts';
import type { Answer, SessionHost, Wire } from './contracts.ts';
import { RtspError } from './errors.ts';
import type { RtspRequest } from './parser.ts';
import type { Publication, PublicationEnd, Publisher, Reader } from './publication.ts';
import { findTrack, parseAnnounced, trackControl } from './sdp.ts';
import { freeChannel, parseTransport } from './transport.ts';
import { parseTarget, type RequestTarget } from './url.ts';

type Role =
  | { readonly kind: 'none' }
  | { readonly kind: 'publisher'; readonly publication: Publication }
  | { readonly kind: 'reader'; readonly publication: Publication; isPlaying: boolean };

export const publicMethods =
  'OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, RECORD, GET_PARAMETER, TEARDOWN';
/** Known to RTSP, not offered here. */
const otherMethods: ReadonlySet<string> = new Set(['PAUSE', 'SET_PARAMETER', 'REDIRECT']);
const sessionTimeoutSeconds = 60;
const wrongPasswordsMax = 3;
/** A camera that leaves this much unread is sent no more reports. */
const reportsBytesMax = 65_536;

export class Session implements Reader, Publisher {
  readonly #wire: Wire;
  readonly #host: SessionHost;
  readonly #nonce: string;
  readonly #id: string;
  /** Even channel by track, and back. */
  readonly #channelOf = new Map<number, number>();
  readonly #trackOf = new Map<number, number>();
  #role: Role = { kind: 'none' };
  /** The publication that this connection may record. */
  #recorded: Publication | null = null;
  /** The camera and action that this connection has shown credentials for. */
  #authorized: string | null = null;
  #wrongPasswords = 0;
  #isCorked = false;
  #sentBytes = 0;

  constructor(wire: Wire, host: SessionHost) {
    this.#wire = wire;
    this.#host = host;
    this.#nonce = host.randomHex(16);
    this.#id = host.randomHex(8);
  }

  get remote(): string {
    return this.#wire.remote;
  }

  get isRecorder(): boolean {
    return this.#recorded !== null;
  }

  /** What a 401 on this connection is made with. */
  get nonce(): string {
    return this.#nonce;
  }

  get isReader(): boolean {
    return this.#role.kind === 'reader';
  }

  /** What this connection publishes, if anything. */
  get published(): Publication | null {
    return this.#role.kind === 'publisher' ? this.#role.publication : null;
  }

  /**
   * Does what a request asks.
   *
   * @throws RtspError with the status to answer
   */
  handle(request: RtspRequest): Answer {
    switch (request.method) {
      case 'OPTIONS':
        return { headers: { Public: publicMethods } };
      case 'ANNOUNCE':
        return this.#announce(request);
      case 'DESCRIBE':
        return this.#describe(request);
      case 'SETUP':
        return this.#setUp(request);
      case 'RECORD':
        return this.#record(request);
      case 'PLAY':
        return this.#play(request);
      case 'GET_PARAMETER':
        return {};
      case 'TEARDOWN':
        this.#requireSession(request);
        return { then: () => this.#wire.finish('left') };
      default:
        throw otherMethods.has(request.method)
          ? new RtspError('method-not-allowed', `${request.method} is not offered`)
          : new RtspError('not-implemented', 'an unknown method');
    }
  }

  /** Takes an interleaved frame. @throws RtspError where there can be none yet */
  frame(channel: number, frame: Buffer): void {
    const role = this.#role;
    if (role.kind === 'none') {
      throw new RtspError('bad-request', 'packets before SETUP', { fatal: true });
    }
    const isRtcp = channel % 2 === 1;
    const track = this.#trackOf.get(isRtcp ? channel - 1 : channel);
    // A channel that was never set up belongs to nobody; cameras do send on such.
    if (track === undefined) return;
    if (role.kind === 'publisher') role.publication.forward(track, isRtcp, frame);
    else if (isRtcp && this.isRecorder) role.publication.publisher.report(track, frame);
  }

  /** The connection is over, for this reason. */
  over(end: PublicationEnd): void {
    this.#recorded?.returnTicket();
    const role = this.#role;
    if (role.kind === 'publisher') role.publication.close(end);
    else if (role.kind === 'reader') role.publication.leave(this, false);
  }

  // ---------------------------------------------------------------- the methods

  #announce(request: RtspRequest): Answer {
    this.#requireNew();
    const { camera } = parseTarget(request.url);
    const user = this.#host.publisherOf(camera);
    this.#authorize(request, camera, 'publish', [user]);
    const type = request.headers.get('content-type') ?? 'application/sdp';
    if (!/^application\/sdp\b/i.test(type)) {
      throw new RtspError('unsupported-media', 'ANNOUNCE carries application/sdp');
    }
    const session = parseAnnounced(request.body);
    this.#role = {
      kind: 'publisher',
      publication: this.#host.announce(camera, session, this),
    };
    return {};
  }

  #describe(request: RtspRequest): Answer {
    if (this.#role.kind === 'publisher') this.#requireNew();
    const { camera } = parseTarget(request.url);
    const publication = this.#publicationToRead(request, camera);
    const accept = request.headers.get('accept');
    if (accept !== undefined && !/application\/(sdp|\*)|\*\/\*/i.test(accept)) {
      throw new RtspError('unsupported-media', 'only application/sdp is given');
    }
    return {
      headers: {
        'Content-Base': `${request.url.replace(/[/?]*$/, '')}/`,
        'Content-Type': 'application/sdp',
      },
      body: publication.describe(),
    };
  }

  #setUp(request: RtspRequest): Answer {
    const target = parseTarget(request.url);
    const role = this.#role;
    const { publication, track } =
      role.kind === 'publisher'
        ? this.#trackToPublish(role.publication, request, target)
        : this.#trackToRead(request, target);
    const wanted = parseTransport(request.headers.get('transport')).channel;
    const channel =
      wanted !== null && !this.#trackOf.has(wanted) && wanted % 2 === 0
        ? wanted
        : freeChannel(new Set(this.#trackOf.keys()));
    if (channel === null || this.#channelOf.has(track)) {
      throw new RtspError('wrong-state', 'this track is set up already');
    }
    this.#channelOf.set(track, channel);
    this.#trackOf.set(channel, track);
    if (role.kind === 'publisher') publication.trackSetUp(track);
    else if (role.kind === 'none') this.#role = { kind: 'reader', publication, isPlaying: false };
    const mode = role.kind === 'publisher' ? ';mode=record' : '';
    return {
      headers: {
        Transport: `RTP/AVP/TCP;unicast;interleaved=${channel}-${channel + 1}${mode}`,
        Session: `${this.#id};timeout=${sessionTimeoutSeconds}`,
      },
    };
  }

  #trackToPublish(
    publication: Publication,
    request: RtspRequest,
    target: RequestTarget,
  ): { publication: Publication; track: number } {
    if (publication.isRecording) throw new RtspError('wrong-state', 'SETUP after RECORD');
    const track =
      target.camera === publication.camera
        ? findTrack(publication.session.media, request.url, target.rest)
        : null;
    if (track === null) throw new RtspError('not-found', 'no such track was announced');
    return { publication, track };
  }

  #trackToRead(
    request: RtspRequest,
    target: RequestTarget,
  ): { publication: Publication; track: number } {
    const role = this.#role;
    if (role.kind === 'reader' && role.isPlaying) {
      throw new RtspError('wrong-state', 'SETUP after PLAY');
    }
    const publication = this.#publicationToRead(request, target.camera);
    if (role.kind === 'reader' && role.publication !== publication) {
      throw new RtspError('wrong-state', 'a connection reads one camera, in one session of it');
    }
    const tracks = [...publication.tracksSetUp];
    const track =
      target.rest === '' && tracks.length === 1
        ? tracks[0]
        : tracks.find((one) => target.rest === trackControl(one));
    if (track === undefined) throw new RtspError('not-found', 'the camera sends no such track');
    return { publication, track };
  }

  #record(request: RtspRequest): Answer {
    this.#requireSession(request);
    const role = this.#role;
    if (role.kind !== 'publisher' || role.publication.tracksSetUp.size === 0) {
      throw new RtspError('wrong-state', 'RECORD without ANNOUNCE and SETUP');
    }
    if (!role.publication.isRecording) {
      this.#wire.established(true);
      this.#host.recording(role.publication);
    }
    return { headers: { Session: this.#id } };
  }

  #play(request: RtspRequest): Answer {
    this.#requireSession(request);
    const role = this.#role;
    if (role.kind !== 'reader') throw new RtspError('wrong-state', 'PLAY without SETUP');
    const headers = { Session: this.#id, Range: 'npt=0.000-' };
    if (role.isPlaying) return { headers };
    return {
      headers,
      then: () => {
        role.isPlaying = true;
        this.#wire.established(false);
        role.publication.play(this);
      },
    };
  }

  // ---------------------------------------------------------------- who may do what

  #requireNew(): void {
    if (this.#role.kind !== 'none') {
      throw new RtspError('wrong-state', 'the connection is in use for something else');
    }
  }

  #requireSession(request: RtspRequest): void {
    const given = request.headers.get('session')?.split(';')[0]?.trim();
    if (this.#role.kind === 'none' || (given !== undefined && given !== this.#id)) {
      throw new RtspError('session-not-found', 'no such session');
    }
  }

  #publicationToRead(request: RtspRequest, camera: string): Publication {
    const users = this.#host.readersOf(camera);
    // The recorder's ticket exists only while there is a session: the look-up comes first, and
    // its failure is told only to those who may read.
    let publication: Publication | null = null;
    let missing: RtspError | null = null;
    try {
      publication = this.#host.publicationOf(camera);
    } catch (error) {
      if (!(error instanceof RtspError)) throw error;
      missing = error;
    }
    const ticket = publication?.ticket ?? null;
    const user = this.#authorize(request, camera, 'read', ticket ? [...users, ticket] : users);
    if (publication === null) throw missing ?? new RtspError('not-found', 'nothing to read');
    if (user !== null && user === ticket) {
      publication.takeTicket();
      this.#recorded = publication;
    }
    return publication;
  }

  /** The user who was recognised, or null when the connection had shown credentials before. */
  #authorize(
    request: RtspRequest,
    camera: string,
    action: 'publish' | 'read',
    users: readonly RtspUser[],
  ): RtspUser | null {
    const what = `${action} ${camera}`;
    if (this.#authorized === what) return null;
    const verdict = authenticate(request, users, this.#nonce, camera);
    if (verdict.kind === 'accepted') {
      this.#authorized = what;
      return verdict.user;
    }
    if (verdict.kind === 'asked') throw new Challenge(null, verdict.stale);
    this.#wrongPasswords += 1;
    const fatal = this.#wrongPasswords >= wrongPasswordsMax;
    throw new Challenge(`wrong user or password to ${what}`, false, fatal);
  }

  // ---------------------------------------------------------------- packets going out

  send(track: number, isRtcp: boolean, frame: Buffer): void {
    const even = this.#channelOf.get(track);
    const role = this.#role;
    if (even === undefined || role.kind !== 'reader') return;
    const channel = isRtcp ? even + 1 : even;
    // What is recorded is in no hurry, unless there is a run to begin.
    if (this.isRecorder && role.publication.isRecorded) this.#wire.writeSoon(frame, channel);
    else this.#wire.write(onChannel(frame, channel));
    this.#sentBytes += frame.length;
    if (!this.#isCorked) this.#countSent();
    const { queueBytesMax, heldBytesMax } = this.#host.limits;
    // The recorder is given what was held for it in one go.
    const allowed = this.isRecorder ? queueBytesMax + heldBytesMax : queueBytesMax;
    if (this.#wire.queuedBytes > allowed) {
      role.publication.leave(this, true);
      this.#host.readerDropped(role.publication.camera, this.remote);
      this.#wire.close('left');
    }
  }

  report(track: number, frame: Buffer): void {
    const even = this.#channelOf.get(track);
    if (even === undefined || this.#wire.queuedBytes > reportsBytesMax) return;
    this.#wire.write(onChannel(frame, even + 1));
  }

  cork(): void {
    this.#isCorked = true;
    this.#wire.cork();
  }

  uncork(): void {
    this.#isCorked = false;
    this.#wire.uncork();
    this.#countSent();
  }

  /** Once for many packets: a counter takes longer than a packet. */
  #countSent(): void {
    const role = this.#role;
    if (this.#sentBytes === 0 || role.kind !== 'reader') return;
    this.#host.sent(role.publication.camera, this.#sentBytes);
    this.#sentBytes = 0;
  }

  publicationEnded(): void {
    this.#wire.finish('left');
  }

  dismiss(): void {
    this.#wire.close('dismissed');
  }
}

/** A 401 with what to answer it with. */
export class Challenge extends RtspError {
  readonly isStale: boolean;
  /** Whether something wrong was offered, rather than nothing yet. */
  readonly isRefusal: boolean;

  /** @param wrong what was wrong; null when no credentials came, which is how it begins */
  constructor(wrong: string | null, isStale: boolean, fatal = false) {
    super('unauthorized', wrong ?? 'credentials are needed', { fatal });
    this.isStale = isStale;
    this.isRefusal = wrong !== null;
  }
}

/** A copy of a frame, on another channel. */
function onChannel(frame: Buffer, channel: number): Buffer {
  const copy = Buffer.from(frame);
  copy[1] = channel;
  return copy;
}
