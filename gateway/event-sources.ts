/** The configured functions that get the records of streams (event-sources/event-source.ts). */
import { isDeepStrictEqual } from 'node:util';
import type { Log, VideoStore } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Config } from './config/schema.ts';
import { forgetRemoved, unpinRemoved } from './event-sources/applications.ts';
import { EventSource, type EventSourceStatus } from './event-sources/event-source.ts';
import type { EventSourceOptions } from './event-sources/options.ts';
import { RemovedEventSources, type RemovedEventSource } from './event-sources/removed.ts';
import type { RewindTo } from './forward/flow/rewind.ts';
import { InTurn } from './forward/in-turn.ts';
import type { Account } from './forward/record-plans.ts';
import { Supervisor } from './supervisor.ts';

export interface EventSourcesOptions {
  readonly functions: Config['functions'];
  readonly log: Log;
  readonly video: VideoStore;
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
  /** Those that are no longer configured, and of which something is left. @throws StorageError */
  removed(): Promise<readonly RemovedEventSource[]>;
  /** Holds one back until it is resumed. @returns null: there is none of that name @throws StorageError */
  pause(name: string): Promise<EventSourceStatus | null>;
  /** @throws StorageError */
  resume(name: string): Promise<EventSourceStatus | null>;
  /** Has one begin anew elsewhere in its stream. @throws StorageError */
  rewind(name: string, to: RewindTo): Promise<EventSourceStatus | null>;
  /**
   * Hands over again what one has given up by now; it goes on by itself.
   * @returns how many batches that are; `nothing-kept`: it has no dead letter; null: there is none of
   *   that name
   * @throws StorageError, SinkError
   */
  replay(name: string): Promise<number | 'nothing-kept' | null>;
  /** Lets go of what one that is no longer configured has left: how far it had come. */
  forget(name: string): Promise<'forgotten' | 'configured' | 'unknown'>;
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
  const { log, video, gatewayId, clock, logger, metrics, random } = options;
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
  const configured = (): readonly EventSourceOptions[] => running.map((one) => one.options);
  const removed = new RemovedEventSources({ log, video, clock });
  const named = (name: string): EventSource | null =>
    running.find(({ options: { name: other } }) => other === name)?.source ?? null;
  /** Nothing is forgotten or steered while it is begun or ended. */
  const turns = new InTurn();
  const having = (
    name: string,
    work: (source: EventSource) => Promise<void>,
  ): Promise<EventSourceStatus | null> =>
    turns.run(async () => {
      const source = named(name);
      if (source === null) return null;
      await work(source);
      return source.status();
    });
  return {
    status: () => Promise.all(running.map(({ source }) => source.status())),
    removed: () => removed.list(configured()),
    pause: (name) => having(name, (source) => source.pause()),
    resume: (name) => having(name, (source) => source.resume()),
    rewind: (name, to) => having(name, (source) => source.rewind(to)),
    replay: (name) =>
      turns.run(async () => {
        const source = named(name);
        return source === null ? null : ((await source.replay()) ?? 'nothing-kept');
      }),
    forget: (name) => turns.run(() => forgetRemoved({ log, video }, configured(), name)),
    update: (functions) => turns.run(() => update(functions)),
    close: async () => {
      isClosed = true;
      await Promise.all(running.map(({ source }) => source.close()));
      await supervisor.close();
    },
  };
}
