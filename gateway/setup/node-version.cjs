/*
 * The first thing that runs. Everything here, and in start.cjs, test.cjs, check.cjs and setup.cjs,
 * is ECMAScript 5, so that a Node from before any of today's syntax still prints the sentence
 * instead of a SyntaxError. What runs after the check may use all that OLDEST knows.
 */
'use strict';

var OLDEST = { major: 20, minor: 19 };

/** @returns {boolean} */
function isSupported() {
  var parts = process.versions.node.split('.');
  var major = Number(parts[0]);
  return major > OLDEST.major || (major === OLDEST.major && Number(parts[1]) >= OLDEST.minor);
}

/** Ends the process, with one sentence and exit code 1, when this Node is too old. */
function requireSupportedNode() {
  if (isSupported()) return;
  var sentence = 'Headgate needs Node.js ' + OLDEST.major + '.' + OLDEST.minor + ' or newer';
  sentence += ', and this is ' + process.versions.node + ' (' + process.execPath + ')';
  sentence += ': install a newer one and run the same command again.';
  console.error(sentence);
  process.exit(1);
}

module.exports = { requireSupportedNode: requireSupportedNode };
