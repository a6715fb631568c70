/*
 * The set-up as a whole: from a clean clone to a project that runs, in an order in which each step
 * needs only what is before it. Nothing is done that is done already.
 */
'use strict';

const { installDependencies } = require('./dependencies.cjs');
const { compile } = require('./compile.cjs');
const { tryDownloads } = require('./downloads.cjs');
const ffmpeg = require('./ffmpeg.cjs');
const lock = require('./lock.cjs');
const native = require('./native.cjs');
const packages = require('./packages.cjs');
const { preflight } = require('./preflight.cjs');
const { SetupError } = require('./steps.cjs');
const worker = require('./mediasoup-worker.cjs');

/**
 * @typedef {object} Prepared
 * @property {NodeJS.ProcessEnv} env what the gateway is told of what was found
 * @property {'ready' | 'to build' | 'impossible' | 'not wanted'} worker
 *
 * @typedef {object} PrepareOptions
 * @property {boolean} [forTests] the test-only system packages too
 * @property {boolean} [retryDownloads] also those that failed before
 */

async function look() {
  const [nativeReady, ffmpegPath, ffmpegDownload, workerReady] = await Promise.all([
    native.isReady(),
    ffmpeg.findFfmpeg(process.env),
    ffmpeg.wantsDownload(process.env),
    worker.isReady(process.env),
  ]);
  return { nativeReady, ffmpegPath, ffmpegDownload, workerReady };
}

/**
 * Whether mediasoup's worker is wanted. It takes minutes to build, which HEADGATE_WEBRTC=off spares
 * a box that needs no WebRTC.
 * @param {PrepareOptions} options
 */
function wantsWorker(options) {
  return options.forTests === true || process.env.HEADGATE_WEBRTC !== 'off';
}

/**
 * What is there, after the downloads of what is not.
 * @param {import('./steps.cjs').Steps} steps
 * @param {boolean} retry
 * @param {boolean} forWorker
 */
async function lookAndDownload(steps, retry, forWorker) {
  const seen = await look();
  const wanted = [
    ...(seen.nativeReady ? [] : [native.download()]),
    ...(seen.ffmpegDownload ? [ffmpeg.download()] : []),
    ...(seen.workerReady || !forWorker ? [] : [worker.download()]),
  ];
  return (await tryDownloads(steps, wanted, retry)) ? look() : seen;
}

/**
 * @param {Awaited<ReturnType<typeof look>>} seen
 * @param {boolean} forTests
 * @param {boolean} forWorker
 * @returns {import('./preflight.cjs').Need[]}
 */
function needsOf(seen, forTests, forWorker) {
  return [
    {
      purpose: "to build sqlite3's native module",
      without: undefined,
      packages: seen.nativeReady ? [] : packages.nativePackages,
    },
    {
      purpose: 'to record cameras (ffmpeg 5 or newer)',
      without: undefined,
      packages: seen.ffmpegPath !== undefined ? [] : packages.ffmpegPackages,
    },
    {
      purpose: "to build mediasoup's worker for WebRTC",
      without: 'WebRTC',
      packages: seen.workerReady || !forWorker ? [] : packages.workerPackages,
    },
    {
      purpose: 'for tests',
      without: 'the tests that need them, which say so and are skipped',
      packages: forTests ? packages.testPackages : [],
    },
  ];
}

/**
 * @param {import('./steps.cjs').Steps} steps
 * @param {PrepareOptions} options
 * @returns {Promise<Prepared>}
 */
async function prepareLocked(steps, options) {
  await installDependencies(steps);
  const forWorker = wantsWorker(options);
  const seen = await lookAndDownload(steps, options.retryDownloads ?? false, forWorker);
  const missing = await preflight(steps, needsOf(seen, options.forTests ?? false, forWorker));
  if (!seen.nativeReady) await native.build(steps);
  const ffmpegPath = seen.ffmpegPath ?? (await ffmpeg.findFfmpeg(process.env));
  if (ffmpegPath === undefined) {
    throw new SetupError(
      'The ffmpeg on this system is older than 5: install a newer one, or set FFMPEG_BIN to one.',
    );
  }
  await compile(steps);
  const workerMissing = missing.some((need) => need.without === 'WebRTC');
  return {
    env: {
      ...ffmpeg.ffmpegEnvironment(ffmpegPath, process.env),
      MEDIASOUP_WORKER_BIN: process.env.MEDIASOUP_WORKER_BIN || worker.workerPath,
      // It speaks to whoever chooses the SDK's version, and that is us.
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
    },
    worker: workerState(seen.workerReady, forWorker, workerMissing),
  };
}

/**
 * @param {boolean} ready
 * @param {boolean} wanted
 * @param {boolean} impossible
 * @returns {Prepared['worker']}
 */
function workerState(ready, wanted, impossible) {
  if (ready) return 'ready';
  if (!wanted) return 'not wanted';
  return impossible ? 'impossible' : 'to build';
}

/**
 * Runs the set-up, alone in this project.
 * @param {import('./steps.cjs').Steps} steps
 * @param {PrepareOptions} [options]
 * @returns {Promise<Prepared>}
 * @throws {SetupError} when it can't go on, saying what the person can do
 */
async function prepare(steps, options = {}) {
  const release = await lock.acquire('set-up', () =>
    steps.note('Another set-up works in this folder: waiting for it …'),
  );
  try {
    const prepared = await prepareLocked(steps, options);
    steps.finish();
    return prepared;
  } finally {
    release();
  }
}

module.exports = { prepare };
