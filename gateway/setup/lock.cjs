/*
 * One set-up at a time in one project. The lock is flock(2) on a file under build/, taken by the
 * flock program on a descriptor of ours: the kernel frees it with the last process that holds it,
 * so that a killed set-up leaves none behind, and one that is waited for can't be forgotten. Where
 * there is no flock program (it is essential on Debian) there is no lock.
 */
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const paths = require('./paths.cjs');

/** @type {Set<number>} */
const held = new Set();

/** @param {number} descriptor @param {readonly string[]} options @returns {Promise<number | null>} */
function flock(descriptor, options) {
  return new Promise((resolve) => {
    const child = spawn('flock', [...options, '3'], {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
    });
    child.on('error', () => resolve(0));
    child.on('close', resolve);
  });
}

/**
 * Waits for the lock and takes it.
 * @param {string} name
 * @param {() => void} onWait called once when another process has it
 * @returns {Promise<() => void>} gives the lock back; twice is harmless
 */
async function acquire(name, onWait) {
  fs.mkdirSync(paths.build, { recursive: true });
  const descriptor = fs.openSync(path.join(paths.build, `${name}.lock`), 'w');
  if ((await flock(descriptor, ['--nonblock'])) !== 0) {
    onWait();
    await flock(descriptor, []);
  }
  held.add(descriptor);
  return () => {
    if (held.delete(descriptor)) fs.closeSync(descriptor);
  };
}

/** The locks of this process, for the programs that it starts to hold as well. */
function heldDescriptors() {
  return [...held];
}

module.exports = { acquire, heldDescriptors };
