/*
 * Finds an ffmpeg that will do: what the person names, else ffmpeg-static's, else the one on PATH;
 * the preflight offers the system's package where there is none.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { installedVersion } = require('./dependencies.cjs');
const paths = require('./paths.cjs');
const { run, which } = require('./run.cjs');
const { SetupError } = require('./steps.cjs');

/** ffmpeg 5.0 is libavformat 59; builds from git carry no version of ffmpeg, but always this. */
const LIBAVFORMAT_OLDEST = 59;

const staticBinary = path.join(paths.nodeModules, 'ffmpeg-static/ffmpeg');

/** @param {string} program @returns {Promise<boolean>} */
async function willDo(program) {
  const { ok, output } = await run(program, ['-hide_banner', '-version'], { timeoutMs: 20_000 });
  return ok && Number(/libavformat\s+(\d+)\./.exec(output)?.[1]) >= LIBAVFORMAT_OLDEST;
}

/**
 * The variable by which the person has chosen, if any: ours wins, as it goes to the gateway as is.
 * @param {NodeJS.ProcessEnv} env
 */
function chosenBy(env) {
  return ['HEADGATE_FFMPEG_PATH', 'FFMPEG_BIN'].find((name) => (env[name] ?? '') !== '');
}

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<string | undefined>} the program's absolute path
 * @throws {SetupError} when the one that the person chose will not do
 */
async function findFfmpeg(env) {
  const variable = chosenBy(env);
  if (variable !== undefined) {
    const chosen = which(env[variable] ?? '', env);
    if (chosen !== undefined && (await willDo(chosen))) return path.resolve(chosen);
    throw new SetupError(
      `${variable} is ${env[variable] ?? ''}, which is not a working ffmpeg 5 or newer: ` +
        'correct it, or unset it to have one found.',
    );
  }
  if (await willDo(staticBinary)) return staticBinary;
  const onPath = which('ffmpeg', env);
  return onPath !== undefined && (await willDo(onPath)) ? onPath : undefined;
}

/** @returns {import('./downloads.cjs').Download} */
function download() {
  return {
    what: "ffmpeg-static's ffmpeg",
    name: 'ffmpeg',
    key: `${installedVersion('ffmpeg-static') ?? 'none'}-${process.platform}-${process.arch}`,
    async fetch(timeoutMs) {
      const script = path.join(path.dirname(staticBinary), 'install.js');
      // Its script takes a file that an interrupted download left for a finished one.
      fs.rmSync(staticBinary, { force: true });
      await run(process.execPath, [script], { timeoutMs, log: 'ffmpeg-download' });
      if (await willDo(staticBinary)) return true;
      fs.rmSync(staticBinary, { force: true });
      return false;
    },
  };
}

/**
 * Whether ffmpeg-static's download is of use: it is not there, and nothing else was chosen.
 * @param {NodeJS.ProcessEnv} env
 */
async function wantsDownload(env) {
  return chosenBy(env) === undefined && !(await willDo(staticBinary));
}

/**
 * What the gateway's environment says, so that the usual order holds: what the person set in the
 * environment wins over headgate.yaml, which wins over what was found (first on PATH).
 * @param {string} found
 * @param {NodeJS.ProcessEnv} env
 * @returns {NodeJS.ProcessEnv}
 */
function ffmpegEnvironment(found, env) {
  if (chosenBy(env) !== undefined) return { HEADGATE_FFMPEG_PATH: found };
  if (which('ffmpeg', env) === found) return {};
  return { PATH: [path.dirname(found), env.PATH].join(path.delimiter) };
}

module.exports = { download, ffmpegEnvironment, findFfmpeg, wantsDownload };
