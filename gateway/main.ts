#!/usr/bin/env node
/** The process: arguments, environment, streams, signals and the exit code. All else takes them. */
import { writeSync } from 'node:fs';
import { isatty } from 'node:tty';
import { setFlagsFromString } from 'node:v8';
import { systemClock } from '../storage/clock.ts';
import { runCli } from './cli/cli.ts';
import type { GatewayModule } from './cli/context.ts';
import { maskUrls } from './observe/mask.ts';

const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
const onTerminal = isatty(1);

// Its advice about later versions of Node would stand between our lines; package.json says ours.
process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';

// By itself the engine searches the whole heap each time it has grown by about a tenth, which a dozen
// requests of hundreds of records make it do: a third of their cost. NODE_OPTIONS may not say this.
setFlagsFromString('--heap-growing-percent=100');

// A mistake of ours ends the process, as it would by itself; but its last words are masked, since
// the message of an error may hold an address with a password.
process.on('uncaughtException', (error) => {
  for (const part of causes(error)) writeSync(2, `headgate: ${maskUrls(part)}\n`);
  process.exit(1);
});

for (const stream of [process.stdout, process.stderr]) {
  // The reader of a pipe went away, as `head` does: that is no reason to fall over.
  stream.on('error', () => undefined);
}

process.exitCode = await runCli({
  args: process.argv.slice(2),
  env: process.env,
  folder: process.cwd(),
  // Asked for only by what reads it: whoever merely looks at it holds it open.
  stdin: () => process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  stdoutIsTerminal: onTerminal,
  logOutput: 1,
  nodePath: process.execPath,
  nodeVersion: process.versions.node,
  pid: process.pid,
  killGroup: (pid) => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // All of it is gone.
    }
  },
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
// Into a pipe, what was written may still be on its way.
for (const stream of [process.stdout, process.stderr]) {
  await new Promise<void>((resolve) => stream.write('', () => resolve()));
}
// What is left over, a hung connection say, must not hold the process.
process.exit();

/** The traces of an error, and of what it was caused by. */
function* causes(error: unknown): Generator<string> {
  for (let left = 5, one = error; left > 0 && one !== undefined && one !== null; left -= 1) {
    yield one instanceof Error ? (one.stack ?? one.message) : `thrown: ${JSON.stringify(one)}`;
    one = one instanceof Error ? one.cause : null;
  }
}
