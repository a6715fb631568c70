/**
 * `headgate camera probe rtsp://…` looks at a camera and says what works with it and what will not;
 * `headgate camera add rtsp://…` does so and writes it into the configuration file.
 *
 * Nothing is asked: everything is an option. `${NAME}` in the address stands for a variable of the
 * environment, as in the file, and is written as it is.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { parseCameraUrl, plainUrl } from '../../ingest/rtsp/client/address.ts';
import { anywhere, onlyNetworks } from '../../ingest/rtsp/client/guard.ts';
import { probeCamera, type CameraFindings } from '../../ingest/rtsp/client/probe.ts';
import { SourceError, type SourceErrorCode } from '../../ingest/source.ts';
import { hasCamera, TextNotEditable, withCamera, type CameraEntry } from '../config/camera-text.ts';
import { ConfigNotWritable, editConfigFile } from '../config/edit.ts';
import { ConfigError } from '../config/problems.ts';
import { substituteFrom } from '../config/substitute.ts';
import { addCameraDiscoverCommand } from './camera-discover.ts';
import { reportOn, type Remark } from './camera-report.ts';
import { defaultFile, loadFor, UnusableConfig, type ConfigOption } from './configuration.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { findGateway } from './find-gateway.ts';

export interface CameraProbeOptions extends ConfigOption {
  readonly transport?: 'tcp' | 'udp';
  /** commander's `--no-verify-tls`. */
  readonly verifyTls?: boolean;
  readonly json?: boolean;
}

export interface CameraAddOptions extends CameraProbeOptions {
  readonly name?: string;
  readonly substream?: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

const marks: Readonly<Record<Remark['kind'], string>> = { fine: '✓', note: '!', problem: '✗' };
const lineLength = 92;

/** Adds `camera` and what is below it to the command line. */
export function addCameraCommand(
  program: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  const camera = program
    .command('camera')
    .description('find cameras, look at one, add it to the configuration')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false);
  addCameraDiscoverCommand(camera, context, finish);
  const command = (name: string, description: string): Command =>
    camera
      .command(name)
      .description(description)
      .argument('<rtsp-url>', 'its address: rtsp://user:password@host/path')
      .helpOption('-h, --help', 'print this help')
      .allowExcessArguments(false)
      .option('-c, --config <file>', 'the configuration file')
      .addOption(new Option('--transport <how>', 'how packets come').choices(['tcp', 'udp']))
      .option('--no-verify-tls', 'accept any certificate of a camera at rtsps://')
      .option('--json', 'what was seen, as JSON');
  command('probe', 'say what a camera sends, and what will not work and why').action(
    async (url: string, options: CameraProbeOptions) => {
      finish(await probe(context, url, options));
    },
  );
  command('add', 'probe a camera and write it into the configuration file')
    .option('--name <name>', 'how the camera is called here')
    .option('--substream <rtsp-url>', 'where it has a smaller picture, for many cameras at once')
    .option('--dry-run', 'show what would be written, and write nothing')
    .option('--force', 'write it although it can not be used now')
    .action(async (url: string, options: CameraAddOptions) => {
      finish(await add(context, url, options));
    });
}

/** @throws UnusableConfig */
export async function probe(
  context: CliContext,
  url: string,
  options: CameraProbeOptions,
): Promise<ExitCode> {
  const { config } = await loadFor(context, options);
  const address = substituted(context, url);
  if (address === null) return exitCodes.usage;
  return (await look(context, address, config.sources.allowedNetworks, options)) === null
    ? exitCodes.failed
    : exitCodes.done;
}

/** @throws UnusableConfig */
export async function add(
  context: CliContext,
  url: string,
  options: CameraAddOptions,
): Promise<ExitCode> {
  const { config, file } = await loadFor(context, options);
  const say = (text: string): void => void context.stderr.write(`${text}\n`);
  const address = substituted(context, url);
  if (address === null) return exitCodes.usage;
  const { substream } = options;
  if (substream !== undefined && substituted(context, substream) === null) return exitCodes.usage;
  const camera = options.name ?? freeName(address, Object.keys(config.cameras));
  if (Object.hasOwn(config.cameras, camera)) {
    say(`There is a camera named ${camera} already; --name gives this one another name.`);
    return exitCodes.failed;
  }
  const entry: CameraEntry = {
    source: { rtsp: url },
    ...(substream === undefined ? {} : { substream: { rtsp: substream } }),
    ...(options.transport === 'udp' ? { transport: 'udp' } : {}),
    ...(options.verifyTls === false ? { verifyTls: false } : {}),
  };
  const writing = { file: file ?? defaultFile, camera, entry, url, options };
  // What can't be written needs no look.
  if (!(await edit(context, writing, true))) return exitCodes.failed;
  const found = await look(context, address, config.sources.allowedNetworks, options);
  if (found === null && options.force !== true) {
    say('Nothing was written. --force adds it all the same.');
    return exitCodes.failed;
  }
  return write(context, writing);
}

interface Writing {
  readonly file: string;
  readonly camera: string;
  readonly entry: CameraEntry;
  readonly url: string;
  readonly options: CameraAddOptions;
}

async function write(context: CliContext, writing: Writing): Promise<ExitCode> {
  const { file, camera, entry, url, options } = writing;
  const isNew = !existsSync(resolve(context.folder, file));
  if (options.dryRun === true) {
    context.stdout.write(`\nThis would be added to ${file}:\n\n${withCamera('', camera, entry)}`);
    return exitCodes.done;
  }
  if (!(await edit(context, writing, false))) return exitCodes.failed;
  if (options.json === true) return exitCodes.done;
  const { running } = await findGateway(context, options);
  const demonstration = running?.demonstration === true ? running.processId : null;
  context.stdout.write(whatNext({ file, camera, url, isNew, demonstration }));
  return exitCodes.done;
}

