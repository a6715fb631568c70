/**
 * One camera's session as it passes through the relay: from its ANNOUNCE until it leaves.
 *
 * Invariants:
 * - What the camera sends from its beginning is held until the recorder has stored its first
 *   fragment, so that a run misses nothing, also when the recorder must begin again (it finds out
 *   about audio by trying). What is held has limits (held-packets.ts). Past them it is let go, and
 *   a recorder joins in mid-stream.
 * - A camera that leaves while something is held for its recorder is waited for on its behalf, at
 *   most `heldMsMax`: a short session is recorded too. A new session of the camera ends that.
 * - A reader never holds up the publisher or another reader: each has its own queue, and is
 *   dropped when that is too long (connection.ts).
 * - A camera that sends more than `bytesPerSecondMax` is cut off.
 * - One recorder at a time, known by a ticket that nobody else can use while it is connected.
 *
 * Packets pass as they are; looked at are their sequence numbers, to count what a camera lost, and
 * for the recorder alone the sender reports (report-filter.ts).
 */
import type { CancelTimer, Clock } from '../../storage/ports.ts';
import type { RtspUser } from './authentication.ts';
import { BackwardLeap } from './backward-leap.ts';
import { FirstPictures, type PictureCodec } from './first-pictures.ts';
import { GroupCache } from './group-cache.ts';
import { type HeldLimits, HeldPackets, packetOverheadBytes } from './held-packets.ts';
import { ReportFilter } from './report-filter.ts';
import { SequenceWatch } from './rtp.ts';
import { clockRate, describeToReaders, type SessionDescription } from './sdp.ts';

/** Why a session ended. */
export type PublicationEnd =
  /** The camera said goodbye, or closed its connection. */
  | 'left'
  /** Nothing came from it for too long. */
  | 'timed-out'
  /** It sent what is not RTSP. */
  | 'malformed'
  /** It sent more than any camera does. */
  | 'flooded'
  /** The gateway asked it to begin anew. */
  | 'dismissed'
  | 'server-closed';

/** Whoever plays a publication; implemented by its connection. */
export interface Reader {
  readonly isRecorder: boolean;
  /**
   * Queues a copy of a frame (with its four header bytes) for the channel that it gave this track.
   */
  send(track: number, isRtcp: boolean, frame: Buffer): void;
  /** Between these, frames are gathered into one write. */
  cork(): void;
  uncork(): void;
  /** The publication is over: what is queued is still delivered. */
  publicationEnded(): void;
}

/** The connection that the packets come from. */
export interface Publisher {
  readonly remote: string;
  /** How it comes, where that is not RTSP. */
  readonly protocol?: 'WebRTC';
  /** A receiver report of the recorder, to be passed to the camera. */
  report(track: number, frame: Buffer): void;
  /** Asks for a picture that can be decoded by itself, where the protocol knows how to. */
  requestKeyframe?(): void;
  /** Ends the connection. */
  dismiss(): void;
}

export interface PublicationLimits extends HeldLimits {
  /** A camera that sends more than this, over five seconds, is cut off. */
  readonly bytesPerSecondMax: number;
  /** For the newest group of pictures of H.264, with which players may begin; 0: none is kept. */
  readonly groupBytesMax: number;
}

const frameHeaderBytes = 4;
const floodWindowMs = 5_000;

export class Publication {
  readonly camera: string;
  readonly session: SessionDescription;
  readonly publisher: Publisher;
  readonly sinceMs: number;
  readonly #limits: PublicationLimits;
  readonly #clock: Clock;
  readonly #readers = new Set<Reader>();
  readonly #setUp = new Set<number>();
  readonly #closeListeners: ((end: PublicationEnd) => void)[] = [];
  readonly #sequences = new Map<number, SequenceWatch>();
  readonly #reports = new ReportFilter((track) => clockRate(this.session.media[track]));
  #missing = 0;
  #lastMediaMs: number;
  #windowStartMs: number;
  #windowBytes = 0;
  readonly #held: HeldPackets;
  #isRecorded = false;
  #isRecording = false;
  #end: PublicationEnd | null = null;
  #ticket: RtspUser | null = null;
  #isTicketTaken = false;
  #recorderDropped = false;
  readonly #group: GroupCache | null;
  /** The track that is cached. */
  readonly #groupTrack: number;
  /** The video that the recorder is sent. */
  #pictureTrack = -1;
  #firstPictures: FirstPictures | null = null;
  #leap: BackwardLeap | null = null;
  /** The camera has left, and its recorder is yet to come for what is held. */
  #hasDeparted = false;
  #cancelDeparture: CancelTimer = () => undefined;

