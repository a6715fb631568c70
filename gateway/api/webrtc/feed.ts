/**
 * What a camera's viewers over WebRTC (WHEP) are fed from: a reader of its session in the relay,
 * there from the first viewer on until some seconds after the last. The camera is not connected to
 * a second time, and no picture is decoded: its packets go on as they are, made fit for browsers.
 * Sound that browsers do not take (AAC) is made into Opus.
 *
 * A feed ends with the camera's session; its viewers come again.
 */
import type { CancelTimer, Clock, Logger } from '../../../storage/ports.ts';
import type { AudioCodec, TakenMedia } from '../../../ingest/webrtc/codecs.ts';
import { WebRtcError } from '../../../ingest/webrtc/errors.ts';
import type { MediaWorker } from '../../../ingest/webrtc/worker.ts';
import type { Publication, Reader } from '../../../ingest/rtsp/publication.ts';
import type { Media } from '../../../ingest/rtsp/sdp.ts';
import { parameterSetsOf, profileOf } from './h264-repacketizer.ts';
import { Lane, laneKey } from './lane.ts';
import { aacOf, OpusTranscoder } from './opus-transcoder.ts';
import { whyUnplayable } from './playable.ts';

export interface FeedOptions {
  readonly publication: Publication;
  readonly worker: MediaWorker;
  readonly ffmpegPath: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly closed: () => void;
}

/** Kinds of browsers that watch one camera at once. */
const lanesMax = 8;
/** Whoever reloads the page finds the feed still there. */
const graceMs = 5_000;
const frameHeaderBytes = 4;

export class Feed implements Reader {
  readonly isRecorder = false;
  readonly #options: FeedOptions;
  readonly #videoTrack: number;
  readonly #audioTrack: number;
  readonly #parameterSets: readonly Buffer[];
  readonly #lanes = new Map<string, Promise<Lane>>();
  /** Those that are open, for what comes. */
  readonly #open = new Set<Lane>();
  #viewers = 0;
  #cancelGrace: CancelTimer = () => undefined;
  #transcoder: OpusTranscoder | null = null;
  #isOver = false;

  /** @throws WebRtcError `not-acceptable` when the camera sends what no browser takes */
  constructor(options: FeedOptions) {
    this.#options = options;
    const { session, tracksSetUp } = options.publication;
    const find = (fits: (media: Media) => boolean): number =>
      session.media.findIndex((media, track) => tracksSetUp.has(track) && fits(media));
    this.#videoTrack = find(({ kind }) => kind === 'video');
    this.#audioTrack = find((media) => audioCodecOf(media) !== null || aacOf(media) !== null);
    const reason = whyUnplayable(options.publication);
    if (reason !== null) throw new WebRtcError('not-acceptable', reason);
    this.#parameterSets = parameterSetsOf(session.media[this.#videoTrack]?.lines ?? []);
    options.publication.play(this);
    this.#waitForViewers();
  }

  /** `profile-level-id` of the video; null: the camera does not tell. */
  get profile(): string | null {
    return profileOf(this.#parameterSets);
  }

  get audioCodec(): AudioCodec | null {
    const media = this.#options.publication.session.media[this.#audioTrack];
    if (media === undefined) return null;
    return audioCodecOf(media) ?? (aacOf(media) === null ? null : 'opus');
  }

  /**
   * Where a viewer that takes this is fed from; it says `left` when it is gone, also when this
   * failed.
   * @throws WebRtcError `full`, `unavailable`
   */
  async join(taken: TakenMedia): Promise<Lane> {
    this.#viewers += 1;
    this.#cancelGrace();
    return this.#lane(taken);
  }

  left(): void {
    this.#viewers -= 1;
    if (this.#viewers === 0 && !this.#isOver) this.#waitForViewers();
  }

  send(track: number, isRtcp: boolean, frame: Buffer): void {
    if (isRtcp) return;
    const packet = Buffer.from(frame.subarray(frameHeaderBytes));
    if (track === this.#videoTrack) {
      for (const lane of this.#open) lane.sendVideo(packet);
    } else if (track === this.#audioTrack) {
      if (this.#transcoder === null) this.#sendAudio(packet);
      else this.#transcoder.push(packet);
    }
    const { publication, logger } = this.#options;
    if (!publication.hasReorderedPictures) return;
    logger.warn(
      { camera: publication.camera },
      'the camera sends B-frames, which browsers do not show: its viewers over WebRTC are sent away',
    );
    this.close();
  }

  cork(): void {
    // mediasoup takes one packet at a time.
  }

  uncork(): void {
    // As above.
  }

  publicationEnded(): void {
    this.close();
  }

  /** Ends every viewer's session. Twice is harmless. */
  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#cancelGrace();
    this.#options.publication.leave(this, false);
    for (const lane of [...this.#open]) lane.close();
    this.#transcoder?.close();
    this.#options.closed();
  }

  #waitForViewers(): void {
    this.#cancelGrace = this.#options.clock.setTimer(graceMs, () => {
      this.close();
    });
  }

  #lane(taken: TakenMedia): Promise<Lane> {
    const key = laneKey(taken);
    const known = this.#lanes.get(key);
    if (known !== undefined) return known;
    if (this.#lanes.size >= lanesMax) {
      throw new WebRtcError('full', 'Too many different kinds of browsers watch this camera.');
    }
    const opening = this.#openLane(key, taken);
    this.#lanes.set(key, opening);
    opening.catch(() => this.#lanes.delete(key));
    return opening;
  }

  async #openLane(key: string, taken: TakenMedia): Promise<Lane> {
    const { publication, worker, clock } = this.#options;
    const lane = await Lane.open({
      ...{ worker, taken, clock, parameterSets: this.#parameterSets },
      group: () => publication.group(),
      keyframeWanted: () => publication.publisher.requestKeyframe?.(),
      closed: () => {
        this.#lanes.delete(key);
        for (const one of this.#open) if (one.router.closed) this.#open.delete(one);
      },
    });
    if (this.#isOver) {
      lane.close();
      throw new WebRtcError('unavailable', 'The camera has just stopped sending.');
    }
    this.#open.add(lane);
    if (taken.audio !== null) this.#startTranscoder();
    return lane;
  }

  #sendAudio(packet: Buffer): void {
    for (const lane of this.#open) lane.sendAudio(packet);
  }

  /** Where the camera's sound has to be made fit for browsers, and somebody listens. */
  #startTranscoder(): void {
    const { publication, ffmpegPath, clock, logger } = this.#options;
    const media = publication.session.media[this.#audioTrack];
    const aac = media === undefined ? null : aacOf(media);
    if (aac === null || this.#transcoder !== null) return;
    this.#transcoder = new OpusTranscoder({
      ...{ aac, ffmpegPath, clock },
      logger: logger.child({ camera: publication.camera }),
      deliver: (packet) => {
        this.#sendAudio(packet);
      },
    });
  }
}

/** What of a camera's audio a browser takes as it is. */
function audioCodecOf({ codec, kind, lines }: Media): AudioCodec | null {
  if (kind !== 'audio') return null;
  if (codec === 'PCMU') return 'pcmu';
  if (codec === 'PCMA') return 'pcma';
  const isStereo = lines.some((line) => /^a=rtpmap:\d+ opus\/48000\/2$/i.test(line));
  return codec === 'OPUS' && isStereo ? 'opus' : null;
}
