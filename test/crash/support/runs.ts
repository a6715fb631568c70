/** One run of `store-load.ts`, ended by a kill, a power cut or a failing disk, and looked at after. */
import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fragmentedFormat, makeFootage } from '../../storage/video/footage.ts';
import { seededRandom } from '../../storage/support/open.ts';
import { startChild, type Child } from '../../support/child.ts';
import { compiled } from '../../support/program.ts';
import type { Scope } from '../../support/scope.ts';
import { assertKept, parseAcknowledged } from './acknowledged.ts';
import { Disk, parseJournal } from './power-cut.ts';
import { shimEnvironment, type ShimOptions } from './shim.ts';

const loadScript = join(import.meta.dirname, 'store-load.ts');
const acknowledgedFile = 'acknowledged';

/** Writes the footage that the runs record; returns its path. */
export async function writeFootage(folder: string): Promise<string> {
  const path = join(folder, 'footage.mp4');
  await writeFile(path, await makeFootage({ seconds: 4, format: fragmentedFormat }));
  return path;
}

export interface RunOptions {
  /** Holds the store and the file of acknowledgements; made when it is not there. */
  readonly folder: string;
  readonly footage: string;
  readonly seed: number;
  readonly appends: number;
  readonly env?: NodeJS.ProcessEnv;
}

export async function startLoad(scope: Scope, options: RunOptions): Promise<Child> {
  const { folder, footage, seed, appends, env = {} } = options;
  await mkdir(folder, { recursive: true });
  const args = [compiled(loadScript), folder, footage, String(seed), String(appends)];
  return startChild(scope, process.execPath, args, { env: { ...process.env, ...env } });
}

/** Kills the load at a random moment of its work, and asserts that nothing acknowledged is lost. */
export async function killOnce(scope: Scope, options: RunOptions): Promise<number> {
  const random = seededRandom(options.seed);
  const child = await startLoad(scope, options);
  await child.line(/^STARTED$/);
  const afterMs = random() * random() * 400;
  await new Promise((wake) => setTimeout(wake, afterMs));
  await child.stop('SIGKILL');
  return assertAcknowledged(options.folder);
}

/** Asserts it of a folder that a run has left behind; returns how much that was. */
export async function assertAcknowledged(folder: string): Promise<number> {
  const text = await readFile(join(folder, acknowledgedFile), 'utf8').catch(() => '');
  const acknowledged = parseAcknowledged(text);
  await assertKept(join(folder, 'store'), acknowledged);
  return acknowledged.count;
}

export interface PowerCutFigures {
  readonly cuts: number;
  readonly acknowledged: number;
  readonly journalBytes: number;
}

/**
 * Journals one run, then cuts the power at so many of its moments.
 * @param options.ignoreSyncs as if the disk forgot to sync: something must be found missing then
 */
export async function cutPower(
  scope: Scope,
  library: string,
  options: RunOptions & { readonly cuts: number; readonly ignoreSyncs?: boolean },
): Promise<PowerCutFigures> {
  const { folder, seed, cuts, ignoreSyncs = false } = options;
  await mkdir(folder, { recursive: true });
  const root = join(folder, 'disk');
  const journalPath = join(folder, 'journal');
  const shim: ShimOptions = { root, journal: journalPath };
  await mkdir(root);
  const env = shimEnvironment(library, shim);
  const child = await startLoad(scope, { ...options, folder: root, env });
  await child.line(/^ENDED$/);
  await child.exited;

  const journal = await readFile(journalPath);
  const entries = parseJournal(journal);
  const random = seededRandom(seed);
  const moments = Array.from({ length: cuts }, () => Math.floor(random() * entries.length));
  moments.sort((a, b) => a - b);
  const disk = new Disk(root, { ignoreSyncs });
  const acknowledgedPath = join(root, acknowledgedFile);
  let acknowledgedNumber = 0;
  let acknowledged = '';
  for (const [at, entry] of entries.entries()) {
    if (entry.operation === 'create' && entry.bytes.toString() === acknowledgedPath) {
      acknowledgedNumber = entry.file;
    }
    if (entry.operation === 'write' && entry.file === acknowledgedNumber) {
      acknowledged += entry.bytes.toString();
    }
    disk.apply(entry);
    while (moments[0] === at) {
      moments.shift();
      const target = join(folder, 'after');
      await disk.cut(random, target);
      const store = join(target, 'store');
      try {
        await assertKept(store, parseAcknowledged(acknowledged));
      } catch (error) {
        throw new Error(`after a cut at entry ${at} of ${entries.length}, seed ${seed}`, {
          cause: error,
        });
      }
      await rm(target, { recursive: true });
    }
  }
  assert.ok(acknowledged !== '', 'something was acknowledged');
  return {
    cuts,
    acknowledged: parseAcknowledged(acknowledged).count,
    journalBytes: journal.length,
  };
}

/** How many operations the disk does in a run in which none of them fails. */
export async function countOperations(
  scope: Scope,
  library: string,
  options: RunOptions,
): Promise<number> {
  const count = join(options.folder, '..', 'count');
  const env = shimEnvironment(library, {
    root: options.folder,
    count,
    exempt: acknowledgedFile,
  });
  const child = await startLoad(scope, { ...options, env });
  await child.line(/^ENDED$/);
  assert.equal((await child.exited).code, 0, child.lines.join('\n'));
  return Number(await readFile(count, 'utf8'));
}

/** What an operation fails with. */
export const diskFailures = [
  /** EIO, once. */
  { errno: 5, sticky: false },
  /** ENOSPC, from then on. */
  { errno: 28, sticky: true },
  /** ENOSPC, once. */
  { errno: 28, sticky: false },
] as const;

export type Failure = (typeof diskFailures)[number] & {
  /** Which operation it is, from 1. */
  readonly operation: number;
};

/**
 * Makes one operation of the disk fail. The program must come to an end by itself with an error
 * that says what it is, and after a restart everything acknowledged is there.
 * @returns what the program said last
 */
export async function failOperation(
  scope: Scope,
  library: string,
  options: RunOptions,
  { operation, errno, sticky }: Failure,
): Promise<string> {
  const { folder } = options;
  const shim = { root: folder, failAt: operation, errno, sticky, exempt: acknowledgedFile };
  const child = await startLoad(scope, { ...options, env: shimEnvironment(library, shim) });
  const { code } = await child.exited;
  const said = child.lines.filter((line) => !/^\d+$|^STARTED$/.test(line));
  const outcome = said.join('; ');
  const where = `operation ${operation}, errno ${errno}${sticky ? ', all after it too' : ''}`;
  assert.equal(code, 0, `${where}: it crashed: ${outcome}`);
  assert.match(outcome, /^(ENDED|FAILED [a-z-]+)(; CLOSED WITH [a-z-]+)?$/, `${where}: ${outcome}`);
  try {
    await assertAcknowledged(folder);
  } catch (error) {
    throw new Error(`${where}: ${outcome}`, { cause: error });
  }
  return outcome;
}
