/**
 * Sends the fragments of a camera to an object sink, in order and each as soon as it is recorded: it
 * plays on its own, behind its init, and has its index beside it, which goes up after it. Where that
 * is wanted, a record in a stream tells of it then.
 *
 * Keys follow from the fragments alone, and the checkpoint is the media file's: after a restart those
 * of the file that was under way go up again in place, at most about a minute, and are told of again.
 * One fragment is held in memory at a time.
 */
import type { Fragment } from '../../storage/model.ts';
import { untilDone, type Worker } from './attempts.ts';
import { footageOf } from './footage.ts';
import { fragmentObjectKeys, type KeyScope } from './keys.ts';
import { fragmentIndex } from './media-index.ts';
import type { ObjectSink, ObjectUpload } from './sink.ts';
import { reportLoss, uploadOf } from './uploads.ts';

export interface FragmentObjectsOptions {
  readonly sink: ObjectSink;
  readonly scope: KeyScope;
  readonly cameraId: number;
  readonly camera: string;
  /** The stream that is told of each fragment, once it has arrived; null: none. */
  readonly events: string | null;
}

/**
 * Runs until it is stopped, the end of its lane is reached, or its turn is over. What was deleted
 * before it was sent, or can't be read, is counted and passed.
 * @throws the signal's reason, once it aborts; StorageError, also when the stream of events takes
 *   nothing
 */
export async function sendFragments(
  worker: Worker,
  options: FragmentObjectsOptions,
): Promise<void> {
  let arrived = false;
  const camera = { id: options.cameraId, name: options.camera };
  for await (const step of footageOf(worker, camera)) {
    if (step.kind === 'fragment') {
      if (await sendFragment(worker, options, step.fragment)) arrived = true;
      continue;
    }
    await worker.lease.advance(step.position);
    if (arrived && !(await worker.lane.goOn())) return;
    arrived = false;
  }
}

/** Returns whether it arrived. */
async function sendFragment(
  worker: Worker,
  { sink, scope, events }: FragmentObjectsOptions,
  fragment: Fragment,
): Promise<boolean> {
  const uploads = await readUploads(worker, scope, fragment);
  if (uploads === null) return false;
  const oldestMs = Math.floor((fragment.startUs + fragment.durationUs) / 1000);
  for (const upload of uploads) {
    const { sizeBytes } = upload;
    await untilDone(worker, { sizeBytes, oldestMs }, (signal, pace) =>
      sink.put(pace(upload), signal),
    );
  }
  if (events !== null) {
    const data = announcement(scope.delivery, fragment, uploads);
    await worker.log.append(events, [{ partitionKey: fragment.camera, data }]);
  }
  const bytes = uploads.reduce((sum, upload) => sum + upload.sizeBytes, 0);
  worker.progress.sent({ records: 1, bytes, objects: uploads.length });
  return true;
}

type Uploads = readonly [media: ObjectUpload, index: ObjectUpload];

/** The record that tells of a fragment. */
function announcement(delivery: string, fragment: Fragment, [media, index]: Uploads): Buffer {
  const { camera, number, startUs, durationUs, runId, damaged, tags } = fragment;
  return Buffer.from(
    JSON.stringify({
      type: 'fragment-delivered',
      ...{ camera, fragment: number, startUs, durationUs, run: runId },
      ...{ delivery, key: media.key, indexKey: index.key },
      ...{ bytes: media.sizeBytes, sha256: media.sha256, damaged },
      ...(tags !== null && { tags }),
    }),
  );
}

/** The fragment and its index, in the order they go up; null: it is lost, and counted. */
async function readUploads(
  worker: Worker,
  scope: KeyScope,
  fragment: Fragment,
): Promise<Uploads | null> {
  const keys = fragmentObjectKeys(scope, fragment);
  try {
    const init = await worker.video.init(fragment.initId);
    const bytes = await worker.video.readFragment(fragment);
    const media = uploadOf(keys.media, 'video/mp4', Buffer.concat([init.bytes, bytes]));
    const { sizeBytes, sha256 } = media;
    const object = keys.media.slice(keys.media.lastIndexOf('/') + 1);
    const index = fragmentIndex({ fragment, init, object, sizeBytes, sha256 });
    return [media, uploadOf(keys.index, 'application/json', index)];
  } catch (error) {
    reportLoss(worker, error);
    return null;
  }
}
