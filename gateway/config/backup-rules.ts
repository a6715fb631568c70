/** What the keys of a delivery's backup mean together with those of the delivery, and its name. */
import { backupNameOf, isBackupName } from '../forward/source-backup.ts';
import { fields, type Fields } from './fields.ts';

export interface BackupProblem {
  readonly path: readonly string[];
  readonly message: string;
  readonly allowed?: string;
}

/** Of whatever the configuration names. */
const nameMax = 128;
const ending = backupNameOf('');

export interface DeliveryPlace {
  readonly path: readonly string[];
  readonly delivery: Fields;
  readonly isBackup: boolean;
}

/** The deliveries of a configuration, and their backups as the deliveries that they are. */
export function deliveryPlaces(config: Fields): readonly DeliveryPlace[] {
  return Object.entries(fields(config['deliveries'])).flatMap(([name, value]) => {
    const delivery = fields(value);
    const { from, backup } = delivery;
    const path = ['deliveries', name];
    const own = { path, delivery, isBackup: false };
    if (typeof backup !== 'object' || backup === null) return [own];
    const ofBackup = { ...fields(backup), from };
    return [own, { path: [...path, 'backup'], delivery: ofBackup, isBackup: true }];
  });
}

export function backupProblems(config: Fields): readonly BackupProblem[] {
  return Object.entries(fields(config['deliveries'])).flatMap(([name, value]) => {
    const { from, backup = null } = fields(value);
    const path = ['deliveries', name];
    const problems: BackupProblem[] = [];
    if (isBackupName(name)) {
      const message = 'is what the backup of another delivery is called';
      problems.push({ path, message, allowed: `a name that does not end in ${ending}` });
    }
    if (backup === null) return problems;
    const ofBackup = [...path, 'backup'];
    if ('camera' in fields(from)) {
      problems.push({ path: ofBackup, message: 'is of records, and footage is sent as it is' });
    }
    if (backupNameOf(name).length > nameMax) {
      const message = `would be called ${backupNameOf(name)}, which is too long`;
      const allowed = `a delivery with a name of at most ${nameMax - ending.length} characters`;
      problems.push({ path: ofBackup, message, allowed });
    }
    return problems;
  });
}
