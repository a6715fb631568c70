/*
 * The set-up, then one TypeScript program of the project that is no part of the gateway, as the
 * gateway itself would be started: its arguments, its exit code.
 */
'use strict';

const { spawn } = require('node:child_process');
const path = require('node:path');
const paths = require('./paths.cjs');
const { prepare } = require('./prepare.cjs');
const { unwatchSignals } = require('./run.cjs');
const { createSteps, main } = require('./steps.cjs');

/** @param {string} script relative to the project's folder */
function runScript(script) {
  main(async () => {
    const prepared = await prepare(createSteps(), { forTests: true });
    unwatchSignals();
    const env = { ...process.env, ...prepared.env };
    // Where Debian keeps mosquitto; not in everybody's PATH.
    env.PATH = [env.PATH, '/usr/sbin', '/sbin'].join(path.delimiter);
    const args = ['--import', 'tsx', path.join(paths.root, script), ...process.argv.slice(2)];
    const child = spawn(process.execPath, args, { cwd: paths.root, env, stdio: 'inherit' });
    child.on('exit', (code) => {
      process.exit(code ?? 1);
    });
  });
}

module.exports = { runScript };
