#!/usr/bin/env node
/** The process: arguments, environment, streams, signals and the exit code. All else takes them. */
import { isatty } from 'node:tty';
import { systemClock } from '../storage/clock.ts';
import { runCli } from './cli/cli.ts';
import type { GatewayModule } from './cli/context.ts';

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const onTerminal = isatty(1);

// Its advice about later versions of Node would stand between our lines; package.json says ours.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

for (const stream of [process.stdout, process.stderr]) {
  // The reader of a pipe went away, as `head` does: that is no reason to fall over.
  stream.on('error', () => undefined);
}

process.exitCode = await runCli({
  args: process.argv.slice(2),
  env: process.env,
  folder: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutIsTerminal: onTerminal,
  logOutput: 1,
  nodePath: process.execPath,
  nodeVersion: process.versions.node,
  pid: process.pid,
  clock: systemClock,
  fetch,
  onSignal: (listener) => {
    const heard = (signal: NodeJS.Signals): void => {
      // SIGHUP means "load the configuration again", unless it says that the terminal is gone.
      listener(signal === 'SIGHUP' && onTerminal && !isatty(1) ? 'SIGTERM' : signal);
    };
    for (const signal of signals) process.on(signal, heard);
    // The start script passes signals on; once it is dead, nobody could stop this process so.
    const orphaned = (): void => listener('SIGTERM');
    process.on('disconnect', orphaned);
    process.channel?.unref();
    return () => {
      for (const signal of signals) process.off(signal, heard);
      process.off('disconnect', orphaned);
    };
  },
  onExit: (listener) => {
    process.on('exit', listener);
  },
  serving: () => {
    // The start script waits for this word before it builds what is not needed for serving.
    process.send?.({ type: 'serving' });
  },
  loadGateway: (): Promise<GatewayModule> => import('./gateway.ts'),
});
// What is left over, a hung connection say, must not hold the process.
process.exit();
