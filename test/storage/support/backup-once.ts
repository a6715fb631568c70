/** Backs a store up as a process of its own, to be run on a disk that fails. */
import { join } from 'node:path';
import { backupStore } from '../../../storage/backup.ts';
import { StorageError } from '../../../storage/errors.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const [, , folder = '', target = ''] = process.argv;

backupStore({
  ...{ folder, mediaFolder: join(folder, 'media'), target, logOnly: false, extras: [] },
  ...{ madeBy: 'test', clock: new ManualClock() },
}).then(
  () => {
    console.log('DONE');
  },
  (error: unknown) => {
    console.log(error instanceof StorageError ? `TOLD ${error.code}` : `RAW ${String(error)}`);
  },
);
