/** What the keys of a delivery's backups mean together with those of the delivery, and their names. */
import {
  backupEndings,
  backupNameOf,
  failedBackupNameOf,
  isBackupName,
} from '../forward/source-backup.ts';
import { fields, type Fields } from './fields.ts';

export interface BackupProblem {
  readonly path: readonly string[];
  readonly message: string;
  readonly allowed?: string;
}

/** Of whatever the configuration names. */
const nameMax = 128;
/** Keys of a delivery, and what its backups are called. */
const backups = { backup: backupNameOf, failed: failedBackupNameOf } as const;
const roles = ['backup', 'failed'] as const;

/** What its objects are of: what it sends, its records as they came, or its failed records. */
export type DeliveryRole = 'own' | keyof typeof backups;

export interface DeliveryPlace {
  readonly path: readonly string[];
  readonly delivery: Fields;
  readonly role: DeliveryRole;
}

/** The deliveries of a configuration, and their backups as the deliveries that they are. */
export function deliveryPlaces(config: Fields): readonly DeliveryPlace[] {
  return Object.entries(fields(config['deliveries'])).flatMap(([name, value]) => {
    const delivery = fields(value);
    const { from } = delivery;
    const path = ['deliveries', name];
    return [
      { path, delivery, role: 'own' },
      ...roles.flatMap((key): readonly DeliveryPlace[] => {
        const backup = delivery[key];
        if (typeof backup !== 'object' || backup === null) return [];
        const own = { ...fields(backup), from };
        return [{ path: [...path, key], delivery: own, role: key }];
      }),
    ];
  });
}

export function backupProblems(config: Fields): readonly BackupProblem[] {
  return Object.entries(fields(config['deliveries'])).flatMap(([name, value]) => {
    const delivery = fields(value);
    const path = ['deliveries', name];
    const problems: BackupProblem[] = [];
    if (isBackupName(name)) {
      const message = name.endsWith(failedBackupNameOf(''))
        ? 'is what that is called which keeps the failed records of another delivery'
        : 'is what the backup of another delivery is called';
      const allowed = `a name that does not end in ${backupEndings.join(' or ')}`;
      problems.push({ path, message, allowed });
    }
    for (const [key, nameOf] of Object.entries(backups)) {
      if ((delivery[key] ?? null) === null) continue;
      const ofBackup = [...path, key];
      if ('camera' in fields(delivery['from'])) {
        problems.push({ path: ofBackup, message: 'is of records, and footage is sent as it is' });
      }
      if (nameOf(name).length > nameMax) {
        const message = `would be called ${nameOf(name)}, which is too long`;
        const allowed = `a delivery with a name of at most ${nameMax - nameOf('').length} characters`;
        problems.push({ path: ofBackup, message, allowed });
      }
    }
    return problems;
  });
}
