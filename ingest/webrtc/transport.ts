/**
 * One client's transport: made, connected, watched, and closed when the client is gone. What goes
 * over it is the business of who opened it.
 */
import { randomInt } from 'node:crypto';
import type { IceCandidate, Router, WebRtcServer, WebRtcTransport } from 'mediasoup/types';
import type { Clock } from '../../storage/ports.ts';
import { candidatesFor, writeAnswer, writeFragment, type AnswerParts } from './answer.ts';
import type { TakenMedia } from './codecs.ts';
import type { Offer } from './offer.ts';

export interface TransportOptions {
  readonly router: Router;
  readonly server: WebRtcServer;
  readonly offer: Offer;
  /** By which this machine is reached, where it listens on every address. */
  readonly addresses: readonly string[];
  readonly clock: Clock;
  /** Called once, when it is over for whatever reason. */
  readonly closed: (reason: ClientEnd) => void;
}

export type ClientEnd =
  /** It said goodbye. */
  | 'left'
  /** Nothing came from it any more, or it never got through. */
  | 'lost'
  /** We ended it, or what it went through ended. */
  | 'closed';

/** A client that has not got through after this long is given up. */
export const connectTimeoutMs = 20_000;
/** One that proves no more that it is there (RFC 7675) is gone after this. */
const consentTimeoutSeconds = 15;

export class ClientTransport {
  readonly #transport: WebRtcTransport;
  readonly #offer: Offer;
  readonly #addresses: readonly string[];
  readonly #closed: (reason: ClientEnd) => void;
  readonly #cancelConnect: () => void;
  readonly #onConnected: (() => void)[] = [];
  #isConnected = false;
  #isOver = false;

  private constructor(transport: WebRtcTransport, options: TransportOptions) {
    this.#transport = transport;
    this.#offer = options.offer;
    this.#addresses = options.addresses;
    this.#closed = options.closed;
    this.#cancelConnect = options.clock.setTimer(connectTimeoutMs, () => {
      this.close('lost');
    });
    transport.on('icestatechange', (state) => {
      if (state === 'disconnected' || state === 'closed') this.close('lost');
    });
    transport.on('dtlsstatechange', (state) => {
      if (state === 'connected') this.#connected();
      if (state === 'failed') this.close('lost');
      if (state === 'closed') this.close('left');
    });
    transport.observer.on('close', () => {
      this.close('closed');
    });
  }

  static async open(options: TransportOptions): Promise<ClientTransport> {
    const transport = await options.router.createWebRtcTransport({
      webRtcServer: options.server,
      enableUdp: true,
      enableTcp: true,
      preferUdp: true,
      iceConsentTimeout: consentTimeoutSeconds,
      initialAvailableOutgoingBitrate: 10_000_000,
    });
    return new ClientTransport(transport, options);
  }

  /** For producers and consumers. */
  get transport(): WebRtcTransport {
    return this.#transport;
  }

  /** Calls back when the client has got through; at once where it has. */
  whenConnected(callback: () => void): void {
    if (this.#isConnected) callback();
    else this.#onConnected.push(callback);
  }

  /** Takes the client's certificate and says what it is answered. */
  async answer(taken: TakenMedia, sends: AnswerParts['sends']): Promise<string> {
    const { dtlsClient, fingerprints } = this.#offer;
    await this.#transport.connect({
      dtlsParameters: {
        role: dtlsClient === 'they' ? 'client' : 'server',
        fingerprints: [...fingerprints],
      },
    });
    return writeAnswer({
      ...{ offer: this.#offer, taken, sends, candidates: this.#candidates },
      sessionId: String(randomInt(1, 2 ** 47)),
      ice: this.#transport.iceParameters,
      dtls: this.#transport.dtlsParameters,
    });
  }

  /** New credentials, for a client whose network changed. */
  async restartIce(): Promise<string> {
    return writeFragment(await this.#transport.restartIce(), this.#candidates);
  }

  /** Twice is harmless, and the first reason stays. */
  close(reason: ClientEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelConnect();
    this.#transport.close();
    this.#closed(reason);
  }

  get #candidates(): readonly IceCandidate[] {
    return candidatesFor(this.#transport.iceCandidates, this.#addresses);
  }

  #connected(): void {
    if (this.#isConnected) return;
    this.#isConnected = true;
    this.#cancelConnect();
    for (const callback of this.#onConnected.splice(0)) callback();
  }
}
