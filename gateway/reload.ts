/**
 * Takes a changed configuration over while the gateway runs: by SIGHUP, `headgate reload`,
 * `POST /api/v1/reload`, or because a file changed (config/watch.ts).
 *
 * Invariants:
 * - A file that can't be used changes nothing: what was in force stays, every problem is logged,
 *   and `trouble` says so until a load succeeds.
 * - Nor does one with nothing in it, unless the gateway was started so: an editor or a full disk may
 *   have cut it short, and taking it over would dismiss every camera and delivery.
 * - One reload at a time; further ones wait for their turn.
 * - A part that fails to take its change over leaves the old configuration in force as a whole:
 *   the next reload tells every part again. So `apply` compares with what its part really runs.
 * - What takes a restart (config/changes.ts) is named in every answer until the gateway has been
 *   restarted, or the file says again what it said at the start.
 */
import { basename } from 'node:path';
import type { Logger } from '../storage/ports.ts';
import { changedKeys, needsRestart } from './config/changes.ts';
import type { ConfigResult, FileRead } from './config/load.ts';
import { ConfigError, problem, showProblem, type Problem } from './config/problems.ts';
import type { Config } from './config/schema.ts';

export interface ReloadResult {
  /** What was taken over, such as `cameras.front` or `mqtt.users`. */
  readonly changed: readonly string[];
  /** What differs from what runs and is taken over by a restart only, such as `http.port`. */
  readonly needsRestart: readonly string[];
  /** What is written and nothing comes of, a sentence each. */
  readonly withoutEffect: readonly string[];
}

export interface ReloaderOptions {
  /** What the gateway was started with, and from which files. */
  readonly config: Config;
  readonly files: readonly FileRead[];
  /** The file had nothing in it. */
  readonly isEmpty: boolean;
  readonly load: () => Promise<ConfigResult>;
  /** Brings the running parts in line with a configuration; comparing is theirs. */
  readonly apply: (config: Config) => Promise<void>;
  /** What else waits for a restart. */
  readonly alsoWaiting: () => readonly string[];
  /** What of a configuration in force nothing comes of; left out: nothing. */
  readonly withoutEffect?: (config: Config) => readonly string[];
  readonly logger: Logger;
}

export class Reloader {
  readonly #options: ReloaderOptions;
  readonly #started: Config;
  #inForce: Config;
  /** Of the newest attempt, successful or not. */
  #files: readonly FileRead[];
  #trouble: string | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.#started = options.config;
    this.#inForce = options.config;
    this.#files = options.files;
  }

  /** What the newest load read: what to watch. */
  get files(): readonly FileRead[] {
    return this.#files;
  }

  /** Why the configuration in force is not the one that is written; null when it is. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** @throws ConfigError for a file that can't be used; what a part throws that can't follow */
  reload(): Promise<ReloadResult> {
    return this.#inTurn(async () => this.#take(await this.#options.load()));
  }

  /** As `reload`, where a file was written: null when it holds what it held the last time. */
  reloadIfChanged(): Promise<ReloadResult | null> {
    return this.#inTurn(async () => {
      const result = await this.#options.load();
      return sameFiles(result.files, this.#files) ? null : this.#take(result);
    });
  }

  /** Begins no further reload, and waits for the one that is under way. Twice is harmless. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => {
      if (this.#closed) throw new Error('the gateway is closing');
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #take(result: ConfigResult): Promise<ReloadResult> {
    const { logger, apply } = this.#options;
    this.#files = result.files;
    if (!result.ok) throw this.#refused(result.problems);
    if (result.isEmpty && !this.#options.isEmpty) throw this.#refused([nothingWritten(result)]);
    const changed = changedKeys(this.#inForce, result.config).filter((key) => !needsRestart(key));
    try {
      await apply(result.config);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#trouble = `it could not be taken over: ${reason}`;
      logger.error({ error, changed }, 'the configuration could not be taken over');
      throw error;
    }
    this.#inForce = result.config;
    this.#trouble = null;
    const waiting = [
      ...changedKeys(this.#started, result.config).filter(needsRestart),
      ...this.#options.alsoWaiting(),
    ];
    logger.info({ changed, needsRestart: waiting }, 'the configuration was loaded again');
    const withoutEffect = this.#options.withoutEffect?.(result.config) ?? [];
    for (const remark of withoutEffect) logger.warn({}, remark);
    return { changed, needsRestart: waiting, withoutEffect };
  }

  /** Everything stays as it was, and it is said why. */
  #refused(problems: readonly Problem[]): ConfigError {
    const { logger } = this.#options;
    for (const found of problems) {
      logger.error({ problem: showProblem(found) }, 'the configuration has a problem');
    }
    logger.error({ problems: problems.length }, 'the configuration stays as it was');
    const [first] = problems;
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
    this.#trouble = `it has ${count}, so the one before stays in force: ${first === undefined ? '' : showProblem(first)}`;
    return new ConfigError(problems);
  }
}

function nothingWritten({ files }: ConfigResult): Problem {
  const name = basename(files[0]?.path ?? 'the file');
  const message = `${name} has nothing in it, or comments alone: to run without anything configured, restart the gateway`;
  return problem({ kind: 'default' }, '', message);
}

function sameFiles(some: readonly FileRead[], others: readonly FileRead[]): boolean {
  const print = (files: readonly FileRead[]): string =>
    files.map(({ path, digest }) => `${path}\0${digest ?? ''}`).join('\n');
  return print(some) === print(others);
}
