/*
 * What was done for which input. A stamp is a small file beside the thing that it vouches for, so
 * that deleting the thing deletes the stamp; it is written last, and whole. One that can't be read
 * or says something else means "do it again".
 */
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

/** @param {string} file @returns {string | undefined} */
function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Writes a file so that it appears whole or not at all.
 * @param {string} file
 * @param {string} text
 */
function writeWhole(file, text) {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const unfinished = `${file}.${String(process.pid)}`;
  fs.writeFileSync(unfinished, text);
  fs.renameSync(unfinished, file);
}

/** @param {string} file @param {string} key */
function isStamped(file, key) {
  return readText(file)?.trim() === key;
}

/** @param {string} file @param {string} key */
function stamp(file, key) {
  writeWhole(file, `${key}\n`);
}

/**
 * One hash over the names and the contents of files, in the order given.
 * @param {string} folder
 * @param {readonly string[]} files relative to the folder
 */
function hashFiles(folder, files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = fs.readFileSync(path.join(folder, file));
    hash.update(`${file}\0${String(content.length)}\0`).update(content);
  }
  return hash.digest('hex');
}

/**
 * All files under the given folders and files, sorted, relative to the root. What does not exist
 * counts as empty.
 * @param {string} root
 * @param {readonly string[]} names
 * @returns {string[]}
 */
function listFiles(root, names) {
  /** @type {string[]} */
  const found = [];
  /** @param {string} name */
  const visit = (name) => {
    const status = fs.statSync(path.join(root, name), { throwIfNoEntry: false });
    if (status?.isFile()) found.push(name);
    if (!status?.isDirectory()) return;
    for (const entry of fs.readdirSync(path.join(root, name))) visit(path.join(name, entry));
  };
  for (const name of names) visit(name);
  return found.sort();
}

module.exports = { hashFiles, isStamped, listFiles, readText, stamp };
