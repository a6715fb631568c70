/**
 * The names of the objects that deliveries put. They follow Firehose's pattern, and are a function
 * of what the object contains and nothing else: sent again after a crash it gets the same key, so
 * it replaces itself instead of lying there twice.
 */
import type { RecordOrigin } from './shape/shaped-record.ts';
import { uuidV5 } from './uuid.ts';

/** The namespace of every UUID in a key. Changing it would give every object another name. */
export const keyNamespace = '5f0c1a0e-7d0b-4b57-9a4e-3c2f6f1d8e90';

/** What the UUID in an object's name stands for: fixed while a delivery keeps its name. */
export interface KeyScope {
  /** Of this box, for buckets that many share. */
  readonly gatewayId: string;
  readonly delivery: string;
  /** Put before everything else, as it is; end it with `/` to get a folder. */
  readonly prefix: string;
  /** Of the delivery's configuration, from 1, and one more for each time it was rewound. */
  readonly version: number;
}

/** What a record is called where it is sent, the same however often it is. */
export function recordIdOf(
  { gatewayId, delivery }: Pick<KeyScope, 'gatewayId' | 'delivery'>,
  origin: RecordOrigin,
): string {
  const place = [origin.stream, origin.streamCreatedMs, origin.shardId, origin.sequence];
  const name = ['record', gatewayId, delivery, ...place, origin.subSequence];
  return uuidV5(keyNamespace, JSON.stringify(name));
}

/**
 * `<prefix><camera>/yyyy/MM/dd/HH/<camera>-yyyy-MM-dd-HH-mm-ss-<uuid>.mp4` and, beside it, the
 * same with `.json`; the time is the start of the footage, UTC.
 */
export function mediaObjectKeys(
  scope: KeyScope,
  content: { readonly camera: string; readonly mediaFileId: number; readonly startUs: number },
): { readonly media: string; readonly index: string } {
  const uuid = uuidV5(
    keyNamespace,
    JSON.stringify([
      'media',
      scope.gatewayId,
      scope.delivery,
      content.camera,
      content.mediaFileId,
      content.startUs,
    ]),
  );
  const time = timeParts(Math.floor(content.startUs / 1000));
  const base = `${scope.prefix}${content.camera}/${time.folder}/${content.camera}-${time.stamp}-${uuid}`;
  return { media: `${base}.mp4`, index: `${base}.json` };
}

/** The same for one fragment, with milliseconds behind the seconds: `…-HH-mm-ss-SSS-<uuid>.mp4`. */
export function fragmentObjectKeys(
  scope: KeyScope,
  content: { readonly camera: string; readonly number: number; readonly startUs: number },
): { readonly media: string; readonly index: string } {
  const { camera, number, startUs } = content;
  const uuid = uuidV5(
    keyNamespace,
    JSON.stringify(['fragment', scope.gatewayId, scope.delivery, camera, number, startUs]),
  );
  const startMs = Math.floor(startUs / 1000);
  const time = timeParts(startMs);
  const stamp = `${time.stamp}-${String(startMs % 1000).padStart(3, '0')}`;
  const base = `${scope.prefix}${camera}/${time.folder}/${camera}-${stamp}-${uuid}`;
  return { media: `${base}.mp4`, index: `${base}.json` };
}

function timeParts(timeMs: number): { folder: string; stamp: string } {
  const iso = new Date(timeMs).toISOString();
  return {
    folder: iso.slice(0, 13).replaceAll('-', '/').replace('T', '/'),
    stamp: iso.slice(0, 19).replace(/[T:]/g, '-'),
  };
}
