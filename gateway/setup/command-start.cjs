/*
 * `npm start`: the set-up, then the gateway with the arguments that are left. The gateway's exit
 * code is ours. What WebRTC needs is built beside it once it serves, as it says by the message
 * { type: 'serving' } on the channel that it gets from here; HEADGATE_WEBRTC=off leaves that out.
 */
'use strict';

const { spawn } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');
const paths = require('./paths.cjs');
const { prepare } = require('./prepare.cjs');
const { unwatchSignals } = require('./run.cjs');
const { createSteps, main } = require('./steps.cjs');

/**
 * A Ctrl-C reaches us twice: from the terminal, and from npm, which passes it on. To the gateway
 * a second signal means "leave at once", so what comes this soon after another is the same one.
 */
const SAME_SIGNAL_MS = 500;

/**
 * SQLite, files, DNS and compression share libuv's pool, whose four threads a slow disk would hold
 * all at once. It has to be set before Node starts.
 */
function threadPoolSize() {
  return process.env.UV_THREADPOOL_SIZE ?? String(Math.max(16, 2 * os.availableParallelism()));
}

/**
 * What the engine may take for garbage. Under the limit that it would choose on a machine with much
 * memory, the heap grows to several times of what is in use. In a smaller nursery requests of
 * hundreds of records outlive their time, and it takes a search of the whole heap to be rid of them;
 * in a larger one buffers of what is read from cameras pile up. The gateway itself needs 100 MB. Who
 * sets other limits has them.
 */
function nodeOptions() {
  const heapMegabytesMax = Math.min(1024, Math.floor(os.totalmem() / 2 ** 21));
  const options = `--max-semi-space-size=16 --max-old-space-size=${heapMegabytesMax}`;
  return `${options} ${process.env.NODE_OPTIONS ?? ''}`.trim();
}

/** @returns {import('node:child_process').ChildProcess} */
function startWorkerBuild() {
  return spawn(process.execPath, [path.join(__dirname, 'build-worker.cjs')], {
    // Standard output is the gateway's log.
    stdio: ['ignore', 2, 2],
  });
}

/**
 * @param {import('./prepare.cjs').Prepared} prepared
 * @param {readonly string[]} args
 */
function runGateway(prepared, args) {
  const gateway = spawn(process.execPath, ['--enable-source-maps', paths.gatewayMain, ...args], {
    env: {
      ...process.env,
      ...prepared.env,
      NODE_OPTIONS: nodeOptions(),
      UV_THREADPOOL_SIZE: threadPoolSize(),
    },
    // Its own group, so that the terminal's Ctrl-C comes through here, once.
    detached: true,
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  /** @type {import('node:child_process').ChildProcess | undefined} */
  let workerBuild;
  let signalledMs = -Infinity;
  const signals = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);
  for (const signal of signals) {
    process.on(signal, () => {
      // SIGHUP is a reload, unless the terminal went away; then the gateway ends, and the build too.
      if (signal !== 'SIGHUP') workerBuild?.kill('SIGTERM');
      const nowMs = Date.now();
      if (nowMs - signalledMs >= SAME_SIGNAL_MS) gateway.kill(signal);
      signalledMs = nowMs;
    });
  }
  gateway.on('message', (/** @type {{ type?: unknown } | null} */ message) => {
    if (message?.type !== 'serving' || prepared.worker !== 'to build') return;
    workerBuild ??= startWorkerBuild();
  });
  gateway.on('error', (error) => {
    console.error(`[set-up] The gateway could not be started: ${error.message}`);
    process.exit(1);
  });
  gateway.on('exit', (code, signal) => {
    workerBuild?.kill('SIGTERM');
    if (signal === null) process.exit(code ?? 1);
    for (const one of signals) process.removeAllListeners(one);
    process.kill(process.pid, signal);
  });
}

main(async () => {
  const prepared = await prepare(createSteps());
  unwatchSignals();
  runGateway(prepared, process.argv.slice(2));
});
