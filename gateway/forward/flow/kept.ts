/**
 * What is kept of the flow of a delivery or an event source over restarts, with what it reads: whether
 * it is paused, and how often it was rewound. It is gone with the stream or camera, and when its reader
 * is forgotten.
 */
import { z } from 'zod';
import type { Log, VideoStore } from '../../../storage/model.ts';
import type { DeliveryOptions } from '../options.ts';

const shape = z.object({
  /** Since when it is paused; null: it is not. */
  pausedMs: z.number().nullable(),
  rewinds: z.int().min(0),
});

export type KeptFlow = z.infer<typeof shape>;

/** Who reads, and what. */
export interface Reader {
  readonly application: string;
  readonly from: DeliveryOptions['from'];
}

interface Stores {
  readonly log: Log;
  readonly video: VideoStore;
}

const fresh: KeptFlow = { pausedMs: null, rewinds: 0 };

/** @throws StorageError `not-found` when the source is not there */
export async function keptFlow(
  { log, video }: Stores,
  { application, from }: Reader,
): Promise<KeptFlow> {
  const { attributes } =
    'stream' in from ? log.stream(from.stream) : await video.camera(from.camera);
  const kept = shape.safeParse(attributes[keyOf(application)]);
  return kept.success ? kept.data : fresh;
}

/** @throws StorageError `not-found` when the source is not there */
export async function keepFlow(
  { log, video }: Stores,
  { application, from }: Reader,
  flow: KeptFlow,
): Promise<void> {
  if ('stream' in from) await log.setAttribute(from.stream, keyOf(application), flow);
  else await video.setCameraAttribute(from.camera, keyOf(application), flow);
}

/** Forgets it wherever an application read. */
export async function forgetFlow({ log, video }: Stores, application: string): Promise<void> {
  const key = keyOf(application);
  for (const { name, attributes } of log.streams()) {
    if (Object.hasOwn(attributes, key)) await log.setAttribute(name, key, undefined);
  }
  for (const { name, attributes } of await video.cameras()) {
    if (Object.hasOwn(attributes, key)) await video.setCameraAttribute(name, key, undefined);
  }
}

function keyOf(application: string): string {
  return `${application}/flow`;
}
