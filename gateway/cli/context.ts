/**
 * What the commands get from the process, so that none of them touches it: main.ts fills this in,
 * tests put in what they like.
 */
import type { ConfigResult, FileRead } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { Environment } from '../config/substitute.ts';
import type { GatewayLogger } from '../observe/logger.ts';
import type { PrometheusMetrics } from '../observe/metrics.ts';
import type { ReloadResult } from '../reload.ts';
import type { Clock } from '../../storage/ports.ts';

export const exitCodes = { done: 0, failed: 1, usage: 2, configuration: 78 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export interface Output {
  /** @param written called once the text is out, or with why it can't be */
  write(text: string, written?: (error?: Error | null) => void): unknown;
}

export interface CliContext {
  /** What comes after the name of the program. */
  readonly args: readonly string[];
  readonly env: Environment;
  /** The working folder; absolute. */
  readonly folder: string;
  /** Standard input, from where it is read on. */
  stdin(): AsyncIterable<Buffer>;
  readonly stdout: Output;
  readonly stderr: Output;
  /** A person reads stdout. */
  readonly stdoutIsTerminal: boolean;
  /** Where the log goes: a file descriptor, or what takes its lines. */
  readonly logOutput: number | ((line: string) => void);
  /** The program that runs this, Node.js; absolute. */
  readonly nodePath: string;
  /** Of Node.js, without the v. */
  readonly nodeVersion: string;
  /** Of this process; tells others who holds the store. */
  readonly pid: number;
  /** Kills a process group of ours at once; nothing where there is none any more. */
  readonly killGroup: (pid: number) => void;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  /** Calls back for every SIGTERM, SIGINT and SIGHUP; returns how to stop. */
  onSignal(listener: (signal: string) => void): () => void;
  /** Calls back, synchronously, when the process ends for whatever reason. */
  onExit(listener: () => void): void;
  /** Tells whoever started the process that it serves now. */
  serving(): void;
  /** The gateway itself, loaded only by the command that runs it. */
  loadGateway(): Promise<GatewayModule>;
}

// ---------------------------------------------------------------- what `run` runs

export interface GatewayModule {
  /** Starts everything; rejects, with all closed again, when a part of it can't start. */
  readonly startGateway: (start: GatewayStart) => Promise<RunningGateway>;
}

export interface GatewayStart {
  readonly config: Config;
  /**
   * There is no configuration file, so the gateway demonstrates itself. `config` has the defaults
   * and the environment then; `folder` and `env` are for loading another one over them.
   */
  readonly demonstration: boolean;
  /** What relative paths of a configuration start from; absolute. */
  readonly folder: string;
  readonly env: Environment;
  /** The files that the configuration was made of; none in the demonstration. */
  readonly files: readonly FileRead[];
  /** The file has nothing in it, or comments alone. */
  readonly isEmpty: boolean;
  /** Loads the same configuration once more. */
  readonly load: () => Promise<ConfigResult>;
  readonly version: string;
  readonly pid: number;
  /** Kills a process group at once; nothing where there is none any more. */
  readonly killGroup: (pid: number) => void;
  /** The folder of package.json; absolute. */
  readonly packageFolder: string;
  readonly clock: Clock;
  readonly logger: GatewayLogger;
  readonly metrics: PrometheusMetrics;
  /** Whether a person reads those lines, so that passwords may be among them. */
  readonly showsSecrets: boolean;
  /** A line for the person who started the gateway: addresses, the login link. Not for the log. */
  readonly announce: (line: string) => void;
}

export interface RunningGateway {
  /**
   * Loads the configuration again and takes over what can be taken over (gateway/reload.ts).
   * @throws ConfigError for a file that can't be used: everything stays as it was
   */
  reload(): Promise<ReloadResult>;
  /** Finishes what is under way and closes everything. Twice is harmless. */
  close(): Promise<void>;
}
