/**
 * The command line: parsing, help and exit codes are here; what a command does is in the file of
 * its name.
 */
import { Command, CommanderError } from 'commander';
import { messageOf } from '../config/substitute.ts';
import { suggest } from '../config/suggest.ts';
import { maskUrls } from '../observe/mask.ts';
import { addAccessKeyCommand } from './access-key.ts';
import { backup, restore, type BackupCommandOptions } from './backup.ts';
import { addCameraCommand } from './camera.ts';
import { check, type CheckCommandOptions } from './check.ts';
import { confirmClock, showClock, type ClockCommandOptions } from './clock.ts';
import { showConfig, type ConfigCommandOptions } from './config.ts';
import { UnusableConfig, type ConfigOption } from './configuration.ts';
import { addConsumeCommand } from './consume.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { showCredentials } from './credentials.ts';
import { addDeliveryCommand } from './delivery.ts';
import { addFunctionCommand } from './function.ts';
import { doctor, type DoctorCommandOptions } from './doctor.ts';
import { init } from './init.ts';
import { packageInfo } from './package-info.ts';
import { addExportCommand } from './export.ts';
import { addPutCommand } from './put.ts';
import { reload, type ReloadCommandOptions } from './reload.ts';
import { run } from './run.ts';
import { service, type ServiceCommandOptions } from './service.ts';
import { showStatus, type StatusCommandOptions } from './status.ts';
import { addTailCommand } from './tail.ts';
import { makeToken, type TokenCommandOptions } from './token.ts';

const epilogue = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 78 the configuration can't be used.
Without --config the file is HEADGATE_CONFIG or ./headgate.yaml. Every key can be set from the
environment: "headgate config --reference" tells the names.`;

/** Runs the command that the arguments ask for; resolves with the exit code and never rejects. */
export async function runCli(context: CliContext): Promise<ExitCode> {
  let code: ExitCode = exitCodes.done;
  const program = buildProgram(context, (result) => {
    code = result;
  });
  try {
    refuseUnknownCommand(program, context.args[0]);
    await program.parseAsync(context.args, { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) {
      return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    }
    if (error instanceof UnusableConfig) {
      context.stderr.write(`${error.message}\n`);
      return exitCodes.configuration;
    }
    context.stderr.write(`headgate: ${maskUrls(messageOf(error))}\n`);
    return exitCodes.failed;
  }
}

/** Commander would take a mistyped command for an argument of the default one. */
function refuseUnknownCommand(program: Command, first: string | undefined): void {
  const names = program.commands.map((command) => command.name());
  if (first === undefined || first.startsWith('-') || names.includes(first)) return;
  const meant = suggest(first, names);
  const hint = meant === null ? '' : ` Did you mean "${meant}"?`;
  program.error(`headgate: there is no command "${first}".${hint}`);
}

function buildProgram(context: CliContext, finish: (code: ExitCode) => void): Command {
  const program = new Command('headgate')
    .description(
      'Cameras and telemetry in, a durable log on the box, data streams and S3 upstream.',
    )
    .version(packageInfo().version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .addHelpText('after', epilogue)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'headgate: ')),
    })
    .showHelpAfterError('(--help tells what there is)');

  const command = (name: string, description: string, isDefault = false): Command =>
    program
      .command(name, { isDefault })
      .description(description)
      .helpOption('-h, --help', 'print this help')
      .allowExcessArguments(false)
      .option('-c, --config <file>', 'the configuration file');

  command('run', 'run the gateway until it is told to stop (the default)', true).action(
    async (options: ConfigOption) => {
      finish(await run(context, options));
    },
  );
  command('check', 'verify the store: every batch, fragment and file; changes nothing by itself')
    .option('--repair', 'mend it: set aside what is damaged, so that all else is served')
    .option('--json', 'one finding per line, as JSON')
    .action(async (options: CheckCommandOptions) => {
      finish(await check(context, options));
    });
  command('status', 'ask the running gateway how it is')
    .option('--json', 'the whole answer, as JSON')
    .option('--url <url>', 'where it is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (options: StatusCommandOptions) => {
      finish(await showStatus(context, options));
    });
  command('backup', 'copy the store, also of a running gateway, into an empty folder')
    .argument('<folder>', 'where to: empty, or not there yet')
    .option('--log-only', 'leave footage out')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (folder: string, options: BackupCommandOptions) => {
      finish(await backup(context, folder, options));
    });
  command('restore', 'make an empty data folder the store that a backup holds')
    .argument('<folder>', 'the backup')
    .action(async (folder: string, options: ConfigOption) => {
      finish(await restore(context, folder, options));
    });
  const clock = command('clock', 'show the clock, its steps, and what would be deleted by age')
    .option('--json', 'the whole answer, as JSON')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .argument('[confirm]', '"confirm": the clock is right, delete by age again')
    .action(async (word: string | undefined, options: ClockCommandOptions) => {
      if (word !== undefined && word !== 'confirm') {
        clock.error(`headgate: there is no "clock ${word}". Did you mean "clock confirm"?`);
      }
      finish(await (word === undefined ? showClock : confirmClock)(context, options));
    });
  command('reload', 'have the running gateway load its configuration again')
    .option('--json', 'the whole answer, as JSON')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (options: ReloadCommandOptions) => {
      finish(await reload(context, options));
    });
  addCameraCommand(program, context, finish);
  addAccessKeyCommand(program, context, finish);
  addDeliveryCommand(program, context, finish);
  addFunctionCommand(program, context, finish);
  addConsumeCommand(program, context, finish);
  addPutCommand(program, context, finish);
  addTailCommand(program, context, finish);
  addExportCommand(program, context, finish);
  command('doctor', 'look for what is wrong with the machine, the configuration and the gateway')
    .option('--json', 'the findings, as JSON')
    .option('--url <url>', 'where the gateway is; the configured address otherwise')
    .option('--token <token>', 'a login token; otherwise HEADGATE_TOKEN, or the data folder')
    .action(async (options: DoctorCommandOptions) => {
      finish(await doctor(context, options));
    });
  command('service', 'print a systemd unit made for this machine')
    .option('--install', 'write it to /etc/systemd/system, and make its folders')
    .option('--user <name>', 'the user that the gateway runs as')
    .action(async (options: ServiceCommandOptions) => {
      finish(await service(context, options));
    });
  command('credentials', 'show how other machines get in, with what "listen: lan" made').action(
    async (options: ConfigOption) => {
      finish(await showCredentials(context, options));
    },
  );
  command('init', 'write a small configuration to begin with').action(
    async (options: ConfigOption) => {
      finish(await init(context, options));
    },
  );
  command('config', 'print the configuration in force, and where each value comes from')
    .option('--reference', 'print every key with its description and default instead')
    .action(async (options: ConfigCommandOptions) => {
      finish(await showConfig(context, options));
    });
  command('token', 'make another login token; a running gateway takes it at once')
    .option('--revoke-all', 'take every token and login away instead')
    .action(async (options: TokenCommandOptions) => {
      finish(await makeToken(context, options));
    });
  return program;
}
