/** The configured hooks: programs that look at cameras, and whose answers are kept (hooks/hook.ts). */
import { isDeepStrictEqual } from 'node:util';
import type { Log, VideoStore } from '../storage/model.ts';
import type { Clock, Logger, Metrics } from '../storage/ports.ts';
import type { Config } from './config/schema.ts';
import type { Environment } from './config/substitute.ts';
import { askCommand } from './hooks/command.ts';
import { Hook } from './hooks/hook.ts';
import { askHttp } from './hooks/http.ts';
import { askLambda } from './hooks/lambda.ts';
import type { Ask } from './hooks/target.ts';
import type { Images } from './media/images.ts';

export interface HooksOptions {
  readonly hooks: Config['hooks'];
  readonly video: VideoStore;
  readonly images: Pick<Images, 'imageOf'>;
  readonly log: Pick<Log, 'append'>;
  /** What commands see of it is said in hooks/command.ts. */
  readonly env: Environment;
  /** Kills a process group; nothing where there is none. */
  readonly killGroup: (pid: number) => void;
  readonly fetch: typeof fetch;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

export interface Hooks {
  /** Those whose last answer was none, and why. */
  troubles(): readonly { readonly name: string; readonly trouble: string }[];
  /** Brings them in line with another configuration: those that differ are begun again. */
  update(hooks: Config['hooks']): Promise<void>;
  /** Ends what is under way. Twice is harmless. */
  close(): Promise<void>;
}

interface Running {
  readonly config: Config['hooks'][string];
  readonly hook: Hook;
}

/** Starts one for every entry. @throws StorageError `not-found` for a camera that is not there */
export async function startHooks(options: HooksOptions): Promise<Hooks> {
  const running = new Map<string, Running>();
  const stop = async (isGone: (name: string, config: Running['config']) => boolean) => {
    const stopped = [...running].filter(([name, { config }]) => isGone(name, config));
    for (const [name] of stopped) running.delete(name);
    await Promise.all(stopped.map(([, { hook }]) => hook.close()));
  };
  const update = async (hooks: Config['hooks']): Promise<void> => {
    await stop(
      (name, config) => !Object.hasOwn(hooks, name) || !isDeepStrictEqual(hooks[name], config),
    );
    for (const [name, config] of Object.entries(hooks)) {
      if (running.has(name)) continue;
      const hook = new Hook({ ...options, name, config, ask: askOf(config, options) });
      running.set(name, { config, hook });
    }
  };
  await update(options.hooks);
  const troubles = (): ReturnType<Hooks['troubles']> =>
    [...running].flatMap(
      ([
        name,
        {
          hook: { trouble },
        },
      ]) => (trouble === null ? [] : [{ name, trouble }]),
    );
  return { update, troubles, close: () => stop(() => true) };
}

function askOf({ to, timeoutSeconds }: Running['config'], options: HooksOptions): Ask {
  if ('http' in to) return askHttp(to.http, options.fetch);
  if ('lambda' in to) return askLambda(to.lambda, options);
  return askCommand(to.command, { ...options, timeoutSeconds });
}
