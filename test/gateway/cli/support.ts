import { Readable } from 'node:stream';
import type { CliContext, GatewayStart, RunningGateway } from '../../../gateway/cli/context.ts';
import { ManualClock } from '../../support/manual-clock.ts';

/** A process to run commands in: what they print, and the signals they get. */
export class FakeProcess {
  readonly clock = new ManualClock();
  readonly log: { readonly level: string; readonly msg: string }[] = [];
  readonly #listeners = new Set<(signal: string) => void>();
  stdout = '';
  stderr = '';
  served = false;

  context(args: readonly string[], parts: Partial<CliContext> = {}): CliContext {
    return {
      args,
      env: {},
      folder: '/nonexistent',
      stdin: () => Readable.from([]),
      stdout: { write: (text) => (this.stdout += text) },
      stderr: { write: (text) => (this.stderr += text) },
      stdoutIsTerminal: false,
      logOutput: (line) => {
        this.log.push(JSON.parse(line) as { level: string; msg: string });
      },
      nodePath: '/usr/bin/node',
      nodeVersion: '20.19.0',
      pid: 4711,
      killGroup: () => undefined,
      clock: this.clock,
      fetch: () => Promise.reject(new Error('there is no network here')),
      onSignal: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      onExit: () => undefined,
      serving: () => {
        this.served = true;
      },
      loadGateway: () => Promise.reject(new Error('nothing is to be started here')),
      ...parts,
    };
  }

  signal(name = 'SIGTERM'): void {
    for (const listener of this.#listeners) listener(name);
  }

  get messages(): readonly string[] {
    return this.log.map(({ msg }) => msg);
  }
}

/** Something that a test waits for, or lets happen. */
class Moment<Value> {
  readonly promise: Promise<Value>;
  resolve: (value: Value) => void = () => undefined;
  reject: (error: Error) => void = () => undefined;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** A gateway whose start and close are in the test's hand. */
export class FakeGateway {
  readonly started = new Moment<undefined>();
  readonly asked = new Moment<GatewayStart>();
  readonly closeCalled = new Moment<undefined>();
  readonly closed = new Moment<undefined>();
  reloads = 0;

  readonly load = (): ReturnType<CliContext['loadGateway']> =>
    Promise.resolve({
      startGateway: async (start): Promise<RunningGateway> => {
        this.asked.resolve(start);
        await this.started.promise;
        return {
          reload: () => {
            this.reloads += 1;
            return Promise.resolve({ changed: [], needsRestart: [], withoutEffect: [] });
          },
          close: async () => {
            this.closeCalled.resolve(undefined);
            await this.closed.promise;
          },
        };
      },
    });
}