/**
 * False when it can't be written, which was said then.
 * @throws UnusableConfig, for a configuration that would have mistakes
 */
async function edit(
  context: CliContext,
  { file, camera, entry }: Writing,
  dryRun: boolean,
): Promise<boolean> {
  try {
    await editConfigFile({
      name: file,
      path: resolve(context.folder, file),
      env: context.env,
      dryRun,
      change: (text) => {
        if (hasCamera(text, camera)) {
          throw new ConfigNotWritable(`${file} has a camera named ${camera} by now`);
        }
        return withCamera(text, camera, entry);
      },
    });
  } catch (error) {
    if (error instanceof ConfigError) throw new UnusableConfig(file, error.problems);
    if (!(error instanceof ConfigNotWritable) && !(error instanceof TextNotEditable)) throw error;
    context.stderr.write(`${error.message}\nNothing was written.\n`);
    return false;
  }
  return true;
}

function whatNext(written: {
  readonly file: string;
  readonly camera: string;
  readonly url: string;
  readonly isNew: boolean;
  /** The process that demonstrates itself here; null: none does. */
  readonly demonstration: number | null;
}): string {
  const { file, camera, url, isNew, demonstration } = written;
  const hasPassword = parseCameraUrl(url.replaceAll(/\$\{[^}]*\}/g, 'x')).user !== null;
  const variable = `${camera.toUpperCase().replace(/[^A-Z0-9]+/g, '_')}_PASSWORD`;
  const lines = [
    '',
    `Added as "${camera}" to ${file}${isNew ? ', which is new' : ''}.`,
    nextStep(isNew, demonstration),
    ...(hasPassword && !url.includes('${')
      ? [
          `Its password is in ${file} in the clear. To keep it elsewhere, write \${${variable}} in its place,`,
          'and set that variable for the gateway.',
        ]
      : []),
  ];
  return `${lines.join('\n')}\n`;
}

function nextStep(isNew: boolean, demonstration: number | null): string {
  if (demonstration !== null) {
    return `Next: what runs now (process ${demonstration}) is the demonstration, which goes on without this file: stop it and start again.`;
  }
  return isNew
    ? 'Next: start the gateway in this folder ("headgate run", or "npm start").'
    : 'Next: a gateway that runs with this file takes the camera over by itself; "headgate status" shows it.';
}

/** Probes and prints; null when the camera can't be used, which was said then. */
async function look(
  context: CliContext,
  url: string,
  allowedNetworks: readonly string[],
  options: CameraProbeOptions,
): Promise<CameraFindings | null> {
  const stop = new AbortController();
  const stopListening = context.onSignal(() => {
    stop.abort();
  });
  try {
    const shown = plainUrl(parseCameraUrl(url));
    if (options.json !== true) context.stdout.write(`Looking at ${shown} …\n`);
    const findings = await probeCamera({
      url,
      transport: options.transport ?? 'tcp',
      verifyTls: options.verifyTls ?? true,
      guard: anywhere,
      redirectGuard: onlyNetworks(allowedNetworks),
      clock: context.clock,
      signal: stop.signal,
    });
    const { facts, remarks } = reportOn(findings);
    context.stdout.write(
      options.json === true
        ? `${JSON.stringify({ url: shown, ...findings, remarks }, null, 2)}\n`
        : print(facts, remarks),
    );
    return findings;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    context.stderr.write(`${error.message}\n${hints[error.code] ?? ''}`);
    return null;
  } finally {
    stopListening();
  }
}

function print(facts: readonly (readonly [string, string])[], remarks: readonly Remark[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = [
    '',
    ...facts.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`),
    '',
    ...remarks.flatMap(({ kind, text }) => wrapped(text, `${marks[kind]} `)),
  ];
  return `${lines.join('\n')}\n`;
}

function wrapped(text: string, mark: string): readonly string[] {
  const lines: string[] = [];
  let line = mark;
  for (const word of text.split(' ')) {
    if (line.length + word.length > lineLength) {
      lines.push(line.trimEnd());
      line = ' '.repeat(mark.length);
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

/** What to look at where the error alone does not say it. */
const hints: Partial<Record<SourceErrorCode, string>> = {
  unauthorized:
    'The address carries them: rtsp://user:password@host/path. Characters like / ? # @ are percent-encoded.\n',
  'not-found':
    "Every maker has a path of its own (/stream1, /h264Preview_01_main, /Streaming/Channels/101 …): the camera's manual or ONVIF tells it.\n",
  unreachable: 'Is the camera switched on, and in a network that this machine reaches?\n',
};

/** The address with its variables filled in; null when one is missing, which is said then. */
function substituted(context: CliContext, url: string): string | null {
  const problems: string[] = [];
  const substitute = substituteFrom(context.env, () => {
    throw new Error('a file is not read here');
  });
  const { text } = substitute(url, (message) => problems.push(message));
  try {
    if (problems.length === 0) parseCameraUrl(text);
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    problems.push(error.message);
  }
  if (problems.length === 0) return text;
  context.stderr.write(`headgate: ${problems.join('; ')}\n`);
  return null;
}

/** `camera-10-0-0-5`, or with a number behind it where that is taken. */
function freeName(url: string, taken: readonly string[]): string {
  const host = parseCameraUrl(url).host.replace(/[^a-zA-Z0-9]+/g, '-');
  const base = `camera-${host}`.slice(0, 100);
  if (!taken.includes(base)) return base;
  for (let number = 2; ; number += 1) {
    if (!taken.includes(`${base}-${number}`)) return `${base}-${number}`;
  }
}
