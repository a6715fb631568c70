/** Builds and loads `test/crash/shim/faults.c`, which stands between a program and its disk. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const source = join(import.meta.dirname, '../shim/faults.c');

export interface ShimOptions {
  /** Files under this folder are watched; absolute. */
  readonly root: string;
  /** Where the journal of all changes goes. */
  readonly journal?: string;
  /** The number of the operation that fails, from 1. */
  readonly failAt?: number;
  /** What it fails with, e.g. 5 for EIO, 28 for ENOSPC. */
  readonly errno?: number;
  /** All that follow fail too. */
  readonly sticky?: boolean;
  /** Where the number of operations is written at the end. */
  readonly count?: string;
  /** Files with this ending are journaled only. */
  readonly exempt?: string;
}

/** Compiles the shim into a folder; rejects where there is no C compiler. */
export async function buildShim(folder: string): Promise<string> {
  const library = join(folder, 'faults.so');
  await run('gcc', ['-shared', '-fPIC', '-O2', '-o', library, source, '-ldl', '-lpthread']);
  return library;
}

/** The environment of a program that runs under the shim. */
export function shimEnvironment(library: string, options: ShimOptions): NodeJS.ProcessEnv {
  const { root, journal, failAt, errno, sticky, count, exempt } = options;
  return {
    LD_PRELOAD: library,
    // libuv would go past the C library.
    UV_USE_IO_URING: '0',
    FAULTS_ROOT: root,
    ...(journal === undefined ? {} : { FAULTS_JOURNAL: journal }),
    ...(failAt === undefined ? {} : { FAULTS_FAIL_AT: String(failAt) }),
    ...(errno === undefined ? {} : { FAULTS_ERRNO: String(errno) }),
    ...(sticky === true ? { FAULTS_STICKY: '1' } : {}),
    ...(count === undefined ? {} : { FAULTS_COUNT: count }),
    ...(exempt === undefined ? {} : { FAULTS_EXEMPT: exempt }),
  };
}
