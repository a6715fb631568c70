/*
 * sqlite3's native module. It counts as present only when a child process has loaded it and run a
 * query. Ways to get it, in order: what is there, the copy kept from an earlier build, its
 * project's binary, node-gyp with headers that belong to this very Node (node-headers.cjs).
 */
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { installedVersion } = require('./dependencies.cjs');
const { findHeaders } = require('./node-headers.cjs');
const paths = require('./paths.cjs');
const { failure, run } = require('./run.cjs');
const { SetupError } = require('./steps.cjs');

const PROOF = `
const { Database } = require('sqlite3');
const database = new Database(':memory:', (error) => {
  if (error) throw error;
  database.get('SELECT 6 * 7 AS answer', (problem, row) => {
    if (problem) throw problem;
    process.exit(row.answer === 42 ? 0 : 1);
  });
});
`;

const folder = path.join(paths.nodeModules, 'sqlite3');
const binary = path.join(folder, 'build/Release/node_sqlite3.node');

/** Which build this is: the module speaks Node-API, so a newer Node alone changes nothing. */
function key() {
  return `sqlite3-${installedVersion('sqlite3') ?? 'none'}-${process.platform}-${process.arch}`;
}

/** Survives `npm ci`, which empties node_modules. */
function keptCopy() {
  return path.join(paths.build, 'native', `${key()}.node`);
}

async function works() {
  return (await run(process.execPath, ['-e', PROOF], { timeoutMs: 20_000 })).ok;
}

/** @param {string} from @param {string} to */
function copyWhole(from, to) {
  fs.mkdirSync(path.dirname(to), { recursive: true });
  const unfinished = `${to}.${String(process.pid)}`;
  fs.copyFileSync(from, unfinished);
  fs.renameSync(unfinished, to);
}

async function isReady() {
  if (await works()) return true;
  if (!fs.existsSync(keptCopy())) return false;
  copyWhole(keptCopy(), binary);
  if (await works()) return true;
  fs.rmSync(keptCopy());
  return false;
}

/** @returns {import('./downloads.cjs').Download} */
function download() {
  return {
    what: "sqlite3's binary",
    name: 'sqlite3',
    key: key(),
    async fetch(timeoutMs) {
      const script = path.join(paths.nodeModules, 'prebuild-install/bin.js');
      const options = { cwd: folder, timeoutMs, log: 'sqlite3-download' };
      const result = await run(process.execPath, [script, '--runtime', 'napi'], options);
      if (result.ok && (await works())) return true;
      fs.rmSync(path.join(folder, 'build'), { recursive: true, force: true });
      return false;
    },
  };
}

/** @param {import('./steps.cjs').Steps} steps */
async function build(steps) {
  const headers = await findHeaders(steps);
  await steps.run(
    `Building sqlite3's native module with node-gyp, headers from ${headers.from}`,
    async () => {
      const nodeGyp = path.join(paths.nodeModules, 'node-gyp/bin/node-gyp.js');
      const args = [nodeGyp, 'rebuild', '--jobs', String(os.availableParallelism())];
      if (headers.folder !== undefined) args.push(`--nodedir=${headers.folder}`);
      const result = await run(process.execPath, args, { cwd: folder, log: 'sqlite3-build' });
      if (!result.ok || !(await works())) {
        throw new SetupError(`sqlite3 was not built:\n${failure(result, 'sqlite3-build')}`);
      }
      copyWhole(binary, keptCopy());
      // Some 20 MB that nobody needs again.
      for (const rest of ['obj.target', 'obj', 'sqlite3.a']) {
        fs.rmSync(path.join(folder, 'build/Release', rest), { recursive: true, force: true });
      }
    },
    () => 'built, loaded and queried',
  );
}

module.exports = { build, download, isReady, keptCopy };
