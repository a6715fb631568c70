/**
 * Fragments as the service sends them: each a Matroska document of its own, with its number and its
 * two times as tags before the cluster, and how far behind and how to go on after it.
 *
 * - A fragment is sent as it is stored: one group of pictures that lasts longer than 10 s is one
 *   fragment, with clusters of 30 s at most.
 * - Times in a cluster are the producer's, in milliseconds since 1970.
 * - What can't be read is told by tags, behind which the answer ends; the token that they hold leads
 *   past it.
 * - Who reads slowly holds one fragment in memory, and no more is read for them. What all hold
 *   together is bounded; beyond it the next fragment waits.
 */
import type { Fragment, VideoStore } from '../../../storage/model.ts';
import { StorageError } from '../../../storage/errors.ts';
import type { Clock, Counter, Logger, Metrics } from '../../../storage/ports.ts';
import { ByteBudget } from '../../http/byte-budget.ts';
import { HttpError } from '../../http/errors.ts';
import { KinesisVideoError } from './errors.ts';
import { fragmentNumber } from './fragment-numbers.ts';
import { headerOf, segmentOf, tagsOf } from './mkv/writer.ts';
import { MediaAnswer } from './operation.ts';
import { producerMs } from './selection.ts';

export interface MediaStreamsOptions {
  readonly video: VideoStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** As segments are sent, and as the service calls them. */
const contentType = 'video/webm';
const heldBytesMax = 256 * 2 ** 20;
/** A fragment as it is read, and once more as it is sent. */
const copies = 2;
const liveConnectionsMax = 20;
/** Without a fragment for this long a live answer ends; the token in the last one leads on. */
const silenceMsMax = 30_000;
const roomLookMs = 50;
const fragmentsAtOnce = 16;

/** Numbers of errors within the answer, as the service has them. */
const unreadable = { code: 'INTERNAL_ERROR', id: '5000' } as const;
const missing = { code: 'FRAGMENT_NOT_FOUND', id: '4000' } as const;

export class MediaStreams {
  readonly #options: MediaStreamsOptions;
  readonly #budget = new ByteBudget(heldBytesMax);
  readonly #open = new Set<AbortController>();
  readonly #live = new Map<string, number>();
  readonly #sent: Counter;

  constructor(options: MediaStreamsOptions) {
    this.#options = options;
    this.#sent = options.metrics.counter(
      'headgate_kinesis_video_fragments_sent_total',
      'Fragments sent by GetMedia and GetMediaForFragmentList.',
    );
  }

