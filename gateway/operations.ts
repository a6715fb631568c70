/**
 * What an operator asks of the running gateway: whether its clock is right, a backup, to load
 * its configuration again (reload.ts). The routes are in `api/rest/operations.ts`, the commands
 * in `cli/clock.ts`, `cli/backup.ts` and `cli/reload.ts`.
 */
import { isAbsolute } from 'node:path';
import { backupStore, type BackupResult } from '../storage/backup.ts';
import type { ClockStatus } from '../storage/clock-guard.ts';
import { StorageError } from '../storage/errors.ts';
import { expiring, type Expiring } from '../storage/expiring.ts';
import type { LossReport } from '../storage/losses.ts';
import type { Clock, Logger } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import type { ReloadResult } from './reload.ts';

/** What a backup takes along beside the store: who this box is, and who may log in to it. */
export const backedUpFiles: readonly string[] = ['identity.json', 'access'];
/** Logins of browsers and one-time codes: of no use on another day. */
export const notBackedUp: readonly string[] = ['access/codes', 'access/sessions'];

export interface BackupRequest {
  /** Absolute, on the gateway's machine: empty, or not there yet. */
  readonly folder: string;
  readonly logOnly: boolean;
}

export interface BackupState extends BackupRequest {
  readonly state: 'running' | 'done' | 'failed';
  readonly files: number;
  readonly bytes: number;
  /** Media files that retention deleted before they were copied. */
  readonly goneFiles: number;
  /** Why it failed. */
  readonly error: string | null;
}

export interface Operations {
  clock(): Promise<ClockStatus & { readonly expiring: readonly Expiring[] }>;
  /** @throws StorageError */
  confirmClock(): Promise<void>;
  /** Starts a backup. @throws StorageError `already-exists` while one runs, `invalid-argument` */
  startBackup(request: BackupRequest): BackupState;
  /** The newest backup since the start. */
  backup(): BackupState | null;
  losses(): readonly LossReport[];
  /** @throws ConfigError; what a part throws that can't follow the change */
  reload(): Promise<ReloadResult>;
}

export interface OperationsOptions {
  readonly store: Store;
  readonly folder: string;
  readonly mediaFolder: string;
  readonly version: string;
  readonly reload: () => Promise<ReloadResult>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** @returns with how to wait for a backup that runs */
export function startOperations(
  options: OperationsOptions,
): Operations & { close(): Promise<void> } {
  const { store, clock, logger } = options;
  let backup: BackupState | null = null;
  let running: Promise<void> = Promise.resolve();
  const run = async (request: BackupRequest): Promise<void> => {
    const update = (change: Partial<BackupState>): void => {
      if (backup !== null) backup = { ...backup, ...change };
    };
    try {
      const result: BackupResult = await backupStore({
        folder: options.folder,
        mediaFolder: options.mediaFolder,
        target: request.folder,
        logOnly: request.logOnly,
        extras: backedUpFiles,
        except: notBackedUp,
        madeBy: `headgate ${options.version}`,
        clock,
        onProgress: update,
      });
      update({ state: 'done', ...result });
      logger.info({ ...request, ...result }, 'A backup was made.');
    } catch (error) {
      update({ state: 'failed', error: error instanceof Error ? error.message : String(error) });
      logger.error({ ...request, error }, 'A backup failed.');
    }
  };
  return {
    clock: async () => {
      const status = store.clockGuard.status();
      return { ...status, expiring: await expiring(store, status.nowMs) };
    },
    confirmClock: () => store.clockGuard.confirm(),
    startBackup: (request) => {
      if (!isAbsolute(request.folder)) {
        throw new StorageError('invalid-argument', 'the folder of a backup is an absolute path');
      }
      if (backup?.state === 'running') {
        throw new StorageError('already-exists', `a backup into ${backup.folder} is running`);
      }
      backup = { ...request, state: 'running', files: 0, bytes: 0, goneFiles: 0, error: null };
      running = run(request);
      return backup;
    },
    backup: () => backup,
    losses: () => store.losses.report(),
    reload: options.reload,
    close: () => running,
  };
}
