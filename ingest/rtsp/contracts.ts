/**
 * What the three layers of the RTSP server ask of each other: a session of the wire below it
 * (connection.ts) and of the server above it (server.ts).
 */
import type { Clock, Logger } from '../../storage/ports.ts';
import type { RtspUser } from './authentication.ts';
import type { RtspError } from './errors.ts';
import type { Publication, PublicationEnd, Publisher } from './publication.ts';
import type { SessionDescription } from './sdp.ts';
import type { WriteBlocks } from './write-blocks.ts';

/** The connection below a session. */
export interface Wire {
  readonly remote: string;
  /** What is written and not yet taken by the peer, with an allowance per packet. */
  readonly queuedBytes: number;
  /** Keeps `bytes` until they are written. */
  write(bytes: Buffer): void;
  /**
   * Writes a copy of a frame within some milliseconds, on this channel: many packets then cost one
   * system call.
   */
  writeSoon(frame: Buffer, channel: number): void;
  cork(): void;
  uncork(): void;
  /** Packets flow from now on; a publisher is watched for silence. */
  established(isPublisher: boolean): void;
  /** Ends once what is queued is delivered. */
  finish(end: PublicationEnd): void;
  /** Ends at once. */
  close(end: PublicationEnd): void;
}

/** What a method answers with 200. */
export interface Answer {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Runs once the answer is queued: packets must come after it. */
  readonly then?: () => void;
}

/** What a connection asks of the server it belongs to. */
export interface SessionHost {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: ConnectionLimits;
  randomHex(bytes: number): string;
  /** Who may publish this camera. @throws RtspError `not-found`, also when it takes no push */
  publisherOf(camera: string): RtspUser;
  /** Who may read this camera. @throws RtspError `not-found` */
  readersOf(camera: string): readonly RtspUser[];
  /** The session of this camera that can be read now. @throws RtspError `not-found` */
  publicationOf(camera: string): Publication;
  /** Takes the path for this publisher. @throws RtspError `busy` */
  announce(camera: string, session: SessionDescription, publisher: Publisher): Publication;
  /** Its camera sends now: readers may come. */
  recording(publication: Publication): void;
  received(camera: string, bytes: number): void;
  sent(camera: string, bytes: number): void;
  readerDropped(camera: string, remote: string): void;
}

export interface ConnectionLimits {
  /** From connecting to the first packet. */
  readonly setupTimeoutMs: number;
  /** A publisher that sends nothing for this long is gone. */
  readonly publisherTimeoutMs: number;
  /** What may be queued for a reader; past it the reader is dropped. */
  readonly queueBytesMax: number;
  /** What may be held for a recorder that is yet to come. */
  readonly heldBytesMax: number;
}

/** What a connection, of type `C`, asks of the server beside what its session does. */
export interface ConnectionHost<C> extends SessionHost {
  /** Of all connections together. */
  readonly blocks: WriteBlocks;
  /** The connection has got as far as packets. */
  established(connection: C): void;
  /** A request was refused, or what came was no request. */
  refused(remote: string, error: RtspError): void;
  closed(connection: C): void;
}
