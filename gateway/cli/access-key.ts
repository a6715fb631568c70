/** `headgate access-key create | list | revoke`: the keys that AWS clients sign with. */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { masterKeysInUse } from '../../storage/key-check.ts';
import { databaseFileName } from '../../storage/store.ts';
import { accessFolder } from '../security/access-files.ts';
import { AccessKeys } from '../security/access-keys.ts';
import { openMasterKey } from '../security/master-key.ts';
import { loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { findGateway } from './find-gateway.ts';
import { table } from './table.ts';

export interface CreateOptions extends ConfigOption {
  readonly policy?: string;
}

/** Adds `access-key` and what is below it to the command line. */
export function addAccessKeyCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  const accessKey = program
    .command('access-key')
    .description('make, list and revoke the keys that AWS clients sign with')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false);
  const command = (name: string, description: string): Command =>
    accessKey
      .command(name)
      .description(description)
      .helpOption('-h, --help', 'print this help')
      .allowExcessArguments(false)
      .option('-c, --config <file>', 'the configuration file');
  command('create', 'make a key; a running gateway takes it at once')
    .argument('<name>', 'the user that it speaks for, in ARNs and the audit log')
    .option('--policy <file>', 'what it may do, a policy document of IAM; everything otherwise')
    .action(async (name: string, options: CreateOptions) => {
      finish(await create(context, name, options));
    });
  command('list', 'show the keys there are, without their secrets').action(
    async (options: ConfigOption) => {
      finish(await list(context, options));
    },
  );
  command('revoke', 'take a key away; a running gateway refuses it at once')
    .argument('<id>', 'the id of the key, AKIA…')
    .action(async (id: string, options: ConfigOption) => {
      finish(await revoke(context, id, options));
    });
}

async function create(
  context: CliContext,
  name: string,
  options: CreateOptions,
): Promise<ExitCode> {
  const policies =
    options.policy === undefined
      ? []
      : [await readFile(resolve(context.folder, options.policy), 'utf8')];
  const keys = await open(context, options);
  const { accessKeyId, secretAccessKey } = await keys.create(name, policies);
  context.stderr.write(
    `A new access key for ${name}. Its secret is shown only now.\n` +
      (policies.length > 0 ? '' : 'It has no policy, so it may do everything.\n'),
  );
  // As a shell, a .env file and systemd take it.
  context.stdout.write(
    `AWS_ACCESS_KEY_ID=${accessKeyId}\nAWS_SECRET_ACCESS_KEY=${secretAccessKey}\n`,
  );
  return exitCodes.done;
}

async function list(context: CliContext, options: ConfigOption): Promise<ExitCode> {
  const keys = await (await open(context, options)).list();
  if (keys.length === 0) {
    context.stderr.write('There is no access key yet: "headgate access-key create" makes one.\n');
    return exitCodes.done;
  }
  const rows = keys.map(({ accessKeyId, name, createdMs, policies, configured }) => [
    accessKeyId,
    name ?? 'damaged: revoke it',
    policies === 0 ? 'everything' : `${policies} ${policies === 1 ? 'policy' : 'policies'}`,
    configured ? 'configured' : createdMs === null ? '' : new Date(createdMs).toISOString(),
  ]);
  const [, ...lines] = table(['KEY', 'NAME', 'MAY DO', 'MADE'], rows);
  context.stdout.write(`${lines.join('\n')}\n`);
  return exitCodes.done;
}

async function revoke(context: CliContext, id: string, options: ConfigOption): Promise<ExitCode> {
  if (await (await open(context, options)).revoke(id)) {
    context.stderr.write(`${id} is revoked.\n`);
    return exitCodes.done;
  }
  context.stderr.write(`There is no access key ${id}; "headgate access-key list" shows them.\n`);
  return exitCodes.failed;
}

/** @throws UnusableConfig; StorageError for a master key that can't be used */
async function open(context: CliContext, options: ConfigOption): Promise<AccessKeys> {
  const { config } = await loadFor(context, options);
  const { dataDir } = await findGateway(context, options);
  const { clock, fetch } = context;
  const inUse = await masterKeysInUse(join(dataDir, databaseFileName));
  return AccessKeys.open({
    folder: accessFolder(dataDir),
    masterKey: await openMasterKey({ config: { ...config, dataDir }, inUse, clock, fetch }),
    configured: config.auth.keys,
    clock,
  });
}
