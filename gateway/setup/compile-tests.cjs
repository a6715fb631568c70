/*
 * The tests as JavaScript, a file each under build/tests and what they share beside them. Through
 * tsx each test file would take more than a second of a processor until its first test begins.
 * Nothing else changes: what they import from packages stays where it is, and what a module asks of
 * its own place is answered as if it ran from its source.
 */
'use strict';

const { readFile } = require('node:fs/promises');
const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const paths = require('./paths.cjs');

/** @type {import('esbuild').Plugin} */
const inPlace = {
  name: 'in-place',
  setup(build) {
    build.onLoad({ filter: /\.ts$/ }, async ({ path: file }) => {
      const source = await readFile(file, 'utf8');
      const contents = source
        .replaceAll('import.meta.dirname', JSON.stringify(path.dirname(file)))
        .replaceAll('import.meta.filename', JSON.stringify(file))
        .replaceAll('import.meta.url', JSON.stringify(pathToFileURL(file).href));
      return { contents, loader: 'ts' };
    });
  },
};

/**
 * @param {readonly string[]} files relative to the project's folder
 * @returns {Promise<readonly string[]>} what they became
 */
async function compileTests(files) {
  // Asked for late: it is one of the packages that the set-up installs.
  const { build } = require('esbuild');
  const outdir = path.join(paths.build, 'tests');
  fs.rmSync(outdir, { recursive: true, force: true });
  await build({
    ...{ absWorkingDir: paths.root, entryPoints: [...files], outbase: paths.root, outdir },
    ...{ bundle: true, splitting: true, packages: 'external', plugins: [inPlace] },
    ...{ platform: 'node', format: 'esm', target: 'node20', sourcemap: true },
    ...{ outExtension: { '.js': '.mjs' }, logLevel: 'warning' },
  });
  return files.map((file) => path.join(outdir, file.replace(/\.ts$/, '.mjs')));
}

module.exports = { compileTests };