  /** The given fragments, in their order. */
  list(fragments: readonly Fragment[]): MediaAnswer {
    const abort = this.#begin();
    const end = (): void => {
      this.#open.delete(abort);
      abort.abort();
    };
    return new MediaAnswer(contentType, this.#listed(fragments, abort.signal), end);
  }

  /**
   * What was recorded after a fragment, in order of recording, and then what is.
   * @throws KinesisVideoError `ConnectionLimitExceededException`
   */
  live(camera: string, after: number): MediaAnswer {
    const count = this.#live.get(camera) ?? 0;
    if (count >= liveConnectionsMax) {
      const message = `${liveConnectionsMax} connections get the media of this stream already.`;
      throw new KinesisVideoError('ConnectionLimitExceededException', message);
    }
    this.#live.set(camera, count + 1);
    const abort = this.#begin();
    const end = (): void => {
      if (!this.#open.delete(abort)) return;
      abort.abort();
      this.#live.set(camera, (this.#live.get(camera) ?? 1) - 1);
    };
    return new MediaAnswer(contentType, this.#tail(camera, after, abort.signal), end);
  }

  /** Ends what would go on for ever. Closing twice is harmless. */
  close(): void {
    for (const abort of this.#open) abort.abort();
  }

  #begin(): AbortController {
    const abort = new AbortController();
    this.#open.add(abort);
    return abort;
  }

  async *#listed(
    fragments: readonly Fragment[],
    signal: AbortSignal,
  ): AsyncGenerator<Buffer, void> {
    for (const fragment of fragments) {
      if (!(yield* this.#document(fragment, signal, false))) return;
    }
  }

  async *#tail(camera: string, after: number, signal: AbortSignal): AsyncGenerator<Buffer, void> {
    const { video } = this.#options;
    const news = new News();
    const unwatch = video.watch(camera, ({ type }) => {
      if (type === 'fragment') news.tell();
    });
    try {
      for (let last = after; !signal.aborted;) {
        news.clear();
        const fragments = await video.fragmentsAfter(camera, last, fragmentsAtOnce);
        for (const fragment of fragments) {
          if (!(yield* this.#document(fragment, signal, true))) return;
          last = fragment.number;
        }
        if (fragments.length === 0 && !(await news.wait(this.#options.clock, signal))) return;
      }
    } catch (error) {
      // The camera was deleted.
      if (!(error instanceof StorageError && error.code === 'not-found')) throw error;
    } finally {
      unwatch();
    }
  }

  /** Answers whether more may follow. */
  async *#document(
    fragment: Fragment,
    signal: AbortSignal,
    tellsPlace: boolean,
  ): AsyncGenerator<Buffer, boolean> {
    const { video, logger } = this.#options;
    const release = await this.#room(copies * fragment.plainBytes, signal);
    if (release === null) return false;
    try {
      const init = await video.init(fragment.initId);
      let media: Buffer;
      try {
        const bytes = await video.readFragment(fragment);
        media = segmentOf(init, bytes, {
          tags: fragmentTags(fragment),
          clusterTimecodeMs: producerMs(fragment),
        });
      } catch (error) {
        const isGone = error instanceof StorageError && error.code === 'not-found';
        const { camera, number } = fragment;
        if (!isGone) logger.warn({ error, camera, fragment: number }, 'A fragment can not be sent');
        const { code, id } = isGone ? missing : unreadable;
        yield Buffer.concat([
          headerOf(init),
          tagsOf({
            AWS_KINESISVIDEO_ERROR_CODE: code,
            AWS_KINESISVIDEO_ERROR_ID: id,
            AWS_KINESISVIDEO_CONTINUATION_TOKEN: fragmentNumber(number),
          }),
        ]);
        return false;
      }
      this.#sent.add(1, { camera: fragment.camera });
      yield media;
      if (tellsPlace) yield tagsOf(this.#placeTags(fragment));
      return !signal.aborted;
    } finally {
      release();
    }
  }

  #placeTags({ number, serverMs, durationUs }: Fragment): Readonly<Record<string, string>> {
    const behindMs = this.#options.clock.nowMs() - serverMs - durationUs / 1000;
    return {
      AWS_KINESISVIDEO_MILLIS_BEHIND_NOW: String(Math.max(0, Math.round(behindMs))),
      AWS_KINESISVIDEO_CONTINUATION_TOKEN: fragmentNumber(number),
    };
  }

  /** Waits until so many bytes may be held; null: no more are wanted. */
  async #room(bytes: number, signal: AbortSignal): Promise<(() => void) | null> {
    while (!signal.aborted) {
      try {
        return this.#budget.take(bytes);
      } catch (error) {
        if (!(error instanceof HttpError && error.code === 'busy')) throw error;
      }
      await new Promise<void>((resolve) => {
        this.#options.clock.setTimer(roomLookMs, resolve);
      });
    }
    return null;
  }
}

/** Tags of a fragment: the service's, and what its producer or others noted. */
function fragmentTags(fragment: Fragment): Readonly<Record<string, string>> {
  return {
    ...fragment.tags,
    AWS_KINESISVIDEO_FRAGMENT_NUMBER: fragmentNumber(fragment.number),
    AWS_KINESISVIDEO_SERVER_TIMESTAMP: seconds(fragment.serverMs),
    AWS_KINESISVIDEO_PRODUCER_TIMESTAMP: seconds(producerMs(fragment)),
  };
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** Whether something has come since it was cleared. */
class News {
  #has = false;
  #wake: () => void = () => undefined;

  tell(): void {
    this.#has = true;
    this.#wake();
  }

  clear(): void {
    this.#has = false;
  }

  /** Answers whether something came in time. */
  async wait(clock: Clock, signal: AbortSignal): Promise<boolean> {
    if (!this.#has && !signal.aborted) {
      let cancel: () => void = () => undefined;
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
        cancel = clock.setTimer(silenceMsMax, resolve);
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      await woken.finally(cancel);
    }
    return this.#has && !signal.aborted;
  }
}
