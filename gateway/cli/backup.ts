/**
 * `headgate backup` and `headgate restore`.
 *
 * A running gateway makes its backup itself, for only it may look at its store in safety; without
 * one this process takes the store's lock and does it. A restored box keeps its identity: the
 * gateway id, the tokens, the checkpoints of deliveries. So the old box must not run on beside it.
 */
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { backupStore } from '../../storage/backup.ts';
import { checkStore } from '../../storage/check.ts';
import { StorageError } from '../../storage/errors.ts';
import { StoreLock } from '../../storage/lock.ts';
import { restoreStore } from '../../storage/restore.ts';
import { mediaFolderName } from '../../storage/store.ts';
import { BackupSchema } from '../api/rest/operation-schemas.ts';
import type { Config } from '../config/schema.ts';
import { backedUpFiles, notBackedUp } from '../operations.ts';
import { showFinding } from './check.ts';
import { GatewayClient, NoAnswer, type ClientOptions } from './client.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { findGateway } from './find-gateway.ts';
import { packageInfo } from './package-info.ts';
import { counted, formatBytes } from './table.ts';

const askEveryMs = 500;

export interface BackupCommandOptions extends ClientOptions {
  readonly logOnly?: boolean;
}

interface Copied {
  readonly files: number;
  readonly bytes: number;
  readonly goneFiles: number;
}

/** @throws UnusableConfig; StorageError */
export async function backup(
  context: CliContext,
  folder: string,
  options: BackupCommandOptions,
): Promise<ExitCode> {
  const { running } = await findGateway(context, options);
  const target = resolve(context.folder, folder);
  const logOnly = options.logOnly === true;
  try {
    const copied =
      options.url === undefined && running === null
        ? await withoutGateway(context, (await loadFor(context, options)).config, target, logOnly)
        : null;
    const { files, bytes, goneFiles } = copied ?? (await byGateway(context, options, target));
    const gone =
      goneFiles === 0 ? '' : `; retention took ${counted(goneFiles, 'media file')} meanwhile`;
    context.stdout.write(`${target}: ${counted(files, 'file')}, ${formatBytes(bytes)}${gone}.\n`);
    return exitCodes.done;
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    context.stderr.write(`${error.message}\n`);
    return exitCodes.failed;
  }
}

/** null while a gateway has the store. */
async function withoutGateway(
  context: CliContext,
  config: Config,
  target: string,
  logOnly: boolean,
): Promise<Copied | null> {
  let lock: StoreLock;
  try {
    const holder = `headgate backup, process ${context.pid}`;
    lock = await StoreLock.take(config.dataDir, holder, context.clock.nowMs());
  } catch (error) {
    if (error instanceof StorageError && error.code === 'already-exists') return null;
    const message = `there is no store in ${config.dataDir}`;
    throw new StorageError('not-found', message, { cause: error });
  }
  try {
    return await backupStore({
      folder: config.dataDir,
      mediaFolder: mediaFolderOf(config),
      target,
      logOnly,
      extras: backedUpFiles,
      except: notBackedUp,
      madeBy: `headgate ${packageInfo().version}`,
      clock: context.clock,
    });
  } finally {
    await lock.release();
  }
}

async function byGateway(
  context: CliContext,
  options: BackupCommandOptions,
  folder: string,
): Promise<Copied> {
  const client = await GatewayClient.find(context, options);
  return client.whileLoggedIn(async () => {
    const request = { folder, logOnly: options.logOnly === true };
    let answer = await client.post('/api/v1/backup', BackupSchema, request);
    while (answer.state === 'running') {
      // The clock's own timers do not keep the process alive, and nothing else does meanwhile.
      await delay(askEveryMs);
      answer = await client.get('/api/v1/backup', BackupSchema);
    }
    if (answer.state === 'done' && answer.folder === folder) return answer;
    throw new NoAnswer(`The backup failed: ${answer.error ?? 'the gateway was restarted'}`);
  });
}

/** @throws UnusableConfig; StorageError */
export async function restore(
  context: CliContext,
  folder: string,
  options: ConfigOption,
): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  const mediaFolder = mediaFolderOf(config);
  const source = resolve(context.folder, folder);
  const { manifest, bytes } = await restoreStore({ source, folder: config.dataDir, mediaFolder });
  let findings = 0;
  for await (const finding of checkStore({ folder: config.dataDir, mediaFolder })) {
    findings += 1;
    context.stdout.write(showFinding(finding));
  }
  const footage = manifest.logOnly ? ', without footage' : '';
  context.stdout.write(
    `${config.dataDir}: restored ${formatBytes(bytes)} of ${new Date(manifest.createdMs).toISOString()}${footage}.\n` +
      'It is the same gateway as the one that was backed up: do not run both.\n',
  );
  return findings === 0 ? exitCodes.done : exitCodes.failed;
}

function mediaFolderOf({ dataDir, mediaDir }: Config): string {
  return mediaDir ?? join(dataDir, mediaFolderName);
}
