/*
 * Runs other programs. Each gets a process group of its own, so that a time-out or a Ctrl-C ends
 * all that it started; what it prints goes to a log file, of which the end is shown on failure.
 */
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const paths = require('./paths.cjs');
const lock = require('./lock.cjs');

const TAIL_BYTES_MAX = 64 * 1024;

/** Process groups that must not outlive the set-up. @type {Set<number>} */
const groups = new Set();

/** @param {number} group @param {NodeJS.Signals} signal */
function signalGroup(group, signal) {
  try {
    process.kill(-group, signal);
  } catch {
    // It has ended in the meantime.
  }
}

/** Ways to stop watching. @type {(() => void)[]} */
const watched = [];

/** Passes the first signal on to all that runs, then dies of it. */
function watchSignals() {
  if (watched.length > 0) return;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    const onSignal = () => {
      for (const group of groups) signalGroup(group, 'SIGTERM');
      process.off(signal, onSignal);
      process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
    watched.push(() => process.off(signal, onSignal));
  }
}

/** Gives the signals back, for a command that handles them itself from here on. */
function unwatchSignals() {
  for (const undo of watched.splice(0)) undo();
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd] the project unless told
 * @property {NodeJS.ProcessEnv} [env] this process's unless told
 * @property {number} [timeoutMs] after which the whole group is killed; none unless told
 * @property {string} [log] name of the log file that is kept
 * @property {(line: string) => void} [onLine] sees every line of output
 *
 * @typedef {object} RunResult
 * @property {boolean} ok it ended by itself with 0
 * @property {number | null} code null: it could not be started, or a signal ended it
 * @property {string} output the last 64 KB of what it printed, or why it could not be started
 */

/**
 * Runs a program to its end; never rejects.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<RunResult>}
 */
function run(command, args, options = {}) {
  watchSignals();
  return new Promise((resolve) => {
    const log = openLog(options.log);
    const child = spawn(command, args, {
      cwd: options.cwd ?? paths.root,
      env: options.env ?? process.env,
      detached: true,
      // A killed set-up leaves its lock to the program that still works in its folder.
      stdio: ['ignore', 'pipe', 'pipe', ...lock.heldDescriptors()],
    });
    const { pid } = child;
    if (pid !== undefined) groups.add(pid);
    let output = '';
    const timer =
      options.timeoutMs === undefined || pid === undefined
        ? undefined
        : setTimeout(() => signalGroup(pid, 'SIGKILL'), options.timeoutMs);
    const eachLine = lineSplitter(options.onLine);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (/** @type {Buffer} */ data) => {
        if (log !== undefined) fs.writeSync(log, data);
        output = (output + data.toString()).slice(-TAIL_BYTES_MAX);
        eachLine(data.toString());
      });
    }
    let ended = false;
    /** @param {number | null} code @param {string} [problem] */
    const end = (code, problem) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      if (pid !== undefined) groups.delete(pid);
      if (log !== undefined) fs.closeSync(log);
      resolve({ ok: code === 0, code, output: problem ?? output });
    };
    child.on('error', (error) => end(null, error.message));
    child.on('close', (code) => end(code));
  });
}

/** @param {string | undefined} name */
function openLog(name) {
  if (name === undefined) return undefined;
  fs.mkdirSync(paths.logs, { recursive: true });
  return fs.openSync(logPath(name), 'w');
}

/** @param {string} name */
function logPath(name) {
  return path.join(paths.logs, `${name}.log`);
}

/** @param {((line: string) => void) | undefined} onLine */
function lineSplitter(onLine) {
  let rest = '';
  return (/** @type {string} */ text) => {
    if (onLine === undefined) return;
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(-TAIL_BYTES_MAX);
    for (const line of lines) onLine(line);
  };
}

/**
 * The last lines of a failed program's output, indented, and where the rest is.
 * @param {RunResult} result
 * @param {string} log
 */
function failure(result, log) {
  const lines = result.output.trimEnd().split('\n').slice(-25);
  return `${lines.map((line) => `  | ${line}`).join('\n')}\nAll that it printed: ${logPath(log)}`;
}

/**
 * Where a program is, as the shell would find it.
 * @param {string} program a name, or a path
 * @param {NodeJS.ProcessEnv} [env]
 * @returns {string | undefined}
 */
function which(program, env = process.env) {
  const folders = program.includes('/') ? [''] : (env.PATH ?? '').split(path.delimiter);
  return folders
    .map((folder) => (folder === '' ? program : path.join(folder, program)))
    .find((file) => {
      try {
        fs.accessSync(file, fs.constants.X_OK);
        return fs.statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

module.exports = { failure, run, unwatchSignals, which };
