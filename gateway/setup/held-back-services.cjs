/*
 * Debian starts a service when its package is installed, and again at every boot. Of mosquitto
 * only the programs are wanted: its service would take port 1883, which is the gateway's own.
 * So while the package manager runs, Debian's own switch (policy-rc.d) forbids starting anything,
 * and afterwards the service is disabled.
 */
'use strict';

const fs = require('node:fs');
const { run } = require('./run.cjs');
const { readText } = require('./stamps.cjs');

const POLICY = '/usr/sbin/policy-rc.d';
const OURS = `#!/bin/sh
# Written by Headgate's set-up for as long as it installs packages; it may be deleted.
exit 101
`;
const SERVICES = ['mosquitto'];

function removeOurs() {
  if (readText(POLICY) === OURS) fs.rmSync(POLICY);
}

/**
 * @template T
 * @param {readonly string[]} packages about to be installed
 * @param {() => Promise<T>} install
 * @returns {Promise<T>}
 */
async function withServicesHeldBack(packages, install) {
  const services = SERVICES.filter((name) => packages.includes(name));
  if (services.length === 0) return install();
  if (!fs.existsSync(POLICY)) fs.writeFileSync(POLICY, OURS, { mode: 0o755 });
  process.once('exit', removeOurs);
  try {
    const result = await install();
    for (const service of services) await run('update-rc.d', [service, 'disable']);
    return result;
  } finally {
    process.off('exit', removeOurs);
    removeOurs();
  }
}

module.exports = { withServicesHeldBack };
