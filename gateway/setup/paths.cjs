/*
 * Where things are. The project is found from this file, never from the working folder: a person
 * may start the gateway from the folder that holds their headgate.yaml.
 */
'use strict';

const path = require('node:path');

const root = path.resolve(__dirname, '../..');
const build = path.join(root, 'build');

module.exports = {
  root,
  /** What the set-up makes and keeps; git-ignored, and safe to delete: it is made again. */
  build,
  /** One log per long step: what npm, node-gyp, apt-get, tsc, vite and make printed. */
  logs: path.join(build, 'logs'),
  nodeModules: path.join(root, 'node_modules'),
  dist: path.join(root, 'dist'),
  gatewayMain: path.join(root, 'dist/gateway/main.js'),
};
