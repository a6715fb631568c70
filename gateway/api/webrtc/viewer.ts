/** A viewer over WebRTC (WHEP): one client's transport, fed from its camera's feed. */
import type { Consumer } from 'mediasoup/types';
import type { Clock } from '../../../storage/ports.ts';
import { takeToPlay, type TakenMedia } from '../../../ingest/webrtc/codecs.ts';
import { asWebRtcError, WebRtcError } from '../../../ingest/webrtc/errors.ts';
import { parseOffer, type Offer } from '../../../ingest/webrtc/offer.ts';
import { ClientTransport, type ClientEnd } from '../../../ingest/webrtc/transport.ts';
import type { Feed } from './feed.ts';
import type { Lane } from './lane.ts';

export interface ViewerOptions {
  readonly offer: string;
  /** Of the camera, made now if it has to be. @throws WebRtcError */
  readonly feed: () => Feed;
  readonly addresses: readonly string[];
  readonly clock: Clock;
  /** Called once when it is over. */
  readonly closed: () => void;
}

export class WebRtcViewer {
  readonly #options: ViewerOptions;
  readonly #feed: Feed;
  #lane: Lane | null = null;
  #client: ClientTransport | null = null;
  #answer = '';
  #isConnected = false;
  #isOver = false;

  private constructor(options: ViewerOptions, feed: Feed) {
    this.#options = options;
    this.#feed = feed;
  }

  /** @throws WebRtcError */
  static async open(options: ViewerOptions): Promise<WebRtcViewer> {
    const offer = parseOffer(options.offer);
    const feed = options.feed();
    const viewer = new WebRtcViewer(options, feed);
    const taken = takeToPlay(offer, feed.profile, feed.audioCodec);
    try {
      await viewer.#connect(await feed.join(taken), taken, offer);
    } catch (error) {
      viewer.close('closed');
      throw asWebRtcError(error);
    }
    return viewer;
  }

  /** The session description to answer with. */
  get answer(): string {
    return this.#answer;
  }

  restartIce(): Promise<string> {
    if (this.#client === null) throw new Error('not connected');
    return this.#client.restartIce();
  }

  /** Twice is harmless. */
  close(reason: ClientEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#client?.close(reason);
    if (this.#isConnected) this.#lane?.viewerLeft();
    this.#feed.left();
    this.#options.closed();
  }

  async #connect(lane: Lane, taken: TakenMedia, offer: Offer): Promise<void> {
    const { addresses, clock } = this.#options;
    const { router, server } = lane;
    this.#lane = lane;
    this.#client = await ClientTransport.open({
      ...{ router, server, offer, addresses, clock },
      closed: (reason) => {
        this.close(reason);
      },
    });
    const { video, audio } = lane.producers;
    const sent = {
      video: this.#stream(await this.#consume(video.id)),
      audio:
        audio === null || taken.audio === null ? null : this.#stream(await this.#consume(audio.id)),
    };
    this.#answer = await this.#client.answer(taken, sent);
    if (this.#isOver) throw new WebRtcError('unavailable', 'The camera has just stopped sending.');
    this.#client.whenConnected(() => {
      this.#isConnected = true;
      lane.viewerCame();
    });
  }

  async #consume(producerId: string): Promise<Consumer> {
    const { transport } = this.#client ?? {};
    if (transport === undefined) throw new Error('not connected');
    return transport.consume({
      producerId,
      // Browsers number extensions as they like; nothing here needs one.
      rtpCapabilities: { codecs: this.#lane?.capabilities() ?? [], headerExtensions: [] },
    });
  }

  #stream({ rtpParameters }: Consumer): { readonly ssrc: number; readonly cname: string } {
    const ssrc = rtpParameters.encodings?.[0]?.ssrc;
    if (ssrc === undefined) throw new Error('a stream without a number');
    return { ssrc, cname: this.#lane?.cname ?? 'headgate' };
  }
}