  constructor(
    camera: string,
    session: SessionDescription,
    publisher: Publisher,
    clock: Clock,
    limits: PublicationLimits,
  ) {
    this.camera = camera;
    this.session = session;
    this.publisher = publisher;
    this.sinceMs = clock.nowMs();
    this.#windowStartMs = clock.monotonicMs();
    this.#lastMediaMs = this.#windowStartMs;
    this.#clock = clock;
    this.#limits = limits;
    this.#held = new HeldPackets(limits, clock);
    this.#groupTrack = session.media.findIndex(({ codec }) => codec === 'H264');
    const keepsGroup = limits.groupBytesMax > 0 && this.#groupTrack !== -1;
    this.#group = keepsGroup ? new GroupCache(limits.groupBytesMax) : null;
  }

  /** The packets of the video since its last keyframe, as far as they are kept. */
  group(): readonly Buffer[] {
    return this.#group?.packets() ?? [];
  }

  /**
   * When the first pictures are shown that the recorder was sent, in seconds since its first
   * keyframe is; none where that is not known.
   */
  get firstPictureSeconds(): readonly number[] {
    return this.#firstPictures?.seconds ?? [];
  }

  /** Whether the clock of the video was set back since the recorder came. */
  get hasLeaptBack(): boolean {
    return this.#leap?.isSeen ?? false;
  }

  /** Whether its H.264 has B-frames, as far as that is looked at. */
  get hasReorderedPictures(): boolean {
    return this.#group?.hasReorderedPictures ?? false;
  }

  /** Calls back once when the session is over, in the same step. */
  onClosed(listener: (end: PublicationEnd) => void): void {
    this.#closeListeners.push(listener);
  }

  /** Why the session is over; null while it goes on. */
  get end(): PublicationEnd | null {
    return this.#end;
  }

  /** Whether the camera has begun to send (RECORD): only then can it be read. */
  get isRecording(): boolean {
    return this.#isRecording;
  }

  /** Whether the camera has left, and only its recorder is waited for. */
  get hasDeparted(): boolean {
    return this.#hasDeparted;
  }

  /** Whether a recorder has stored something of this session. */
  get isRecorded(): boolean {
    return this.#isRecorded;
  }

  get readerCount(): number {
    return this.#readers.size;
  }

