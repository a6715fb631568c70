/**
 * Source backup, as Firehose has it: beside what a delivery sends, all records of its stream as they
 * came, before anything was done to them, in a bucket or a folder.
 *
 * A backup is a delivery of its own, `<delivery>.backup`, with its own checkpoint, plans and status. So
 * it is exactly once, goes on over restarts, and neither of the two waits for the other. It may send
 * when its owner may. Nothing is read in its records, so none of them fails on the way.
 *
 * Names that end so are kept for backups: the configuration and the API refuse them to others.
 */
import type { DeliveryOptions } from './options.ts';

const ending = '.backup';

/** @param delivery the name of its owner */
export function backupNameOf(delivery: string): string {
  return `${delivery}${ending}`;
}

/** Whether nothing but a backup may be called that. */
export function isBackupName(name: string): boolean {
  return name.endsWith(ending);
}

/** The deliveries without their backups, each backup behind its owner. */
export function withBackups(deliveries: readonly DeliveryOptions[]): readonly DeliveryOptions[] {
  return deliveries.flatMap((delivery) => {
    const { backup = null, ...owner } = delivery;
    if (backup === null) return [owner];
    const { name, from, startAt, catchUp, priority, schedule, onlyWhile, version } = owner;
    const { origin, withheld } = owner;
    const { required = true, format = { type: 'raw' }, ...own } = backup;
    return [
      owner,
      {
        ...{ name: backupNameOf(name), backupOf: name, from, ...own, required, format },
        ...(startAt !== undefined && { startAt }),
        ...(catchUp !== undefined && { catchUp }),
        ...(priority !== undefined && { priority }),
        ...(schedule !== undefined && { schedule }),
        ...(onlyWhile !== undefined && { onlyWhile }),
        ...(version !== undefined && { version }),
        ...(origin !== undefined && { origin }),
        ...(withheld !== undefined && { withheld }),
      },
    ];
  });
}
