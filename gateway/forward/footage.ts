/**
 * The footage of a camera as a lane's stretch of it: fragment by fragment in the order of recording,
 * each as soon as it is recorded.
 *
 * A camera that keeps only what events touch, or nothing, has its files decided after they are
 * closed; its fragments come then.
 */
import type { Fragment, VideoStore } from '../../storage/model.ts';
import type { Worker } from './attempts.ts';
import { pause } from './timing.ts';

const emptyPauseMs = 1_000;

export type FootageStep =
  | { readonly kind: 'fragment'; readonly fragment: Fragment }
  /** All fragments of the media file have come: `position` is behind it. */
  | { readonly kind: 'file'; readonly position: number };

interface Camera {
  readonly id: number;
  readonly name: string;
}

/**
 * From the checkpoint of the worker's lease on; ends where the lane does. A file that was deleted
 * before its fragments came is counted as lost.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function* footageOf(
  worker: Worker,
  camera: Camera,
): AsyncGenerator<FootageStep, void> {
  const { video, lane, signal } = worker;
  const news = new News(video, camera.name);
  try {
    for (let from = worker.lease.checkpoint; ;) {
      signal.throwIfAborted();
      const mediaFileId = await nextFile(worker, camera, from);
      if (lane.end !== null && (mediaFileId ?? lane.end) >= lane.end) return;
      if (mediaFileId === null) {
        await somethingNew(worker, camera, from, news);
        continue;
      }
      yield* fragmentsOf(worker, camera, mediaFileId, news);
      from = mediaFileId + 1;
      yield { kind: 'file', position: from };
    }
  } finally {
    news.close();
  }
}

/** The first file from a position on; null: there is none yet. */
async function nextFile(worker: Worker, camera: Camera, from: number): Promise<number | null> {
  // Asked first: whatever was recorded before it is closed, and found by the second question.
  const open = (await keepsAll(worker, camera))
    ? await worker.video.openMediaFile(camera.id)
    : null;
  const [closed] = await worker.video.closedMediaFiles(camera.id, from, 1);
  return closed?.id ?? (open !== null && open >= from ? open : null);
}

async function keepsAll({ video }: Worker, { name }: Camera): Promise<boolean> {
  const { record = 'continuous' } = await video.camera(name);
  return record === 'continuous';
}

async function* fragmentsOf(
  { video, signal, progress, name }: Worker,
  camera: Camera,
  mediaFileId: number,
  news: News,
): AsyncGenerator<FootageStep, void> {
  for (let last = -1; ;) {
    // Asked first: what has come when the file was closed is all that will.
    const isOpen = (await video.openMediaFile(camera.id)) === mediaFileId;
    const fragments = await video.mediaFileFragments(mediaFileId);
    if (fragments.length === 0) {
      progress.lost(name, 1, 'deleted');
      return;
    }
    for (const fragment of fragments) {
      signal.throwIfAborted();
      if (fragment.number <= last) continue;
      last = fragment.number;
      yield { kind: 'fragment', fragment };
    }
    if (!isOpen) return;
    await news.next(signal);
    signal.throwIfAborted();
  }
}

async function somethingNew(
  worker: Worker,
  camera: Camera,
  from: number,
  news: News,
): Promise<void> {
  const { video, clock, signal } = worker;
  if (await keepsAll(worker, camera)) return news.next(signal);
  await video.waitForMediaFile(camera.id, from, signal);
  // The file that was waited for may not be kept: asking on at once would never end.
  if ((await video.closedMediaFiles(camera.id, from, 1)).length === 0) {
    await pause(clock, emptyPauseMs, signal);
  }
}

/** Tells that a camera has recorded something, also when that was before it was asked. */
class News {
  readonly close: () => void;
  #isThere = false;
  #wake: () => void = () => undefined;

  constructor(video: VideoStore, camera: string) {
    this.close = video.watch(camera, ({ type }) => {
      if (type !== 'fragment' && type !== 'run-ended') return;
      this.#isThere = true;
      this.#wake();
    });
  }

  /** Resolves when something is there that was not told yet, or the signal aborts. */
  async next(signal: AbortSignal): Promise<void> {
    if (!this.#isThere && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.#wake = () => {
          signal.removeEventListener('abort', this.#wake);
          resolve();
        };
        signal.addEventListener('abort', this.#wake, { once: true });
      });
    }
    this.#isThere = false;
  }
}
