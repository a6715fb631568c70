/*
 * The npm packages of package-lock.json. Whether they are there is read from what npm itself
 * leaves in node_modules, so that a habitual `npm install` counts as much as our own `npm ci`.
 * No package's install script is run (.npmrc): native.cjs, ffmpeg.cjs and mediasoup-worker.cjs do
 * what those would do, with other ways to go where a download fails.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { npm } = require('./npm.cjs');
const paths = require('./paths.cjs');
const { failure } = require('./run.cjs');
const { readText } = require('./stamps.cjs');
const { SetupError } = require('./steps.cjs');

/**
 * @typedef {object} LockedPackage
 * @property {string} [version]
 * @property {boolean} [optional] npm leaves it out where it does not fit the platform
 */

/** @param {string} file @returns {Record<string, LockedPackage> | undefined} */
function readPackages(file) {
  try {
    return JSON.parse(readText(file) ?? '').packages;
  } catch {
    return undefined;
  }
}

/**
 * Why the packages must be installed, or undefined when all are there.
 * @returns {string | undefined}
 */
function staleDependencies() {
  const locked = readPackages(path.join(paths.root, 'package-lock.json'));
  if (locked === undefined) throw new SetupError('package-lock.json is missing or broken.');
  if (!fs.existsSync(paths.nodeModules)) return 'node_modules is not there yet';
  const installed = readPackages(path.join(paths.nodeModules, '.package-lock.json'));
  if (installed === undefined) return 'an installation was interrupted';
  for (const [place, wanted] of Object.entries(locked)) {
    if (place === '') continue;
    const found = installed[place];
    const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
    if (found === undefined && wanted.optional === true) continue;
    if (found === undefined || !fs.existsSync(path.join(paths.root, place, 'package.json'))) {
      return `${name} is missing`;
    }
    if (found.version !== wanted.version) {
      return `${name} is ${found.version ?? 'unknown'}, and the lock says ${wanted.version ?? 'unknown'}`;
    }
  }
  return undefined;
}

/** @param {import('./steps.cjs').Steps} steps */
async function installDependencies(steps) {
  const reason = staleDependencies();
  if (reason === undefined) return;
  await steps.run(`Installing the locked npm packages (npm ci), because ${reason}`, async () => {
    // Compiling needs the development packages, whatever NODE_ENV or the settings say.
    const result = await npm(
      ['ci', '--include=dev', '--include=optional', '--ignore-scripts', '--no-audit', '--no-fund'],
      { log: 'npm-ci' },
    );
    if (!result.ok) throw new SetupError(`npm ci failed:\n${failure(result, 'npm-ci')}`);
    const still = staleDependencies();
    if (still !== undefined) throw new SetupError(`npm ci succeeded, but ${still}.`);
  });
}

/**
 * The version of an installed package, or undefined.
 * @param {string} name
 * @returns {string | undefined}
 */
function installedVersion(name) {
  const text = readText(path.join(paths.nodeModules, name, 'package.json'));
  return text === undefined ? undefined : JSON.parse(text).version;
}

module.exports = { installDependencies, installedVersion };
