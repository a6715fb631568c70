/**
 * Where the dead letters of an event source are. The place is kept with the stream that it reads, so
 * that what waits there is told also of one that is no longer configured.
 */
import { isDeepStrictEqual } from 'node:util';
import { join } from 'node:path';
import { z } from 'zod';
import type { Log } from '../../storage/model.ts';
import type { Clock } from '../../storage/ports.ts';
import { applicationOf, letterPlaceOf, replayApplicationOf } from './applications.ts';
import { StreamBatches, type FailedBatches } from './failed-batches.ts';
import { FolderBatches } from './failed-files.ts';
import type { EventSourceOptions } from './options.ts';

const place = z.union([z.object({ stream: z.string() }), z.object({ folder: z.string() })]);

export type LetterPlace = z.infer<typeof place>;

/** What waits there. */
export function failedBatchesAt(
  where: LetterPlace,
  name: string,
  { log, clock }: { readonly log: Log; readonly clock: Clock },
): FailedBatches {
  if ('folder' in where) return new FolderBatches(join(where.folder, name), clock);
  const { stream } = where;
  return new StreamBatches({ stream, application: replayApplicationOf(name), log, clock });
}

/** For people. */
export function describePlace(where: LetterPlace): string {
  return 'stream' in where ? `stream ${where.stream}` : where.folder;
}

/** Keeps where one has its dead letters, with the stream that it reads. @throws StorageError */
export async function keepPlace(
  log: Log,
  { name, from, deadLetter }: Pick<EventSourceOptions, 'name' | 'from' | 'deadLetter'>,
): Promise<void> {
  const key = letterPlaceOf(applicationOf(name));
  for (const { name: stream, attributes } of log.streams()) {
    const wanted = stream === from.stream ? (deadLetter ?? undefined) : undefined;
    if (isDeepStrictEqual(attributes[key], wanted)) continue;
    await log.setAttribute(stream, key, wanted);
  }
}

/** null: it has none, or its stream is gone. */
export function keptPlace(log: Pick<Log, 'streams'>, application: string): LetterPlace | null {
  const key = letterPlaceOf(application);
  for (const { attributes } of log.streams()) {
    const kept = place.safeParse(attributes[key]);
    if (kept.success) return kept.data;
  }
  return null;
}
