/**
 * `headgate service`: a systemd unit made for this machine: its paths, its user, the configuration
 * at hand. Printed, or with `--install` put where systemd finds it.
 */
import { chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync, statSync } from 'node:fs';
import { availableParallelism, totalmem, userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { settingVariables } from '../config/environment.ts';
import { readFileText } from '../config/files.ts';
import type { Config } from '../config/schema.ts';
import { variablesIn, type Environment } from '../config/substitute.ts';
import { configTree } from '../config/tree.ts';
import { output } from '../doctor/machine.ts';
import { findProgram } from '../doctor/programs.ts';
import { namedDeliveries } from '../forward/options.ts';
import { withBackups } from '../forward/source-backup.ts';
import { defaultFile, fileFor, loadFor, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { packageInfo } from './package-info.ts';

const unitFolder = '/etc/systemd/system';
const unitName = 'headgate.service';
/** What the process may take after its own time-out before systemd kills it. */
const stopSlackSeconds = 5;

export interface ServiceCommandOptions extends ConfigOption {
  readonly install?: boolean;
  readonly user?: string;
}

/** What a unit is made of; all paths are absolute. */
export interface UnitOptions {
  readonly nodePath: string;
  readonly mainPath: string;
  readonly configFile: string;
  readonly workingFolder: string;
  readonly user: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where secrets are kept for it; absolute. */
  readonly environmentFile: string;
  /** What it writes to; all else is read-only for it. */
  readonly writableFolders: readonly string[];
  readonly shutdownTimeoutSeconds: number;
  /** A port below 1024 is listened on. */
  readonly bindsLowPorts: boolean;
}

/** @throws UnusableConfig; the system's errors while installing */
export async function service(
  context: CliContext,
  options: ServiceCommandOptions,
): Promise<ExitCode> {
  const environmentFile = environmentFileFor(context, options);
  const env = { ...(await readEnvironmentFile(environmentFile)), ...context.env };
  const { config, file, folder } = await loadFor({ ...context, env }, options);
  const mainPath = join(packageInfo().folder, 'dist', 'gateway', 'main.js');
  if (file === null || !existsSync(mainPath)) {
    context.stderr.write(
      file === null
        ? 'A service needs a configuration: write headgate.yaml, or name one with --config.\n'
        : `${mainPath} is not there: "npm start" makes it.\n`,
    );
    return exitCodes.failed;
  }
  const sudoer = context.env['SUDO_USER'];
  const user = options.user ?? ownerOf(config.dataDir) ?? sudoer ?? userInfo().username;
  if (user === 'root') {
    context.stderr.write('It would run as root, which it has no need to: name another --user.\n');
  }
  const writableFolders = foldersOf(config, folder);
  const unit = printUnit({
    ...{ nodePath: context.nodePath, mainPath, user, writableFolders },
    configFile: resolve(context.folder, file),
    workingFolder: folder,
    environment: await environmentOf(context, config),
    environmentFile,
    shutdownTimeoutSeconds: config.shutdownTimeoutSeconds,
    bindsLowPorts: portsOf(config).some((port) => port > 0 && port < 1024),
  });
  const secrets = await secretsFor(context, resolve(context.folder, file), environmentFile);
  if (options.install !== true) {
    context.stdout.write(unit);
    context.stderr.write(secrets);
    return exitCodes.done;
  }
  await install(unit, writableFolders, user);
  context.stdout.write(
    `${join(unitFolder, unitName)} is written. ${secrets}Now:\n` +
      '  systemctl daemon-reload && systemctl enable --now headgate\n' +
      '  journalctl --unit headgate --follow\n',
  );
  return exitCodes.done;
}

async function install(unit: string, folders: readonly string[], user: string): Promise<void> {
  const [uid, gid] = await Promise.all([output('id', ['-u', user]), output('id', ['-g', user])]);
  if (uid === null || gid === null) throw new Error(`there is no user ${user} on this machine`);
  for (const folder of folders) {
    const made = await mkdir(folder, { recursive: true, mode: 0o700 });
    // A unit does not start while a folder that it may write to is missing.
    if (made !== undefined) await chown(folder, Number(uid), Number(gid));
  }
  await writeFile(join(unitFolder, unitName), unit, { mode: 0o644 });
}

/** Null while it is not there, or when it is root's. */
function ownerOf(folder: string): string | null {
  if (!existsSync(folder)) return null;
  const { uid } = statSync(folder);
  const own = userInfo();
  return uid === own.uid && uid !== 0 ? own.username : null;
}

function foldersOf(config: Config, configFolder: string): readonly string[] {
  const delivered = withBackups(namedDeliveries(config.deliveries)).flatMap(({ to }) =>
    'folder' in to ? [to.folder.path] : [],
  );
  // The folder of the configuration too: cameras that are added over the API are written there.
  const all = [configFolder, config.dataDir, config.mediaDir ?? config.dataDir, ...delivered];
  const inside = (path: string): boolean =>
    all.some((other) => path !== other && path.startsWith(`${other}/`) && existsSync(path));
  return [...new Set(all)].filter((path) => !inside(path));
}

function portsOf({ http, mqtt, rtsp }: Config): readonly number[] {
  return [http.port, mqtt.port, mqtt.tlsPort, rtsp.port];
}

/** Beside the configuration. */
function environmentFileFor(context: CliContext, options: ConfigOption): string {
  const file = fileFor(context, options) ?? defaultFile;
  return join(dirname(resolve(context.folder, file)), 'headgate.env');
}

/** Empty where it is not there yet, or not to be read. @see systemd.exec(5), EnvironmentFile= */
async function readEnvironmentFile(path: string): Promise<Environment> {
  return parseEnv(await readFile(path, 'utf8').catch(() => ''));
}

/** What "npm start" would set, and what is set here for the configuration, but for secrets. */
async function environmentOf(
  { env }: CliContext,
  { ffmpegPath }: Config,
): Promise<Readonly<Record<string, string>>> {
  // systemd has a PATH of its own.
  const ffmpeg = ffmpegPath === null ? await findProgram('ffmpeg', env['PATH'] ?? '') : null;
  const found: Record<string, string> = ffmpeg === null ? {} : { HEADGATE_FFMPEG_PATH: ffmpeg };
  const names = ['MEDIASOUP_WORKER_BIN', ...settingVariables(configTree, env).plain];
  const kept = names.flatMap((name) => {
    const value = env[name];
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  const heapMegabytesMax = Math.min(1024, Math.floor(totalmem() / 2 ** 21));
  return {
    NODE_ENV: 'production',
    NODE_OPTIONS: `--max-semi-space-size=16 --max-old-space-size=${heapMegabytesMax}`,
    UV_THREADPOOL_SIZE: String(Math.max(16, 2 * availableParallelism())),
    ...found,
    ...Object.fromEntries(kept),
  };
}

/** What has to be put into the environment's file by hand; empty when there is nothing. */
async function secretsFor(
  { env }: CliContext,
  configFile: string,
  environmentFile: string,
): Promise<string> {
  const written = (await readFileText(configFile)).replaceAll(/^[ \t]*#.*$/gm, '');
  const referred = variablesIn(written);
  const names = [...referred, ...settingVariables(configTree, env).secret];
  if (names.length === 0) return '';
  return (
    `The service has no variables of this shell, and its configuration wants ${names.join(', ')}:\n` +
    `put them into ${environmentFile}, a line NAME=value each (chmod 600; systemd reads it as root).\n`
  );
}

/** The unit's text. @see systemd.service(5), systemd.exec(5) */
export function printUnit(options: UnitOptions): string {
  const { nodePath, mainPath, configFile, workingFolder, user, environment } = options;
  const { environmentFile } = options;
  const command = [nodePath, '--enable-source-maps', mainPath, 'run', '--config', configFile];
  const variables = Object.entries(environment).map(
    ([name, value]) => `Environment=${quoted(`${name}=${value}`)}`,
  );
  return `# Made by "headgate service". Make it again when the configuration's folders change.
[Unit]
Description=Headgate, cameras and telemetry at the edge
Wants=network-online.target
After=network-online.target time-sync.target

[Service]
Type=exec
User=${user}
WorkingDirectory=${escaped(workingFolder)}
${variables.join('\n')}
# Secrets: a line NAME=value each, mode 0600.
EnvironmentFile=-${escaped(environmentFile)}
ExecStart=${command.map((word) => quoted(word.replaceAll('$', '$$$$'))).join(' ')}
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
RestartSec=2
# A wrong configuration does not mend itself.
RestartPreventExitStatus=78
KillMode=mixed
TimeoutStopSec=${options.shutdownTimeoutSeconds + stopSlackSeconds}
LimitNOFILE=65536
UMask=0077

# It reaches what it needs and nothing else.
NoNewPrivileges=yes
${options.bindsLowPorts ? 'AmbientCapabilities=CAP_NET_BIND_SERVICE\n' : ''}CapabilityBoundingSet=${options.bindsLowPorts ? 'CAP_NET_BIND_SERVICE' : ''}
ProtectSystem=strict
ProtectHome=read-only
${options.writableFolders.map((folder) => `ReadWritePaths=${quoted(folder)}`).join('\n')}
PrivateTmp=yes
# A hook whose command wants a GPU takes "no": systemctl edit headgate.
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`;
}

/** Specifiers begin with a percent sign. */
function escaped(text: string): string {
  return text.replaceAll('%', '%%');
}

function quoted(text: string): string {
  const plain = escaped(text);
  return /^[\w@%+=:,./$-]+$/.test(plain) ? plain : `"${plain.replaceAll(/["\\]/g, '\\$&')}"`;
}
