/*
 * The system packages that the set-up may need: what each is for, how to see that it is there, and
 * its size. Sizes are Debian 12's on amd64, in MB to download and on disk, each with all that it
 * pulls in on a minimal system: what two share is counted twice, so the total is a ceiling.
 */
'use strict';

/**
 * @typedef {object} SystemPackage
 * @property {string} name Debian's
 * @property {string} [program] on PATH, when that is what is needed; otherwise a library
 * @property {string} [module] a library's name for pkg-config, for where there is no dpkg
 * @property {number} downloadMB
 * @property {number} diskMB
 */

/** @type {SystemPackage} */
const compiler = { name: 'g++', program: 'g++', downloadMB: 66, diskMB: 267 };
/** @type {SystemPackage} */
const make = { name: 'make', program: 'make', downloadMB: 1, diskMB: 2 };

/** node-gyp's needs. @type {readonly SystemPackage[]} */
const nativePackages = [
  { name: 'python3', program: 'python3', downloadMB: 9, diskMB: 34 },
  compiler,
  make,
];

/** @type {readonly SystemPackage[]} */
const ffmpegPackages = [{ name: 'ffmpeg', program: 'ffmpeg', downloadMB: 134, diskMB: 481 }];

/** What mediasoup-worker/Makefile needs. @type {readonly SystemPackage[]} */
const workerPackages = [
  compiler,
  make,
  { name: 'pkg-config', program: 'pkg-config', downloadMB: 1, diskMB: 1 },
  { name: 'flatbuffers-compiler', program: 'flatc', downloadMB: 1, diskMB: 4 },
  { name: 'libflatbuffers-dev', module: 'flatbuffers', downloadMB: 2, diskMB: 5 },
  { name: 'libsrtp2-dev', module: 'libsrtp2', downloadMB: 3, diskMB: 10 },
  { name: 'libssl-dev', module: 'openssl', downloadMB: 5, diskMB: 19 },
  { name: 'libuv1-dev', module: 'libuv', downloadMB: 1, diskMB: 1 },
  { name: 'libabsl-dev', module: 'absl_strings', downloadMB: 2, diskMB: 8 },
];

/**
 * What only tests use: other implementations to talk to, a browser, a tracer, and a way to make a
 * fresh Debian. A test that lacks its own says so and is skipped.
 * @type {readonly SystemPackage[]}
 */
const testPackages = [
  { name: 'ffmpeg', program: 'ffprobe', downloadMB: 134, diskMB: 481 },
  { name: 'mosquitto', program: 'mosquitto', downloadMB: 4, diskMB: 11 },
  { name: 'mosquitto-clients', program: 'mosquitto_pub', downloadMB: 3, diskMB: 7 },
  { name: 'nats-server', program: 'nats-server', downloadMB: 4, diskMB: 12 },
  // Its programs lie in a folder of its own, outside of PATH.
  { name: 'postgresql-15', downloadMB: 50, diskMB: 210 },
  { name: 'strace', program: 'strace', downloadMB: 2, diskMB: 3 },
  { name: 'chromium', program: 'chromium', downloadMB: 208, diskMB: 738 },
  { name: 'python3-gi', downloadMB: 12, diskMB: 40 },
  { name: 'gir1.2-gst-rtsp-server-1.0', downloadMB: 170, diskMB: 630 },
  { name: 'gstreamer1.0-plugins-base', downloadMB: 15, diskMB: 54 },
  { name: 'gstreamer1.0-plugins-good', downloadMB: 47, diskMB: 169 },
  { name: 'gstreamer1.0-plugins-bad', downloadMB: 169, diskMB: 627 },
  { name: 'gstreamer1.0-tools', program: 'gst-launch-1.0', downloadMB: 4, diskMB: 11 },
  { name: 'debootstrap', program: 'debootstrap', downloadMB: 2, diskMB: 4 },
  { name: 'awscli', downloadMB: 26, diskMB: 225 },
  { name: 'jq', program: 'jq', downloadMB: 1, diskMB: 2 },
  { name: 'python3-boto3', downloadMB: 15, diskMB: 120 },
  { name: 'unzip', program: 'unzip', downloadMB: 1, diskMB: 1 },
  { name: 'zstd', program: 'zstd', downloadMB: 1, diskMB: 2 },
  { name: 'python3-snappy', downloadMB: 10, diskMB: 36 },
];

module.exports = { ffmpegPackages, nativePackages, testPackages, workerPackages };
