/*
 * Debian starts a service when its package is installed, and again at every boot. Of mosquitto, NATS
 * and PostgreSQL only the programs are wanted: their services would take ports, and mosquitto's 1883,
 * which is the gateway's own. So while the package manager runs, Debian's own switch (policy-rc.d)
 * forbids starting anything, and afterwards the services are disabled.
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
/**
 * How the service of a package is kept from starting at every boot.
 * @type {Readonly<Record<string, readonly [string, ...string[]]>>}
 */
const DISABLING = {
  mosquitto: ['update-rc.d', 'mosquitto', 'disable'],
  // It has a unit of systemd alone.
  'nats-server': ['systemctl', 'disable', 'nats-server'],
  'postgresql-15': ['update-rc.d', 'postgresql', 'disable'],
};

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
  const commands = Object.entries(DISABLING)
    .filter(([name]) => packages.includes(name))
    .map(([, command]) => command);
  if (commands.length === 0) return install();
  if (!fs.existsSync(POLICY)) fs.writeFileSync(POLICY, OURS, { mode: 0o755 });
  process.once('exit', removeOurs);
  try {
    const result = await install();
    for (const [program, ...args] of commands) await run(program, args);
    return result;
  } finally {
    process.off('exit', removeOurs);
    removeOurs();
  }
}

module.exports = { withServicesHeldBack };
