/**
 * What is kept of a delivery's flow over restarts, with its source: whether it is paused, and how
 * often it was rewound. It is gone with the stream or camera, and when the delivery is forgotten.
 */
import { z } from 'zod';
import type { Log, VideoStore } from '../../../storage/model.ts';
import { applicationOf } from '../applications.ts';
import type { DeliveryOptions } from '../options.ts';

const shape = z.object({
  /** Since when it is paused; null: it is not. */
  pausedMs: z.number().nullable(),
  rewinds: z.int().min(0),
});

export type KeptFlow = z.infer<typeof shape>;

interface Stores {
  readonly log: Log;
  readonly video: VideoStore;
}

const fresh: KeptFlow = { pausedMs: null, rewinds: 0 };

/** @throws StorageError `not-found` when the source is not there */
export async function keptFlow(
  { log, video }: Stores,
  { name, from }: Pick<DeliveryOptions, 'name' | 'from'>,
): Promise<KeptFlow> {
  const { attributes } =
    'stream' in from ? log.stream(from.stream) : await video.camera(from.camera);
  const kept = shape.safeParse(attributes[keyOf(name)]);
  return kept.success ? kept.data : fresh;
}

/** @throws StorageError `not-found` when the source is not there */
export async function keepFlow(
  { log, video }: Stores,
  { name, from }: Pick<DeliveryOptions, 'name' | 'from'>,
  flow: KeptFlow,
): Promise<void> {
  if ('stream' in from) await log.setAttribute(from.stream, keyOf(name), flow);
  else await video.setCameraAttribute(from.camera, keyOf(name), flow);
}

/** Forgets it wherever the delivery read. */
export async function forgetFlow({ log, video }: Stores, delivery: string): Promise<void> {
  const key = keyOf(delivery);
  for (const { name, attributes } of log.streams()) {
    if (Object.hasOwn(attributes, key)) await log.setAttribute(name, key, undefined);
  }
  for (const { name, attributes } of await video.cameras()) {
    if (Object.hasOwn(attributes, key)) await video.setCameraAttribute(name, key, undefined);
  }
}

function keyOf(delivery: string): string {
  return `${applicationOf(delivery)}/flow`;
}
