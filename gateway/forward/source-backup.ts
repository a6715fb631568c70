/**
 * What a delivery keeps in a bucket or a folder beside what it sends, as Firehose has it: all records
 * of its stream as they came, before anything was done to them (`<delivery>.backup`), and those that
 * failed (`<delivery>.failed`, see `failed-backup.ts`).
 *
 * A backup is a delivery of its own, with its own checkpoint, plans and status. So it is exactly once,
 * goes on over restarts, and neither of the two waits for the other. It may send when its owner may.
 * Nothing is read in its records, so none of them fails on the way.
 *
 * Names that end so are kept for backups: the configuration and the API refuse them to others.
 */
import { failedStreamOf } from './failed-records.ts';
import type { BackupOptions, DeliveryOptions, FailedOptions } from './options.ts';

const ending = '.backup';
const failedEnding = '.failed';
export const backupEndings: readonly string[] = [ending, failedEnding];

/** @param delivery the name of its owner */
export function backupNameOf(delivery: string): string {
  return `${delivery}${ending}`;
}

/** @param delivery the name of its owner */
export function failedBackupNameOf(delivery: string): string {
  return `${delivery}${failedEnding}`;
}

/** Of all that a delivery may have. */
export function backupNamesOf(delivery: string): readonly string[] {
  return backupEndings.map((one) => `${delivery}${one}`);
}

/** Whether nothing but a backup may be called that. */
export function isBackupName(name: string): boolean {
  return backupEndings.some((one) => name.endsWith(one));
}

/**
 * Advice with keys of a delivery. Those of a backup are its owner's, which are named where the
 * configuration has them: `deliveries.search.failed.to.s3.bucket`.
 */
export function adviceInOwner(
  { backupOf = null, failedOf = null, origin }: DeliveryOptions,
  advice: string,
): string {
  if (backupOf === null || origin === 'firehose') return advice;
  const key = failedOf === null ? 'backup' : 'failed';
  return advice.replace(/(?<![\w.])to\.(?=[a-z])/g, `deliveries.${backupOf}.${key}.to.`);
}

type Owner = Omit<DeliveryOptions, 'backup' | 'failed'>;

/** The deliveries without their backups, each backup behind its owner. */
export function withBackups(deliveries: readonly DeliveryOptions[]): readonly DeliveryOptions[] {
  const given = new Set(deliveries.map(({ name }) => name));
  return deliveries.flatMap((delivery) => {
    const { backup = null, failed = null, ...owner } = delivery;
    const ofFailed = failed && backupOfFailed(owner, failed, backup === null);
    return [
      owner,
      ...(backup === null ? [] : [backupOfAll(owner, backup)]),
      // An earlier release may have let somebody else be called that.
      ...(ofFailed === null || given.has(ofFailed.name) ? [] : [ofFailed]),
    ];
  });
}

function backupOfAll(owner: Owner, backup: BackupOptions): DeliveryOptions {
  const { name, from, startAt, catchUp } = owner;
  const { required = true, format = { type: 'raw' }, ...own } = backup;
  return {
    ...{ name: backupNameOf(name), backupOf: name, from, ...own, required, format },
    ...(startAt !== undefined && { startAt }),
    ...(catchUp !== undefined && { catchUp }),
    ...whenOwnerMay(owner),
  };
}

/** null: what is sent are no records. */
function backupOfFailed(
  owner: Owner,
  failed: FailedOptions,
  isOnlyBackup: boolean,
): DeliveryOptions | null {
  const { name, from } = owner;
  if (!('stream' in from)) return null;
  const { required = true, format = {}, ...own } = failed;
  return {
    ...{ name: failedBackupNameOf(name), backupOf: name, from: { stream: failedStreamOf(name) } },
    failedOf: { delivery: name, stream: from.stream, isOnlyBackup },
    ...{ ...own, required, format: { ...format, type: 'raw', delimiter: '\n' } },
    ...whenOwnerMay(owner),
  };
}

function whenOwnerMay(owner: Owner): Partial<DeliveryOptions> {
  const { priority, schedule, onlyWhile, version, origin, withheld } = owner;
  return {
    ...(priority !== undefined && { priority }),
    ...(schedule !== undefined && { schedule }),
    ...(onlyWhile !== undefined && { onlyWhile }),
    ...(version !== undefined && { version }),
    ...(origin !== undefined && { origin }),
    ...(withheld !== undefined && { withheld }),
  };
}
