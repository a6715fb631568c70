/*
 * Ready-made binaries from their projects' own release pages. They may be out of reach (only the
 * npm and Debian registries can be counted on), so each is tried once, briefly; after a failure it
 * is not tried again until the version changes or `npm run setup` asks for it.
 */
'use strict';

const path = require('node:path');
const paths = require('./paths.cjs');
const { isStamped, stamp } = require('./stamps.cjs');

const TIMEOUT_MS = 30_000;

/**
 * @typedef {object} Download
 * @property {string} what for people: "sqlite3's binary"
 * @property {string} name of the stamp
 * @property {string} key which version, for which machine
 * @property {(timeoutMs: number) => Promise<boolean>} fetch true when it is there and works
 */

/** @param {Download} download */
function stampFile(download) {
  return path.join(paths.build, 'downloads', download.name);
}

/**
 * @param {import('./steps.cjs').Steps} steps
 * @param {readonly Download[]} wanted
 * @param {boolean} retry also what failed before
 * @returns {Promise<boolean>} whether anything was tried
 */
async function tryDownloads(steps, wanted, retry) {
  const due = wanted.filter((one) => retry || !isStamped(stampFile(one), one.key));
  if (due.length === 0) return false;
  const names = due.map((one) => one.what).join(', ');
  await steps.run(
    `Trying to download ${names} (at most ${String(TIMEOUT_MS / 1000)} s)`,
    () =>
      Promise.all(
        due.map(async (one) => {
          const ok = await one.fetch(TIMEOUT_MS);
          if (!ok) stamp(stampFile(one), one.key);
          return ok ? `${one.what}: there` : `${one.what}: out of reach here, so another way`;
        }),
      ),
    (outcomes) => outcomes.join('; '),
  );
  return true;
}

module.exports = { tryDownloads };
