/*
 * The system's packages. All that are missing are listed at once, with what each is for and its
 * size, and with one package-manager line. As root the line is announced and run; it is never run
 * through sudo: otherwise what is essential stops here with the line, and what only a part needs
 * is said and done without.
 *
 * It comes after the npm packages (they need nothing of the system: no script of theirs runs) and
 * after the downloads, because only then is it known what has to be built: a box that can download
 * sqlite3's binary is not asked to install a compiler.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { withServicesHeldBack } = require('./held-back-services.cjs');
const { failure, run, which } = require('./run.cjs');
const { SetupError } = require('./steps.cjs');

/**
 * @typedef {import('./packages.cjs').SystemPackage} SystemPackage
 *
 * @typedef {object} Need
 * @property {string} purpose "to build sqlite3's native module"
 * @property {string | undefined} without what is lost without it; undefined: it is essential
 * @property {readonly SystemPackage[]} packages
 */

/** The packages of the list that dpkg has. @param {readonly SystemPackage[]} packages */
async function installedByDpkg(packages) {
  const format = '${db:Status-Status} ${Package}\n';
  const { output } = await run('dpkg-query', [
    ...['--show', `--showformat=${format}`],
    ...packages.map((one) => one.name),
  ]);
  return new Set(
    output.split('\n').flatMap((line) => (line.startsWith('installed ') ? [line.slice(10)] : [])),
  );
}

/** Debian keeps some programs where only root's PATH looks. @param {string} program */
function isThere(program) {
  const folders = [process.env.PATH, '/usr/sbin', '/sbin'];
  return which(program, { PATH: folders.join(path.delimiter) }) !== undefined;
}

/** @param {readonly Need[]} needs @returns {Promise<Need[]>} only what is missing */
async function findMissing(needs) {
  const libraries = needs.flatMap((need) => need.packages).filter((one) => !one.program);
  const installed = libraries.length === 0 ? new Set() : await installedByDpkg(libraries);
  /** @type {Need[]} */
  const missing = [];
  for (const need of needs) {
    const packages = [];
    for (const one of need.packages) {
      if (one.program !== undefined ? isThere(one.program) : installed.has(one.name)) continue;
      // A library that was not installed as a package.
      if (one.module && (await run('pkg-config', ['--exists', one.module])).ok) continue;
      packages.push(one);
    }
    if (packages.length > 0) missing.push({ ...need, packages });
  }
  return missing;
}

/** @param {readonly Need[]} missing @returns {SystemPackage[]} each once */
function distinct(missing) {
  const byName = new Map(missing.flatMap((need) => need.packages).map((one) => [one.name, one]));
  return [...byName.values()];
}

/** @param {readonly Need[]} missing */
function describe(missing) {
  const packages = distinct(missing);
  const lines = packages.map((one) => {
    const purposes = missing.filter((need) => need.packages.some(({ name }) => name === one.name));
    const size = `${String(one.downloadMB)} MB to download, ${String(one.diskMB)} MB on disk`;
    return `  ${one.name.padEnd(28)} ${size}: ${purposes.map((need) => need.purpose).join(', ')}`;
  });
  /** @param {'downloadMB' | 'diskMB'} unit */
  const sum = (unit) => String(packages.reduce((total, one) => total + one[unit], 0));
  return [
    'System packages that are missing:',
    ...lines,
    `  together at most ${sum('downloadMB')} MB to download, ${sum('diskMB')} MB on disk`,
  ].join('\n');
}

/** @param {readonly Need[]} missing */
function aptArguments(missing) {
  return ['install', '--no-install-recommends', '-y', ...distinct(missing).map((one) => one.name)];
}

function hasPackageLists() {
  const lists = '/var/lib/apt/lists';
  return fs.existsSync(lists) && fs.readdirSync(lists).some((name) => name.includes('_Packages'));
}

/** @param {readonly Need[]} missing */
async function aptInstall(missing) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = () => run('apt-get', aptArguments(missing), { env, log: 'apt-install' });
  const update = () => run('apt-get', ['update'], { env, log: 'apt-update' });
  return withServicesHeldBack(
    distinct(missing).map((one) => one.name),
    async () => {
      const hadLists = hasPackageLists();
      if (!hadLists) await update();
      const result = await install();
      if (result.ok || !hadLists) return result;
      // The lists may name versions that the mirror no longer has.
      await update();
      return install();
    },
  );
}

/** @param {readonly Need[]} missing */
function sayWhatIsLost(missing) {
  return missing.flatMap((need) => (need.without === undefined ? [] : [need.without]));
}

/**
 * Sees to it that the needs are met as far as this user may.
 * @param {import('./steps.cjs').Steps} steps
 * @param {readonly Need[]} needs
 * @returns {Promise<Need[]>} what is still missing, none of it essential
 * @throws {SetupError} with the list and the line, when something essential is missing
 */
async function preflight(steps, needs) {
  const missing = await findMissing(needs);
  if (missing.length === 0) return [];
  const list = describe(missing);
  if (which('apt-get') === undefined) {
    const tools = `${list}\nThose are Debian's names: install the same with this system's own package manager.`;
    return giveUp(steps, missing, tools);
  }
  const line = `apt-get ${aptArguments(missing).join(' ')}`;
  if (process.getuid?.() !== 0) {
    return giveUp(steps, missing, `${list}\nInstall them, as root:\n  ${line}`);
  }
  steps.note(list);
  const result = await steps.run(`Installing them, as this is root: ${line}`, () =>
    aptInstall(missing),
  );
  const still = await findMissing(needs);
  if (still.length === 0) return [];
  return giveUp(steps, still, `${describe(still)}\n${failure(result, 'apt-install')}`);
}

/**
 * @param {import('./steps.cjs').Steps} steps
 * @param {Need[]} missing
 * @param {string} explanation
 */
function giveUp(steps, missing, explanation) {
  if (missing.some((need) => need.without === undefined)) {
    throw new SetupError(`${explanation}\nThen run the same command again.`);
  }
  steps.note(explanation);
  for (const loss of sayWhatIsLost(missing)) steps.note(`Going on without: ${loss}.`);
  return missing;
}

module.exports = { preflight };
