/**
 * The WebRTC sessions there are, by the name that their client was given: a secret, since whoever
 * knows it (and may ask at all) may end the session.
 *
 * At most `sessionsMax` at once, publishers and viewers together.
 */
import { randomBytes } from 'node:crypto';
import type { Gauge, Metrics } from '../../../storage/ports.ts';
import { isRestart } from '../../../ingest/webrtc/answer.ts';
import { WebRtcError } from '../../../ingest/webrtc/errors.ts';
import { parseFragment, parseOffer, type IceCredentials } from '../../../ingest/webrtc/offer.ts';
import type { ClientEnd } from '../../../ingest/webrtc/transport.ts';

export type SessionKind = 'whip' | 'whep';

/** A publisher or a viewer. */
export interface Connection {
  readonly answer: string;
  restartIce(): Promise<string>;
  close(reason: ClientEnd): void;
}

export interface SessionName {
  readonly kind: SessionKind;
  readonly camera: string;
  readonly id: string;
}

interface Session extends SessionName {
  readonly connection: Connection;
  /** Those that the client has now. */
  ice: IceCredentials;
  etag: string;
}

export interface Patched {
  readonly etag: string;
  /** For a client that restarts ICE; null: nothing changed. */
  readonly fragment: string | null;
}

export class Sessions {
  readonly #sessionsMax: number;
  readonly #gauge: Gauge;
  readonly #sessions = new Map<string, Session>();
  /** Those that are being opened, by kind, and those that are open. */
  readonly #counts: Record<SessionKind, number> = { whip: 0, whep: 0 };

  constructor(sessionsMax: number, metrics: Metrics) {
    this.#sessionsMax = sessionsMax;
    this.#gauge = metrics.gauge('headgate_webrtc_sessions', 'WebRTC sessions open now.');
  }

  count(kind: SessionKind): number {
    return this.#counts[kind];
  }

  /**
   * Opens a session.
   * @param open is given what to call when it is over
   * @throws WebRtcError
   */
  async open(
    kind: SessionKind,
    camera: string,
    offer: string,
    open: (closed: () => void) => Promise<Connection>,
  ): Promise<SessionName & { readonly answer: string; readonly etag: string }> {
    const { ice } = parseOffer(offer);
    if (this.#counts.whip + this.#counts.whep >= this.#sessionsMax) {
      throw new WebRtcError('full', `There are ${this.#sessionsMax} WebRTC sessions already.`);
    }
    const id = randomBytes(16).toString('hex');
    const opening = { isOver: false };
    const over = (): void => {
      if (opening.isOver) return;
      opening.isOver = true;
      this.#sessions.delete(id);
      this.#counted(kind, -1);
    };
    this.#counted(kind, 1);
    try {
      const connection = await open(over);
      const etag = newTag();
      if (!opening.isOver)
        this.#sessions.set(id, { ...{ kind, camera, id, connection, ice, etag } });
      return { kind, camera, id, etag, answer: connection.answer };
    } catch (error) {
      over();
      throw error;
    }
  }

  /**
   * Takes a fragment of a client: candidates, which an ICE-lite server has no need of, or the
   * restart of ICE.
   * @param ifMatch what the client takes for the session's tag; `*`: whatever it is
   * @returns null: the tag is another one
   * @throws WebRtcError `not-found`, `malformed`
   */
  async patch(name: SessionName, fragment: string, ifMatch: string): Promise<Patched | null> {
    const session = this.#find(name);
    const sent = parseFragment(fragment);
    if (ifMatch !== '*' && ifMatch !== session.etag) return null;
    if (sent === null || !isRestart(session.ice, sent)) {
      return { etag: session.etag, fragment: null };
    }
    const answer = await session.connection.restartIce();
    session.ice = sent;
    session.etag = newTag();
    return { etag: session.etag, fragment: answer };
  }

  /** @throws WebRtcError `not-found` */
  end(name: SessionName): void {
    this.#find(name).connection.close('left');
  }

  /** Ends them all. */
  close(): void {
    for (const { connection } of [...this.#sessions.values()]) connection.close('closed');
  }

  #find({ kind, camera, id }: SessionName): Session {
    const session = this.#sessions.get(id);
    if (session?.kind === kind && session.camera === camera) return session;
    throw new WebRtcError('not-found', 'There is no such session, or it is over.');
  }

  #counted(kind: SessionKind, change: 1 | -1): void {
    this.#counts[kind] += change;
    this.#gauge.set(this.#counts[kind], { kind });
  }
}

function newTag(): string {
  return `"${randomBytes(8).toString('hex')}"`;
}
