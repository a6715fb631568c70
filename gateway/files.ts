/** The configured files: a supervised source for each, and what is said about how it is doing. */
import { isDeepStrictEqual } from 'node:util';
import { FileSource } from '../ingest/files/source.ts';
import type { FilesStatus } from '../ingest/files/status.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Store } from '../storage/store.ts';
import type { Config } from './config/schema.ts';
import type { SupervisedTask, Supervisor, TaskStatus } from './supervisor.ts';

export interface FileSourceStatus extends FilesStatus {
  readonly state: TaskStatus['state'];
  readonly lastError: string | null;
}

export interface Files {
  /** In the order of the configuration. */
  statuses(): readonly FileSourceStatus[];
  /**
   * Brings them in line with another configuration: those that differ are begun again. Their places
   * stay, also of those that are gone: one that is configured again goes on where it was.
   */
  update(files: Config['files']): Promise<void>;
}

export interface FilesOptions {
  readonly files: Config['files'];
  readonly store: Pick<Store, 'places'>;
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly random: () => number;
}

interface Running {
  readonly config: Config['files'][string];
  readonly source: FileSource;
  readonly task: SupervisedTask;
}

/** Starts a source for every entry. @throws FilesError for a pattern that is none */
export async function startFiles(options: FilesOptions): Promise<Files> {
  const { store, supervisor, clock, logger, metrics, random } = options;
  const running = new Map<string, Running>();
  let order: readonly string[] = [];
  const update = async (files: Config['files']): Promise<void> => {
    const stopped = [...running].filter(
      ([name, { config }]) =>
        !Object.hasOwn(files, name) || !isDeepStrictEqual(files[name], config),
    );
    await Promise.all(stopped.map(([, { task }]) => task.stop()));
    for (const [name] of stopped) running.delete(name);
    order = Object.keys(files);
    for (const [name, config] of Object.entries(files)) {
      if (running.has(name)) continue;
      const source = new FileSource({
        name,
        ...config,
        places: store.places,
        logger: logger.child({ files: name }),
        ...{ clock, metrics, random },
      });
      running.set(name, { config, source, task: supervisor.start(source) });
    }
  };
  await update(options.files);
  return {
    statuses: () =>
      order.flatMap((name) => {
        const one = running.get(name);
        if (one === undefined) return [];
        const { state, failure } = one.task.status();
        return [{ ...one.source.status(), state, lastError: failure?.message ?? null }];
      }),
    update,
  };
}
