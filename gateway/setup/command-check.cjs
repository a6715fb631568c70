/*
 * `npm run check`: format, lint and types of everything, each to its end, so that one run shows
 * all there is to mend. Needs the npm packages and nothing else of the set-up.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { installDependencies } = require('./dependencies.cjs');
const lock = require('./lock.cjs');
const paths = require('./paths.cjs');
const { unwatchSignals } = require('./run.cjs');
const { SetupError, createSteps, main } = require('./steps.cjs');

const tsc = 'typescript/bin/tsc';

/** @type {readonly (readonly [title: string, script: string, ...args: string[]])[]} */
const CHECKS = [
  ['Format (prettier)', 'prettier/bin/prettier.cjs', '--check', '.'],
  ['Lint (eslint)', 'eslint/bin/eslint.js', '.'],
  ['Types (tsc)', tsc, '--noEmit', '-p', 'tsconfig.json'],
  ['Types of the page (tsc)', tsc, '--noEmit', '-p', 'dashboards/tsconfig.json'],
  ['Types of the set-up (tsc)', tsc, '--noEmit', '-p', 'gateway/setup/tsconfig.json'],
];

/** @param {readonly string[]} args of Node @returns {Promise<boolean>} */
function passes(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: paths.root, stdio: 'inherit' });
    child.on('error', () => resolve(false));
    child.on('close', (code) => resolve(code === 0));
  });
}

/** Whether there is anything that the page's settings include yet. */
function hasPage() {
  return fs.existsSync(path.join(paths.root, 'dashboards/index.html'));
}

main(async () => {
  const steps = createSteps();
  const release = await lock.acquire('set-up', () =>
    steps.note('Another set-up works in this folder: waiting for it …'),
  );
  await installDependencies(steps);
  release();
  unwatchSignals();
  const failed = [];
  for (const [title, script, ...args] of CHECKS) {
    if (args.includes('dashboards/tsconfig.json') && !hasPage()) continue;
    const check = () => passes([path.join(paths.nodeModules, script), ...args]);
    const outcome = (/** @type {boolean} */ ok) => (ok ? 'passed' : 'FAILED');
    if (!(await steps.run(title, check, outcome))) failed.push(title);
  }
  if (failed.length > 0) throw new SetupError(`Failed: ${failed.join(', ')}.`);
  steps.note('All checks passed.');
});
