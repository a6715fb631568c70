/**
 * `headgate camera discover` asks the network for ONVIF cameras and prints the addresses of their
 * streams, which `headgate camera add` takes. Networks that multicast does not reach are asked host
 * by host: `headgate camera discover 10.1.0.20 10.1.0.21`.
 */
import type { Command } from 'commander';
import { networksOfThisMachine } from '../../ingest/onvif/discovery.ts';
import type { DeviceStream } from '../../ingest/onvif/device.ts';
import { findCameras, type FoundCamera } from '../../ingest/onvif/find-cameras.ts';
import { anywhere } from '../../ingest/rtsp/client/guard.ts';
import { SourceError } from '../../ingest/source.ts';
import { substituteFrom } from '../config/substitute.ts';
import { exitCodes, type CliContext, type ExitCode } from './context.ts';
import { counted } from './table.ts';

export interface CameraDiscoverOptions {
  readonly user?: string;
  readonly password?: string;
  readonly interface?: readonly string[];
  readonly wait: string;
  readonly json?: boolean;
}

const waitSecondsMax = 60;

export function addCameraDiscoverCommand(
  camera: Command,
  context: CliContext,
  finish: (code: ExitCode) => void,
): void {
  camera
    .command('discover')
    .description('find ONVIF cameras in the network, and the addresses of their streams')
    .argument('[host...]', 'ask these instead of the network: host or host:port')
    .helpOption('-h, --help', 'print this help')
    .option('--user <name>', 'whom the cameras know')
    .option('--password <password>', 'of that user; ${NAME} is a variable of the environment')
    .option('--interface <address...>', 'own IPv4 addresses of the networks to ask in; else all')
    .option('--wait <seconds>', 'how long answers are waited for', '4')
    .option('--json', 'what was found, as JSON')
    .action(async (hosts: string[], options: CameraDiscoverOptions) => {
      finish(await discoverCameras(context, hosts, options));
    });
}

export async function discoverCameras(
  context: CliContext,
  hosts: readonly string[],
  options: CameraDiscoverOptions,
): Promise<ExitCode> {
  const waitSeconds = Number(options.wait);
  if (!(waitSeconds > 0 && waitSeconds <= waitSecondsMax)) {
    context.stderr.write(
      `headgate: --wait takes more than 0 and up to ${waitSecondsMax} seconds\n`,
    );
    return exitCodes.usage;
  }
  const problems: string[] = [];
  const substitute = substituteFrom(context.env, () => {
    throw new Error('a file is not read here');
  });
  const filled = (text: string): string =>
    substitute(text, (message) => problems.push(message)).text;
  const user =
    options.user === undefined
      ? null
      : { username: filled(options.user), password: filled(options.password ?? '') };
  if (options.user === undefined && options.password !== undefined) {
    problems.push('--password needs --user');
  }
  if (problems.length > 0) {
    context.stderr.write(`headgate: ${problems.join('; ')}\n`);
    return exitCodes.usage;
  }
  const stop = new AbortController();
  const stopListening = context.onSignal(() => {
    stop.abort();
  });
  try {
    const found = await findCameras({
      hosts,
      interfaces: options.interface ?? networksOfThisMachine(),
      waitMs: waitSeconds * 1_000,
      user,
      guard: anywhere,
      clock: context.clock,
      signal: stop.signal,
    });
    context.stdout.write(
      options.json === true ? `${JSON.stringify({ cameras: found }, null, 2)}\n` : print(found),
    );
    return found.some(({ facts }) => facts !== null) ? exitCodes.done : exitCodes.failed;
  } catch (error) {
    if (!(error instanceof SourceError)) throw error;
    context.stderr.write(`headgate: ${error.message}\n`);
    return exitCodes.failed;
  } finally {
    stopListening();
  }
}

function print(found: readonly FoundCamera[]): string {
  if (found.length === 0) {
    return [
      'No camera answered. Is ONVIF switched on in the cameras, and are they in the same network',
      'segment? Others are asked by address: headgate camera discover 10.1.0.20\n',
    ].join('\n');
  }
  const lines = found.flatMap((camera) => [...describe(camera), '']);
  const isLocked = found.some(({ problem }) => problem?.code === 'unauthorized');
  return `${[
    ...lines,
    `${counted(found.length, 'device')} answered.`,
    ...(isLocked ? ['Some want to know who asks: --user and --password say it.'] : []),
    "Next: headgate camera add 'rtsp://user:password@…' with the main address from above, and the",
    "sub one, if there is one, as --substream 'rtsp://user:password@…'.",
  ].join('\n')}\n`;
}

function describe({ host, port, name, hardware, facts, problem }: FoundCamera): readonly string[] {
  const model = facts === null ? hardware : `${facts.manufacturer} ${facts.model}`.trim();
  const shownHost = host.includes(':') ? `[${host}]` : host;
  const place = port === null || port === 80 ? shownHost : `${shownHost}:${port}`;
  const title = [place, model, name].filter((part) => part !== '').join('  ');
  if (facts === null) return [title, `  ✗ ${problem?.message ?? 'it told nothing'}`];
  if (facts.streams.length === 0) return [title, '  ✗ it has no stream that can be fetched'];
  return [title, ...facts.streams.map((stream) => `  ${streamLine(stream)}`)];
}

function streamLine({ kind, url, codec, width, height, framesPerSecond }: DeviceStream): string {
  const said = [
    ...(codec === null ? [] : [codec]),
    ...(width === null || height === null ? [] : [`${width} × ${height}`]),
    ...(framesPerSecond === null ? [] : [`${framesPerSecond} frames/s`]),
  ];
  return `${kind.padEnd(4)}  ${url}${said.length === 0 ? '' : `  (${said.join(', ')})`}`;
}
