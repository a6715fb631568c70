import { randomInt } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { accessFolder } from '../../gateway/security/access-files.ts';
import { Tokens } from '../../gateway/security/tokens.ts';
import { systemClock } from '../../storage/clock.ts';
import { localMasterKey, parseMasterKey } from '../../storage/keys.ts';
import type { MasterKeys } from '../../storage/store.ts';
import { startChild, type Child } from './child.ts';
import { LONGEST_WAIT_MS, within } from './deadline.ts';
import type { Scope } from './scope.ts';
import { ffmpegPath } from './tools.ts';

const mainPath = resolve(import.meta.dirname, '../../gateway/main.ts');

const handedOutPorts = new Set<number>();

/**
 * A port that nothing listens on just now, for what must keep it over restarts. It lies below those
 * that Linux gives to connections and to who asks for any port (from 32768), so that nobody else
 * comes by it meanwhile, and no two calls of a process get the same.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_768);
    if (handedOutPorts.has(port)) continue;
    handedOutPorts.add(port);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

const compiler = createRequire(import.meta.url)('../../gateway/setup/compile.cjs') as {
  isCompiled(): boolean;
};

/** What is compiled starts four times as fast, but it counts only while the sources are the same. */
const program: readonly string[] = compiler.isCompiled()
  ? [resolve(import.meta.dirname, '../../dist/gateway/main.js')]
  : ['--import', import.meta.resolve('tsx'), mainPath];

/** How to start `headgate` with these arguments as a program of its own. */
export function headgateCommand(...args: readonly string[]): [string, string[]] {
  return [process.execPath, [...program, ...args]];
}

/** For who opens the data folder of a gateway that is not running: the key that it made there. */
export function masterKeysIn(dataFolder: string): () => Promise<MasterKeys> {
  return async () => {
    const text = await readFile(join(accessFolder(dataFolder), 'master.key'), 'utf8');
    const key = parseMasterKey(text);
    if (key === null) throw new Error('there is no master key in its file');
    return { current: localMasterKey(key), previous: [] };
  };
}

/** A whole gateway as a process of its own, that keeps its ports and its data over restarts. */
export class GatewayProcess {
  readonly folder: string;
  readonly dataFolder: string;
  readonly httpPort: number;
  readonly mqttPort: number;
  readonly rtspPort: number;
  readonly mqttTlsPort: number;
  #context: Scope;
  #child: Child | null = null;
  #token: string | null = null;

  private constructor(context: Scope, folder: string, ports: readonly number[]) {
    this.#context = context;
    this.folder = folder;
    this.dataFolder = join(folder, 'data');
    [this.httpPort = 0, this.mqttPort = 0, this.rtspPort = 0, this.mqttTlsPort = 0] = ports;
  }

  /**
   * Writes the configuration and starts the gateway.
   * @param sections YAML: everything but the listeners, which get free ports
   */
  static async start(
    context: Scope,
    folder: string,
    sections: string,
    mqttUsers = '[{ username: device, password: device-password }]',
    mqttRoutes = '[]',
    rtspReaders = '[]',
  ): Promise<GatewayProcess> {
    const ports = [await freePort(), await freePort(), await freePort(), await freePort()];
    const gateway = new GatewayProcess(context, folder, ports);
    const mqttPorts = `port: ${gateway.mqttPort}, tlsPort: ${gateway.mqttTlsPort}`;
    const listeners = [
      `http: { port: ${gateway.httpPort} }`,
      `rtsp: { port: ${gateway.rtspPort}, tlsPort: 0, readers: ${rtspReaders} }`,
      'webrtc: { port: 0 }',
      `mqtt: { ${mqttPorts}, users: ${mqttUsers}, routes: ${mqttRoutes} }`,
    ];
    await writeFile(join(folder, 'headgate.yaml'), `${listeners.join('\n')}\n${sections}\n`);
    await gateway.restart();
    return gateway;
  }

  get child(): Child {
    if (this.#child === null) throw new Error('the gateway was not started');
    return this.#child;
  }

  /** Starts it (again); resolves when it serves. */
  async restart(): Promise<void> {
    const [command, args] = headgateCommand('run');
    this.#child = startChild(this.#context, command, args, {
      cwd: this.folder,
      env: {
        ...process.env,
        // As `npm start` has it; the checkout's own settings must not reach into the test's.
        NODE_OPTIONS: '--max-semi-space-size=16 --max-old-space-size=1024',
        UV_THREADPOOL_SIZE: '16',
        HEADGATE_FFMPEG_PATH: ffmpegPath,
        TSX_TSCONFIG_PATH: resolve(import.meta.dirname, '../../tsconfig.json'),
      },
    });
    await this.#child.line(/"msg":"serving"|"message":"serving"| serving/);
    this.#token ??= await this.#makeToken();
  }

  /** As `headgate token` does, without a process of its own. */
  async #makeToken(): Promise<string> {
    const folder = join(this.dataFolder, 'access');
    return (await Tokens.open({ folder, clock: systemClock })).createToken();
  }

  /** kill -9, at once. */
  async kill(): Promise<void> {
    await this.child.stop('SIGKILL');
  }

  /** SIGTERM, and the exit code. */
  async stop(): Promise<number | null> {
    await this.child.stop('SIGTERM');
    return (await this.child.exited).code;
  }

  get token(): string {
    if (this.#token === null) throw new Error('the gateway was not started');
    return this.#token;
  }

  /** What the gateway printed for a person to log in with; good once. */
  get loginLink(): string {
    const links = this.child.lines.map((line) => /\bhttp:\S+\/login\?token=\S+/.exec(line)?.[0]);
    const link = links.find((found) => found !== undefined);
    if (link === undefined) throw new Error('no link was printed');
    return link;
  }

  get url(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  /** The process that WebRTC runs in, by what the gateway logs; waits for the first session. */
  async webRtcProcess(): Promise<number> {
    const [line] = await this.child.line(/^.*WebRTC is served.*$/);
    return Number(/"process":(\d+)/.exec(line)?.[1]);
  }

  fetch(path: string): Promise<Response> {
    return fetch(`${this.url}${path}`, { headers: { authorization: `Bearer ${this.token}` } });
  }

  /** The answer of the REST API, as the type that the caller knows it has. */
  async get<T>(path: string): Promise<T> {
    const response = await this.fetch(`/api/v1${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  }

  /** Asks again and again, until the answer is as wanted. */
  async until<T>(path: string, wanted: (answer: T) => boolean): Promise<T> {
    const endMs = Date.now() + LONGEST_WAIT_MS;
    for (;;) {
      const answer = await within(this.get<T>(path), () => `no answer to ${path}`);
      if (wanted(answer)) return answer;
      if (Date.now() > endMs) {
        throw new Error(`${path} is still ${JSON.stringify(answer)}, not as ${String(wanted)}`);
      }
      await new Promise((wake) => setTimeout(wake, 100));
    }
  }
}
