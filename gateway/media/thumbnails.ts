/**
 * Small pictures for the timeline: one per half minute, made when it is first asked for, or ahead of
 * that where the configuration wants it. They are kept in memory: footage may be encrypted on disk,
 * and what is in them is footage.
 *
 * Limits: 64 MiB are kept, some 8,000 of them; those that were not asked for the longest go first.
 * What is made ahead waits for what a person asked for, and is left out where the processor time of
 * images is used up.
 */
import type { VideoStore } from '../../storage/model.ts';
import type { CancelTimer, Clock, Logger } from '../../storage/ports.ts';
import { isSubstreamName } from '../substreams.ts';
import type { Priority } from './cpu-queue.ts';
import { ImageError, type Image, type Images } from './images.ts';

export interface ThumbnailsOptions {
  readonly video: VideoStore;
  readonly images: Pick<Images, 'imageOf'>;
  /** Makes those of what is recorded now without being asked. */
  readonly ahead: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
}

const slotMs = 30_000;
const keptBytesMax = 64 * 1024 * 1024;
const widthPx = 240;
const quality = 70;

export class Thumbnails {
  readonly #options: ThumbnailsOptions;
  /** By the fragment that it is of; the one that was asked for last at the end. */
  readonly #kept = new Map<number, Image>();
  #keptBytes = 0;
  readonly #closing = new AbortController();
  #cancelTimer: CancelTimer = () => undefined;

  constructor(options: ThumbnailsOptions) {
    this.#options = options;
    if (options.ahead) this.#schedule(slotMs);
  }

  /**
   * The first picture of the half minute that an instant is in.
   * @returns null: nothing was recorded in it
   * @throws as `Images.imageAt`
   */
  async at(
    camera: string,
    atUs: number,
    signal: AbortSignal,
    priority: Priority = 'asked',
  ): Promise<Image | null> {
    const slotUs = slotMs * 1_000;
    const fromUs = Math.floor(atUs / slotUs) * slotUs;
    const query = { camera, fromUs, toUs: fromUs + slotUs, limit: 1 };
    const [fragment] = await this.#options.video.fragments(query);
    if (fragment === undefined) return null;
    const known = this.#kept.get(fragment.number);
    const image =
      known ??
      (await this.#options.images.imageOf(fragment, fragment.startUs, {
        ...{ format: 'jpeg', width: widthPx, quality, priority, signal },
      }));
    this.#keep(image);
    return image;
  }

  /** Makes none ahead any more. Closing twice is harmless. */
  close(): void {
    this.#cancelTimer();
    this.#closing.abort(new ImageError('closed', 'The gateway is closing.'));
  }

  #keep(image: Image): void {
    const before = this.#kept.get(image.fragment);
    this.#kept.delete(image.fragment);
    this.#kept.set(image.fragment, image);
    this.#keptBytes += image.bytes.length - (before?.bytes.length ?? 0);
    for (const [oldest, { bytes }] of this.#kept) {
      if (this.#keptBytes <= keptBytesMax) return;
      this.#kept.delete(oldest);
      this.#keptBytes -= bytes.length;
    }
  }

  /** The next ones half a minute after these, however long these take: none is passed over. */
  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    this.#cancelTimer = clock.setTimer(delayMs, () => {
      const dueMs = clock.monotonicMs() + slotMs;
      void this.#makeAhead().then(() => {
        if (this.#closing.signal.aborted) return;
        this.#schedule(Math.max(0, dueMs - clock.monotonicMs()));
      });
    });
  }

  /** Of the newest footage of every camera; one that can't be made costs no other. */
  async #makeAhead(): Promise<void> {
    const { video, logger } = this.#options;
    try {
      for (const { name, lastEndUs } of await video.cameras()) {
        if (this.#closing.signal.aborted) return;
        if (lastEndUs !== null && !isSubstreamName(name)) await this.#makeNewest(name, lastEndUs);
      }
    } catch (error) {
      logger.warn({ error }, 'No thumbnails are made ahead now: the cameras could not be listed.');
    }
  }

  async #makeNewest(camera: string, lastEndUs: number): Promise<void> {
    try {
      await this.at(camera, lastEndUs - 1, this.#closing.signal, 'background');
    } catch (error) {
      this.#options.logger.debug({ error, camera }, 'A thumbnail could not be made.');
    }
  }
}
