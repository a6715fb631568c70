/**
 * Sends a camera's closed media files to an object sink, each with a small index beside it; or, what
 * `fragment-objects.ts` does, its single fragments.
 *
 * The index goes up after the media it describes: whoever finds an index finds the footage. Both
 * have keys that follow from the media file alone, and the plan is saved first, so whatever was
 * interrupted is repeated in place.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { StorageError } from '../../storage/errors.ts';
import type { MediaFile, Plan } from '../../storage/model.ts';
import { untilDone, type Worker } from './attempts.ts';
import { sendFragments, type FragmentObjectsOptions } from './fragment-objects.ts';
import { mediaObjectKeys } from './keys.ts';
import { mediaIndex } from './media-index.ts';
import type { ObjectUpload } from './sink.ts';
import { pause } from './timing.ts';
import { reportLoss, uploadOf } from './uploads.ts';

const emptyPauseMs = 1_000;

const planDetail = z.object({
  kind: z.literal('media'),
  mediaKey: z.string(),
  indexKey: z.string(),
});

type PlanDetail = z.infer<typeof planDetail>;

export interface MediaObjectsOptions extends FragmentObjectsOptions {
  /** What becomes an object. A plan of a file that was made before is carried out first. */
  readonly as: 'files' | 'fragments';
}

/**
 * Runs until it is stopped, the end of its lane is reached, or its turn is over.
 * @throws the signal's reason, once it aborts; StorageError
 */
export async function sendMediaFiles(worker: Worker, options: MediaObjectsOptions): Promise<void> {
  for (;;) {
    worker.signal.throwIfAborted();
    const saved = await worker.lease.plan();
    if (saved === null && options.as === 'fragments') return sendFragments(worker, options);
    const plan = saved ?? (await nextPlan(worker, options));
    if (plan === 'end') return;
    if (plan === null) {
      const from = worker.lease.checkpoint;
      await worker.video.waitForMediaFile(options.cameraId, from, worker.signal);
      // The file that was waited for may be deleted again: asking on at once would never end.
      if ((await worker.video.closedMediaFiles(options.cameraId, from, 1)).length === 0) {
        await pause(worker.clock, emptyPauseMs, worker.signal);
      }
      continue;
    }
    const arrived = await carryOut(worker, options, plan);
    await worker.lease.completePlan();
    if (arrived && !(await worker.lane.goOn())) return;
  }
}

/** null: nothing is there yet; `end`: what comes is another lane's. */
async function nextPlan(
  worker: Worker,
  options: MediaObjectsOptions,
): Promise<Plan | 'end' | null> {
  await worker.gate.pass(worker.signal);
  const from = worker.lease.checkpoint;
  const [file] = await worker.video.closedMediaFiles(options.cameraId, from, 1);
  const { end } = worker.lane;
  if (end !== null && (file === undefined || file.id >= end)) return 'end';
  if (file === undefined) return null;
  const keys = mediaObjectKeys(options.scope, {
    camera: file.camera,
    mediaFileId: file.id,
    startUs: file.startUs,
  });
  const detail: PlanDetail = { kind: 'media', mediaKey: keys.media, indexKey: keys.index };
  // A plan covers one file: the ids before it are other cameras', or of files deleted since.
  const plan: Plan = { from: file.id, to: file.id + 1, detail, createdMs: worker.clock.nowMs() };
  await worker.lease.savePlan(plan);
  return plan;
}

/** Returns whether it arrived: it does not when it was deleted before. */
async function carryOut(
  worker: Worker,
  options: MediaObjectsOptions,
  plan: Plan,
): Promise<boolean> {
  const detail = planDetail.parse(plan.detail);
  try {
    const { uploads, oldestMs } = await readUploads(worker, options, plan.from, detail);
    for (const upload of uploads) {
      const { sizeBytes } = upload;
      await untilDone(worker, { sizeBytes, oldestMs }, (signal, pace) =>
        options.sink.put(pace(upload), signal),
      );
    }
    const bytes = uploads.reduce((sum, upload) => sum + upload.sizeBytes, 0);
    worker.progress.sent({ records: 1, bytes, objects: uploads.length });
    return true;
  } catch (error) {
    // Footage may reach its limit and be deleted at any moment, also between two attempts.
    reportLoss(worker, error);
    return false;
  }
}

/**
 * The media and its index, in the order they go up.
 * @throws StorageError `not-found`, `corrupt`
 */
async function readUploads(
  worker: Worker,
  options: MediaObjectsOptions,
  mediaFileId: number,
  detail: PlanDetail,
): Promise<{ readonly uploads: readonly ObjectUpload[]; readonly oldestMs: number }> {
  const [file] = await worker.video.closedMediaFiles(options.cameraId, mediaFileId, 1);
  if (file?.id !== mediaFileId) throw new StorageError('not-found', 'the media file is gone');
  const media = await mediaUpload(worker, file, detail.mediaKey);
  const content = mediaIndex({
    file,
    init: await worker.video.init(file.initId),
    fragments: await worker.video.mediaFileFragments(file.id),
    object: detail.mediaKey.slice(detail.mediaKey.lastIndexOf('/') + 1),
    sizeBytes: media.sizeBytes,
    sha256: media.sha256,
  });
  const index = uploadOf(detail.indexKey, 'application/json', content);
  return { uploads: [media, index], oldestMs: Math.floor(file.endUs / 1000) };
}

/** Reads the file once beforehand: its length and digest are part of the request that sends it. */
async function mediaUpload(worker: Worker, file: MediaFile, key: string): Promise<ObjectUpload> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const piece of worker.video.readMediaFile(file.id)) {
    worker.signal.throwIfAborted();
    hash.update(piece);
    sizeBytes += piece.length;
  }
  return {
    key,
    contentType: 'video/mp4',
    sizeBytes,
    sha256: hash.digest('hex'),
    read: () => worker.video.readMediaFile(file.id),
  };
}
