/** The configured functions that get the records of streams (event-sources/event-source.ts). */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Config } from './config/schema.ts';
import { unpinRemoved } from './event-sources/applications.ts';
import { EventSource, type EventSourceStatus } from './event-sources/event-source.ts';
import type { EventSourceOptions } from './event-sources/options.ts';
import type { Account } from './forward/record-plans.ts';
import { Supervisor } from './supervisor.ts';

export interface EventSourcesOptions {
  readonly functions: Config['functions'];
  readonly log: Log;
  readonly gatewayId: string;
  readonly account: Account;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** 0 inclusive to 1 exclusive */
  readonly random: () => number;
}

export interface EventSources {
  /** In the order of the configuration. @throws StorageError */
  status(): Promise<readonly EventSourceStatus[]>;
  /** Brings them in line with another configuration: those that differ are begun again. */
  update(functions: Config['functions']): Promise<void>;
  /** Calls off what is under way. Twice is harmless. */
  close(): Promise<void>;
}

interface Running {
  readonly options: EventSourceOptions;
  readonly source: EventSource;
}

/** Starts one for every entry. @throws StorageError */
export async function startEventSources(options: EventSourcesOptions): Promise<EventSources> {
  const { log, gatewayId, clock, logger, metrics, random } = options;
  const supervisor = new Supervisor({ clock, logger, metrics, random });
  const owner = `${gatewayId}/${Math.floor(random() * 2 ** 48).toString(16)}`;
  let running: readonly Running[] = [];
  let isClosed = false;
  const start = (wanted: EventSourceOptions): Running => ({
    options: wanted,
    source: new EventSource(wanted, { ...options, owner, supervisor }),
  });
  const update = async (functions: Config['functions']): Promise<void> => {
    const wanted = Object.entries(functions).map(([name, entry]) => ({ name, ...entry }));
    const same = (one: EventSourceOptions): Running | undefined =>
      running.find(({ options: other }) => isDeepStrictEqual(one, other));
    const kept = new Set(wanted.map(same));
    await Promise.all(running.filter((one) => !kept.has(one)).map(({ source }) => source.close()));
    if (isClosed) return;
    await unpinRemoved(log, wanted, logger);
    running = wanted.map((one) => same(one) ?? start(one));
  };
  await update(options.functions);
  return {
    status: () => Promise.all(running.map(({ source }) => source.status())),
    update,
    close: async () => {
      isClosed = true;
      await Promise.all(running.map(({ source }) => source.close()));
      await supervisor.close();
    },
  };
}