  /** The readers without our recorder. */
  get playerCount(): number {
    let count = 0;
    for (const reader of this.#readers) if (!reader.isRecorder) count += 1;
    return count;
  }

  /** Whether somebody waits for each packet: a player, or a run that is yet to begin. */
  get isAwaited(): boolean {
    if (!this.#isRecorded) return true;
    for (const reader of this.#readers) if (!reader.isRecorder) return true;
    return false;
  }

  /** Packets that were held and then let go, because no recorder came in time. */
  get lostPackets(): number {
    return this.#held.lost;
  }

  /** Packets that the camera did not send, or that were lost on the way here. */
  get missingPackets(): number {
    return this.#missing;
  }

  /** When its newest packet came, or it began, on the clock's monotonic side. */
  get lastMediaMs(): number {
    return this.#lastMediaMs;
  }

  /** Sender reports that contradicted the others, so that the recorder was not told of them. */
  get withheldReports(): number {
    return this.#reports.withheld;
  }

  /** Whether the last recorder was dropped because it did not keep up. */
  get recorderDropped(): boolean {
    return this.#recorderDropped;
  }

  /** Gives credentials with which one connection at a time may read as the recorder. */
  issueTicket(ticket: RtspUser): void {
    this.#ticket = ticket;
    this.#isTicketTaken = false;
    this.#recorderDropped = false;
  }

  /** The recorder's credentials, while they may be used. */
  get ticket(): RtspUser | null {
    return this.#isTicketTaken ? null : this.#ticket;
  }

  /** A connection has become the recorder; it gives the ticket back when it ends. */
  takeTicket(): void {
    this.#isTicketTaken = true;
  }

  returnTicket(): void {
    this.#isTicketTaken = false;
  }

  /** The recording is over. */
  revokeTicket(): void {
    this.#ticket = null;
    this.giveUpWaiting();
  }

  /** The recorder has stored what it was sent: nothing needs to be held for it any more. */
  confirmRecorded(): void {
    this.#isRecorded = true;
    this.#held.letGo();
    this.giveUpWaiting();
  }

  trackSetUp(track: number): void {
    this.#setUp.add(track);
    this.#sequences.set(track, new SequenceWatch());
  }

  get tracksSetUp(): ReadonlySet<number> {
    return this.#setUp;
  }

  record(): void {
    this.#isRecording = true;
  }

  /** The session description for readers: the tracks that the camera set up. */
  describe(): string {
    return describeToReaders(this.session, (track) => this.#setUp.has(track));
  }

  /** Passes on a packet of the camera; what is kept of it is copied. */
  forward(track: number, isRtcp: boolean, frame: Buffer): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#end !== null || this.#isFlood(frame.length, nowMs)) return;
    if (!isRtcp) this.#lastMediaMs = nowMs;
    const isForRecorder = this.#look(track, isRtcp, frame);
    if (isForRecorder) this.#held.hold({ track, isRtcp, frame });
    if (track === this.#groupTrack && !isRtcp) this.#group?.keep(frame);
    if (track === this.#pictureTrack && !isRtcp) this.#lookAtPicture(frame);
    for (const reader of this.#readers) {
      if (isForRecorder || !reader.isRecorder) reader.send(track, isRtcp, frame);
    }
  }

  /** Passes on whatever `body` forwards in as few writes as possible. */
  gather(body: () => void): void {
    // A reader may leave meanwhile; uncorking what is closed is harmless.
    const readers = [...this.#readers];
    for (const reader of readers) reader.cork();
    try {
      body();
    } finally {
      for (const reader of readers) reader.uncork();
    }
  }

  /** From here on `reader` gets every packet; the recorder first what was held for it. */
  play(reader: Reader): void {
    if (this.#end !== null) {
      reader.publicationEnded();
      return;
    }
    if (reader.isRecorder) {
      this.#beginPictures();
      reader.cork();
      for (const { track, isRtcp, frame } of this.#held.take()) {
        if (track === this.#pictureTrack && !isRtcp) this.#firstPictures?.look(frame);
        reader.send(track, isRtcp, frame);
      }
      reader.uncork();
    }
    if (this.#hasDeparted) reader.publicationEnded();
    else this.#readers.add(reader);
  }

  leave(reader: Reader, wasDropped: boolean): void {
    this.#readers.delete(reader);
    if (reader.isRecorder && wasDropped) this.#recorderDropped = true;
  }

  /**
   * Ends the session for its readers: nothing more comes. Twice is harmless, and the first reason
   * stays.
   */
  close(end: PublicationEnd): void {
    if (this.#end !== null) return;
    for (const reader of this.#readers) reader.publicationEnded();
    this.#readers.clear();
    const isAwaited = this.#isRecording && this.#held.isAny;
    if (end !== 'left' || !isAwaited) {
      this.#finish(end);
    } else if (!this.#hasDeparted) {
      this.#hasDeparted = true;
      this.#cancelDeparture = this.#clock.setTimer(this.#limits.heldMsMax, () => {
        this.#finish('left');
      });
    }
  }

  /** Ends the wait for a recorder, if the camera has left: what is held is let go. */
  giveUpWaiting(): void {
    if (this.#hasDeparted) this.#finish('left');
  }

  #lookAtPicture(frame: Buffer): void {
    this.#firstPictures?.look(frame);
    this.#leap?.look(frame);
    // The next recorder could make nothing of it either.
    if (this.hasLeaptBack) this.#held.letGo();
  }

  /** From here on it is a new recorder that gets the packets. */
  #beginPictures(): void {
    const { media } = this.session;
    const track = media.findIndex(({ kind }, n) => kind === 'video' && this.#setUp.has(n));
    const codec = media[track]?.codec;
    const isKnown = (name: unknown): name is PictureCodec => name === 'H264' || name === 'H265';
    this.#pictureTrack = track;
    const rate = clockRate(media[track]);
    this.#firstPictures = isKnown(codec) ? new FirstPictures(codec, rate) : null;
    this.#leap = new BackwardLeap(rate);
  }

  /** One camera must not take the disk and the network from all others. */
  #isFlood(bytes: number, nowMs: number): boolean {
    if (nowMs - this.#windowStartMs >= floodWindowMs) {
      this.#windowStartMs = nowMs;
      this.#windowBytes = 0;
    }
    this.#windowBytes += bytes + packetOverheadBytes;
    const { bytesPerSecondMax } = this.#limits;
    if (this.#windowBytes <= (bytesPerSecondMax * floodWindowMs) / 1000) return false;
    this.close('flooded');
    this.publisher.dismiss();
    return true;
  }

  /** Whether the recorder may have it. */
  #look(track: number, isRtcp: boolean, frame: Buffer): boolean {
    if (isRtcp) return this.#reports.passes(track, frame, this.#clock.monotonicMs());
    this.#missing += this.#sequences.get(track)?.missingBefore(frame, frameHeaderBytes) ?? 0;
    this.#reports.media(track, frame);
    return true;
  }

  #finish(end: PublicationEnd): void {
    if (this.#end !== null) return;
    this.#cancelDeparture();
    this.#end = this.#hasDeparted ? 'left' : end;
    this.#hasDeparted = false;
    this.#ticket = null;
    this.#held.letGo();
    for (const listener of this.#closeListeners) listener(this.#end);
  }
}
