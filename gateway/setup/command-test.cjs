/*
 * `npm test`: the set-up, then the tests under test/. What follows `--` narrows them down (files
 * and folders) or goes to Node's test runner (options). mediasoup's worker is built beside the
 * tests; the one test that needs it waits for it.
 */
'use strict';

const { spawn } = require('node:child_process');
const os = require('node:os');
const path = require('node:path');
const { compileTests } = require('./compile-tests.cjs');
const paths = require('./paths.cjs');
const { prepare } = require('./prepare.cjs');
const { unwatchSignals } = require('./run.cjs');
const { listFiles } = require('./stamps.cjs');
const { SetupError, createSteps, main } = require('./steps.cjs');

/** No test takes this long; one that hangs must not hold the others up for ever. */
const TEST_MS_MAX = 25 * 60_000;

/** Files at a time. The long ones wait most of their time, so there are more than the fewest cores. */
const concurrency = Math.max(3, Math.floor(os.availableParallelism() / 2));

/** @param {readonly string[]} names files and folders, relative to the working folder */
function testFiles(names) {
  const places = names.length === 0 ? ['test'] : names.map((name) => relative(name));
  const files = listFiles(paths.root, places).filter((file) => file.endsWith('.test.ts'));
  if (files.length === 0) throw new SetupError(`There are no tests in ${places.join(', ')}.`);
  return files;
}

/** @param {string} name */
function relative(name) {
  return path.relative(paths.root, path.resolve(name));
}

/** Some way behind the tests, but not starved by them: one of them waits for it. */
function startWorkerBuild() {
  const niceness = String(os.constants.priority.PRIORITY_BELOW_NORMAL);
  const script = path.join(__dirname, 'build-worker.cjs');
  return spawn(process.execPath, [script, niceness], { stdio: 'inherit' });
}

main(async () => {
  const args = process.argv.slice(2);
  const options = args.filter((arg) => arg.startsWith('-'));
  const files = testFiles(args.filter((arg) => !arg.startsWith('-')));
  const prepared = await prepare(createSteps(), { forTests: true });
  unwatchSignals();
  const env = { ...process.env, ...prepared.env };
  // Where Debian keeps mosquitto and debootstrap; not in everybody's PATH.
  env.PATH = [env.PATH, '/usr/sbin', '/sbin'].join(path.delimiter);
  const compiled = await compileTests(files);
  const workerBuild = prepared.worker === 'to build' ? startWorkerBuild() : undefined;
  const runner = spawn(
    process.execPath,
    [
      ...['--enable-source-maps', '--test', '--test-reporter=spec'],
      `--test-concurrency=${String(concurrency)}`,
      `--test-timeout=${String(TEST_MS_MAX)}`,
      ...options,
      ...compiled,
    ],
    { cwd: paths.root, env, stdio: 'inherit' },
  );
  runner.on('exit', (code) => {
    workerBuild?.kill('SIGTERM');
    process.exit(code ?? 1);
  });
});
