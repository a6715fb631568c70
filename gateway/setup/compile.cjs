/*
 * TypeScript to JavaScript, and the page to its assets. Both are made anew in a folder of their
 * own, which then takes the place of dist/ at once: an interrupted or failed compilation leaves
 * the last good one as it was, and a deleted source leaves no old output. The stamp in dist/ names
 * the sources by content, so that a checkout that changes only dates compiles nothing.
 */
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const paths = require('./paths.cjs');
const { failure, run } = require('./run.cjs');
const { hashFiles, isStamped, listFiles, stamp } = require('./stamps.cjs');
const { SetupError } = require('./steps.cjs');

const SOURCES = ['gateway', 'ingest', 'storage', 'dashboards'];
const SETTINGS = ['package-lock.json', 'package.json', 'tsconfig.build.json', 'tsconfig.json'];

const stampFile = path.join(paths.dist, '.sources');
const next = path.join(paths.build, 'dist.next');
const old = path.join(paths.build, 'dist.old');

/** The set-up itself is not compiled, so a change of it is none of the sources. */
function sourceFiles() {
  return listFiles(paths.root, [...SOURCES, ...SETTINGS]).filter(
    (file) => !file.startsWith(path.join('gateway', 'setup')),
  );
}

function sourcesKey() {
  const sources = hashFiles(paths.root, sourceFiles());
  return createHash('sha256').update(`1 ${sources}`).digest('hex');
}

function hasPage() {
  return fs.existsSync(path.join(paths.root, 'dashboards/index.html'));
}

/**
 * @param {string} what
 * @param {string} log
 * @param {readonly string[]} args of Node
 */
async function compileWith(what, log, args) {
  const result = await run(process.execPath, args, { log });
  if (!result.ok) throw new SetupError(`${what} does not compile:\n${failure(result, log)}`);
}

function compileGateway() {
  const tsc = path.join(paths.nodeModules, 'typescript/bin/tsc');
  return compileWith('The gateway', 'tsc', [tsc, '-p', 'tsconfig.build.json', '--outDir', next]);
}

function compilePage() {
  const vite = path.join(paths.nodeModules, 'vite/bin/vite.js');
  return compileWith('The page', 'vite', [
    ...[vite, 'build', 'dashboards', '--config', 'dashboards/vite.config.ts', '--emptyOutDir'],
    ...['--outDir', path.join(next, 'dashboards')],
  ]);
}

/** Whether dist/ was made from the sources as they are. */
function isCompiled() {
  return isStamped(stampFile, sourcesKey());
}

/** @param {import('./steps.cjs').Steps} steps */
async function compile(steps) {
  const key = sourcesKey();
  if (isStamped(stampFile, key)) return;
  const reason = fs.existsSync(paths.dist) ? 'the sources have changed' : 'it is not compiled yet';
  await steps.run(`Compiling the gateway and its page, because ${reason}`, async () => {
    fs.rmSync(next, { recursive: true, force: true });
    await Promise.all([compileGateway(), hasPage() ? compilePage() : undefined]);
    stamp(path.join(next, path.basename(stampFile)), key);
    fs.rmSync(old, { recursive: true, force: true });
    if (fs.existsSync(paths.dist)) fs.renameSync(paths.dist, old);
    fs.renameSync(next, paths.dist);
    fs.rmSync(old, { recursive: true, force: true });
  });
  if (!hasPage()) steps.note('There is no dashboards/index.html, so there is no page to compile.');
}

module.exports = { compile, isCompiled };
