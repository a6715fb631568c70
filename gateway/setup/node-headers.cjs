/*
 * The headers that a native module is compiled against. They must be of this very Node: a distro's
 * own node headers in the same folder are often of another. Ways, in order: beside the running
 * Node, npm's node-<platform>-<arch> package of the same version (it carries include/node), and
 * what node-gyp does by itself, which asks the Node project's site.
 */
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { npm } = require('./npm.cjs');
const paths = require('./paths.cjs');
const { run } = require('./run.cjs');
const { readText } = require('./stamps.cjs');

/** Node's name of a processor → the name in npm's packages. @type {Record<string, string>} */
const PACKAGE_ARCHES = { x64: 'x64', arm64: 'arm64', arm: 'armv7l', ppc64: 'ppc64le' };

/**
 * @param {string} folder that should hold include/node
 * @returns {boolean} whether its headers are of this Node
 */
function holdsOurHeaders(folder) {
  const include = path.join(folder, 'include/node');
  const text = readText(path.join(include, 'node_version.h')) ?? '';
  const found = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => new RegExp(`define NODE_${part}_VERSION (\\d+)`).exec(text)?.[1],
  );
  const complete = ['node_api.h', 'common.gypi', 'config.gypi'];
  return (
    found.join('.') === process.versions.node &&
    complete.every((file) => fs.existsSync(path.join(include, file)))
  );
}

function packageName() {
  return `node-${process.platform}-${PACKAGE_ARCHES[process.arch] ?? process.arch}`;
}

/**
 * Puts the include folder of npm's Node package into build/, where it stays.
 * @returns {Promise<string | undefined>}
 */
async function headersFromNpm() {
  const kept = path.join(paths.build, `node-headers-${process.versions.node}`);
  if (holdsOurHeaders(kept)) return kept;
  const unfinished = `${kept}.unfinished`;
  fs.rmSync(unfinished, { recursive: true, force: true });
  fs.mkdirSync(unfinished, { recursive: true });
  const wanted = `${packageName()}@${process.versions.node}`;
  const packed = await npm(['pack', wanted, '--ignore-scripts', '--pack-destination', unfinished], {
    log: 'node-headers',
  });
  const archive = fs.readdirSync(unfinished).find((file) => file.endsWith('.tgz'));
  if (packed.ok && archive !== undefined) {
    await run('tar', [
      ...['-xzf', path.join(unfinished, archive), '-C', unfinished],
      ...['--strip-components=1', 'package/include/node'],
    ]);
    fs.rmSync(path.join(unfinished, archive));
  }
  if (!holdsOurHeaders(unfinished)) {
    fs.rmSync(unfinished, { recursive: true, force: true });
    return undefined;
  }
  fs.rmSync(kept, { recursive: true, force: true });
  fs.renameSync(unfinished, kept);
  return kept;
}

/**
 * @param {import('./steps.cjs').Steps} steps
 * @returns {Promise<{ folder: string | undefined, from: string }>} folder undefined: node-gyp's own way
 */
async function findHeaders(steps) {
  // The path as it was started, and where its links lead: version managers use either.
  const started = [process.execPath].filter((node) => fs.existsSync(node));
  for (const node of [...started, ...started.map((link) => fs.realpathSync(link))]) {
    const beside = path.resolve(path.dirname(node), '..');
    if (holdsOurHeaders(beside)) return { folder: beside, from: path.join(beside, 'include/node') };
  }
  const folder = await steps.run(
    `Getting Node's headers from npm's ${packageName()} package, as there are none of ${process.version} beside ${process.execPath}`,
    headersFromNpm,
    (found) => (found === undefined ? 'that version is not to be had there' : 'done'),
  );
  return folder === undefined
    ? { folder, from: "the Node project's site" }
    : { folder, from: `npm's ${packageName()} package` };
}

module.exports = { findHeaders };
