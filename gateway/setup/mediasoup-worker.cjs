/*
 * mediasoup's worker: the native program that WebRTC runs in. It is at one fixed place, where it
 * appears whole when it is ready; the gateway is told that place (MEDIASOUP_WORKER_BIN, which is
 * mediasoup's own variable) from the start, and serves everything else until then.
 *
 * Ways to get it: the one that the person names, the project's own binary, mediasoup-worker/Makefile.
 */
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { installedVersion } = require('./dependencies.cjs');
const lock = require('./lock.cjs');
const paths = require('./paths.cjs');
const { failure, run } = require('./run.cjs');
const { hashFiles, isStamped, listFiles, stamp } = require('./stamps.cjs');
const { SetupError } = require('./steps.cjs');

const recipe = path.join(__dirname, 'mediasoup-worker');
const folder = path.join(paths.build, 'mediasoup-worker');
const objects = path.join(folder, 'unfinished');
const workerPath = path.join(folder, 'mediasoup-worker');
const stampFile = path.join(folder, 'made-for');

/** Asked without the variable that mediasoup sets, the worker says so with this exit code. */
const ALIVE_EXIT_CODE = 41;

/** Some files of the worker take a gigabyte to compile. */
const BUILD_BYTES_PER_JOB = 1024 ** 3;

/** Which worker this must be; a change of mediasoup or of the recipe makes another one. */
function key() {
  const recipeHash = hashFiles(recipe, listFiles(recipe, ['.']));
  const parts = [installedVersion('mediasoup'), process.platform, process.arch, recipeHash];
  return createHash('sha256').update(parts.join(' ')).digest('hex');
}

/** @param {string} program */
async function runsHere(program) {
  return (await run(program, [], { env: {}, timeoutMs: 10_000 })).code === ALIVE_EXIT_CODE;
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<boolean>}
 * @throws {SetupError} when the person named a worker that does not run
 */
async function isReady(env) {
  const named = env.MEDIASOUP_WORKER_BIN ?? '';
  if (named === '' || named === workerPath) {
    return isStamped(stampFile, key()) && (await runsHere(workerPath));
  }
  if (await runsHere(named)) return true;
  throw new SetupError(
    `MEDIASOUP_WORKER_BIN is ${named}, which is not a mediasoup worker that runs here: ` +
      'correct it, or unset it to have one made.',
  );
}

/**
 * Puts a finished program in its place, if it runs here.
 * @param {string} program
 */
async function accept(program) {
  if (!(await runsHere(program))) return false;
  fs.rmSync(stampFile, { force: true });
  fs.renameSync(program, workerPath);
  stamp(stampFile, key());
  return true;
}

/** The address of the binary, as mediasoup's own install script makes it. */
function downloadAddress() {
  const file = path.join(paths.nodeModules, 'mediasoup/package.json');
  const { repository, version } = JSON.parse(fs.readFileSync(file, 'utf8'));
  const releases = repository.url.replace(/^git\+/, '').replace(/\.git$/, '/releases/download');
  const kernel = process.platform === 'linux' ? `-kernel${os.release().split('.')[0] ?? ''}` : '';
  const machine = `${process.platform}-${process.arch}${kernel}`;
  return `${releases}/${version}/mediasoup-worker-${version}-${machine}.tgz`;
}

/** @param {number} timeoutMs */
async function fetchBinary(timeoutMs) {
  const downloaded = path.join(folder, 'downloaded');
  fs.rmSync(downloaded, { recursive: true, force: true });
  fs.mkdirSync(downloaded, { recursive: true });
  try {
    const signal = globalThis.AbortSignal.timeout(timeoutMs);
    const response = await globalThis.fetch(downloadAddress(), { signal });
    if (!response.ok) return false;
    const archive = path.join(downloaded, 'worker.tgz');
    fs.writeFileSync(archive, Buffer.from(await response.arrayBuffer()));
    await run('tar', ['-xzf', archive, '-C', downloaded]);
    return await accept(path.join(downloaded, 'mediasoup-worker'));
  } catch {
    // Out of reach, too slow, or not what it should be: the recipe is there for that.
    return false;
  } finally {
    fs.rmSync(downloaded, { recursive: true, force: true });
  }
}

/** @returns {import('./downloads.cjs').Download} */
function download() {
  return { what: "mediasoup's worker", name: 'mediasoup-worker', key: key(), fetch: fetchBinary };
}

/** @param {readonly string[]} extra @param {import('./run.cjs').RunOptions} [options] */
function make(extra, options) {
  const source = path.join(paths.nodeModules, 'mediasoup/worker');
  return run(
    'make',
    ['-f', path.join(recipe, 'Makefile'), `SRC=${source}`, `OUT=${objects}`, ...extra],
    options,
  );
}

/** Objects of an interrupted build are used again, unless they were for another worker. */
function prepareObjects() {
  const madeFor = path.join(objects, 'for');
  if (isStamped(madeFor, key())) return;
  fs.rmSync(objects, { recursive: true, force: true });
  stamp(madeFor, key());
}

/** @param {(quarter: number) => void} onQuarter @returns {Promise<import('./run.cjs').RunResult>} */
async function makeOnce(onQuarter) {
  prepareObjects();
  const isCompilation = (/** @type {string} */ line) => line.includes(' -c -o ');
  let planned = 0;
  await make(['--dry-run'], { onLine: (line) => (planned += isCompilation(line) ? 1 : 0) });
  const jobs = Math.min(os.availableParallelism(), Math.floor(os.totalmem() / BUILD_BYTES_PER_JOB));
  let started = 0;
  let quarter = 0;
  return make([`--jobs=${String(Math.max(1, jobs))}`], {
    log: 'mediasoup-worker',
    onLine(line) {
      if (!isCompilation(line)) return;
      started += 1;
      if (Math.floor((4 * started) / planned) === quarter) return;
      quarter = Math.floor((4 * started) / planned);
      if (quarter < 4) onQuarter(quarter);
    },
  });
}

/**
 * Builds the worker, waiting for another process that does so already.
 * @param {import('./steps.cjs').Steps} steps
 */
async function build(steps) {
  const release = await lock.acquire('mediasoup-worker', () =>
    steps.note("mediasoup's worker is being built by another process: waiting for it …"),
  );
  try {
    if (await isReady(process.env)) return;
    await steps.run(
      "Building mediasoup's worker for WebRTC: several minutes, at low priority",
      async () => {
        const onQuarter = (/** @type {number} */ quarter) =>
          steps.note(`  mediasoup's worker: ${String(25 * quarter)} % compiled`);
        let result = await makeOnce(onQuarter);
        if (!result.ok) {
          // A power cut can leave an object empty: once more from nothing.
          fs.rmSync(objects, { recursive: true, force: true });
          result = await makeOnce(onQuarter);
        }
        if (!result.ok || !(await accept(path.join(objects, 'mediasoup-worker')))) {
          throw new SetupError(
            `mediasoup's worker was not built, so there is no WebRTC; everything else runs.\n${failure(result, 'mediasoup-worker')}`,
          );
        }
        fs.rmSync(objects, { recursive: true, force: true });
      },
      () => "mediasoup's worker is ready",
    );
  } finally {
    release();
  }
}

module.exports = { build, download, isReady, workerPath };
