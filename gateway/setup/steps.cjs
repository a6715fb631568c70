/*
 * What the set-up says. Each step is announced before it starts, with its reason, and says how
 * long it took; a set-up that has nothing to do says so in one line. It speaks on standard error:
 * standard output is the gateway's, and may be read by a program.
 */
'use strict';

const { performance } = require('node:perf_hooks');

/** A failure that the person can act on: its message is all that is shown of it. */
class SetupError extends Error {}

/** @param {number} startedMs as performance.now() gave it */
function since(startedMs) {
  const seconds = (performance.now() - startedMs) / 1000;
  return seconds < 60
    ? `${seconds.toFixed(1)} s`
    : `${String(Math.floor(seconds / 60))} min ${String(Math.round(seconds % 60))} s`;
}

/** @param {(line: string) => void} [write] takes one line without its end */
function createSteps(write = (line) => console.error(line)) {
  const startedMs = performance.now();
  let done = 0;
  /** @param {string} text */
  const note = (text) => {
    for (const line of text.split('\n')) write(line === '' ? '' : `[set-up] ${line}`);
  };
  return {
    note,
    /**
     * Announces a step, runs it and says how long it took.
     * @template T
     * @param {string} announcement what is done and why
     * @param {() => Promise<T>} action
     * @param {(result: T) => string} [outcome] how the result reads; "done" unless told
     * @returns {Promise<T>}
     */
    async run(announcement, action, outcome = () => 'done') {
      done += 1;
      note(`${announcement} …`);
      const stepStartedMs = performance.now();
      const result = await action();
      note(`  ${outcome(result)} (${since(stepStartedMs)})`);
      return result;
    },
    /** The last line of the set-up. */
    finish() {
      const took = since(startedMs);
      note(done === 0 ? `Everything is in place (${took}).` : `Set-up finished in ${took}.`);
    },
  };
}

/**
 * Runs a command's whole work; a SetupError ends the process with its message and exit code 1,
 * anything else is a defect and shows its stack.
 * @param {() => Promise<void>} work
 */
function main(work) {
  work().catch((error) => {
    if (error instanceof SetupError) console.error(`[set-up] ${error.message}`);
    else console.error(error);
    process.exit(1);
  });
}

/** @typedef {ReturnType<typeof createSteps>} Steps */

module.exports = { SetupError, createSteps, main, since };
