/* The npm that belongs to this run: the one that started us, else the one beside this Node. */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { run, which } = require('./run.cjs');
const { SetupError } = require('./steps.cjs');

/** @returns {[command: string, firstArgs: string[]]} */
function npmCommand() {
  const running = process.env.npm_execpath;
  // Other package managers set the same variable.
  if (running !== undefined && path.basename(running) === 'npm-cli.js' && fs.existsSync(running)) {
    return [process.execPath, [running]];
  }
  const beside = path.join(path.dirname(process.execPath), 'npm');
  const found = fs.existsSync(beside) ? beside : which('npm');
  if (found === undefined) throw new SetupError('npm was not found: it comes with Node.js.');
  return [found, []];
}

/**
 * Runs npm with the person's own settings and registry.
 * @param {readonly string[]} args
 * @param {import('./run.cjs').RunOptions} [options]
 */
function npm(args, options) {
  const [command, firstArgs] = npmCommand();
  return run(command, [...firstArgs, ...args], options);
}

module.exports = { npm };
