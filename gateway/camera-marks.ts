/**
 * Marks that MQTT messages set on cameras: a message on a topic that a camera names becomes an event of
 * it (`storage/video/events.ts`), at the time it arrived.
 *
 * - While messages go on, no further apart than what belongs to an event after its end
 *   (`postRollSeconds`), they are one event that grows.
 * - A flood costs little: one write at a time for each mark of a camera, and one a second while an
 *   event grows.
 * - The messages themselves go their way; a mark that can't be written holds up nobody. The first in a
 *   row is logged.
 */
import { TopicTree } from '../ingest/mqtt/topics.ts';
import { StorageError } from '../storage/errors.ts';
import type { VideoStore } from '../storage/model.ts';
import type { Clock, Logger } from '../storage/ports.ts';
import type { Config } from './config/schema.ts';

const growEveryUs = 1_000_000;
/** What of a message is kept with its event. */
const messageBytesMax = 1024;

interface Mark {
  readonly camera: string;
  readonly kind: string;
  readonly hold: boolean;
  readonly postRollUs: number;
  event: { readonly id: number; readonly endUs: number } | null;
  /** The newest message that is not written yet. */
  waiting: { readonly atUs: number; readonly data: unknown } | null;
  isWriting: boolean;
  /** The newest could not be written, which has been logged. */
  isFailing: boolean;
}

export interface CameraMarksOptions {
  readonly video: Pick<VideoStore, 'addEvent' | 'changeEvent'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class CameraMarks {
  readonly #options: CameraMarksOptions;
  readonly #writing = new Set<Promise<void>>();
  #tree = new TopicTree<Mark>();

  constructor(options: CameraMarksOptions) {
    this.#options = options;
  }

  /** What was growing grows no more. */
  update(cameras: Config['cameras']): void {
    const tree = new TopicTree<Mark>();
    for (const [camera, { marks, postRollSeconds }] of Object.entries(cameras)) {
      for (const { topic, kind, hold } of marks) {
        const state = { event: null, waiting: null, isWriting: false, isFailing: false };
        tree.add(topic, { camera, kind, hold, postRollUs: postRollSeconds * 1e6, ...state });
      }
    }
    this.#tree = tree;
  }

  /** A message arrived. Never throws, and does not wait. */
  see(topic: string, payload: Buffer): void {
    for (const mark of this.#tree.match(topic)) {
      const atUs = this.#options.clock.nowMs() * 1000;
      if (mark.event !== null && Math.abs(atUs - mark.event.endUs) < growEveryUs) continue;
      mark.waiting = { atUs, data: { topic, message: shown(payload) } };
      if (mark.isWriting) continue;
      const writing = this.#write(mark).finally(() => this.#writing.delete(writing));
      this.#writing.add(writing);
    }
  }

  /** Resolves when all that was seen is written. */
  async settled(): Promise<void> {
    while (this.#writing.size > 0) await Promise.all(this.#writing);
  }

  async #write(mark: Mark): Promise<void> {
    mark.isWriting = true;
    while (mark.waiting !== null) {
      const { waiting } = mark;
      mark.waiting = null;
      try {
        await this.#writeOne(mark, waiting);
        mark.isFailing = false;
      } catch (error) {
        this.#failed(mark, error);
      }
    }
    mark.isWriting = false;
  }

  #failed(mark: Mark, error: unknown): void {
    const { logger } = this.#options;
    const fields = { error, camera: mark.camera, kind: mark.kind };
    if (mark.isFailing) logger.debug(fields, 'Another mark on a camera was not written.');
    else logger.warn(fields, 'A mark on a camera was not written.');
    mark.isFailing = true;
  }

  async #writeOne(mark: Mark, { atUs, data }: NonNullable<Mark['waiting']>): Promise<void> {
    const { camera, kind, hold, event } = mark;
    const { video } = this.#options;
    if (event !== null && atUs >= event.endUs && atUs <= event.endUs + mark.postRollUs) {
      try {
        mark.event = await video.changeEvent(event.id, { endUs: atUs });
        return;
      } catch (error) {
        // Somebody has deleted it.
        if (!(error instanceof StorageError && error.code === 'not-found')) throw error;
      }
    }
    mark.event = await video.addEvent({ camera, kind, startUs: atUs, endUs: atUs, data, hold });
  }
}

function shown(payload: Buffer): string {
  return payload.subarray(0, messageBytesMax).toString();
}
