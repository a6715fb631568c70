/*
 * Copies of this project for the set-up to work on: the set-up, the locks and the settings are the
 * real ones, what is compiled is a gateway of a few lines that says what it was given.
 */
import { execFile, spawn } from 'node:child_process';
import { chmod, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { Child, startChild } from '../support/child.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { findProgram } from '../support/tools.ts';

const execute = promisify(execFile);

export const projectRoot = resolve(import.meta.dirname, '../..');

/** Prints what it was given; serves until it is told to leave, and ends with 7. */
const SMALL_GATEWAY = `
const given = {
  args: process.argv.slice(2),
  pool: process.env['UV_THREADPOOL_SIZE'],
  engine: process.env['NODE_OPTIONS'],
  worker: process.env['MEDIASOUP_WORKER_BIN'],
  ffmpeg: process.env['HEADGATE_FFMPEG_PATH'],
};
const timer: NodeJS.Timeout = setInterval(() => undefined, 60_000);
const leave = (reason: string): void => {
  console.log('left by ' + reason);
  clearInterval(timer);
  process.exitCode = 7;
};
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, leave);
process.on('disconnect', () => leave('disconnect'));
process.channel?.unref();
if (given.args.includes('--serve')) process.send?.({ type: 'serving' });
console.log('gateway ' + JSON.stringify(given));
`;

/** What npm and the test runner add to the environment is not the newcomer's. */
export function newcomersEnvironment(): NodeJS.ProcessEnv {
  const ours = /^(npm_|NODE_OPTIONS$|NODE_TEST_|HEADGATE_|FFMPEG_|MEDIASOUP_|UV_|INIT_CWD$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
}

export interface ProjectOptions {
  /** Without: as after a clone. */
  readonly withPackages?: boolean;
  /** Release pages count as tried already, so that a copy does not try them again. */
  readonly withoutDownloads?: boolean;
}

export class Project {
  readonly root: string;
  readonly #context: TestContext;

  constructor(context: TestContext, root: string) {
    this.#context = context;
    this.root = root;
  }

  path(...parts: readonly string[]): string {
    return join(this.root, ...parts);
  }

  /** Starts one of the set-up's scripts as npm would; it ends with the test. */
  start(script: string, args: readonly string[] = [], options: SpawnOptions = {}): Child {
    const command = [this.path('gateway/setup', script), ...args];
    return startChild(this.#context, options.node ?? process.execPath, command, {
      cwd: this.root,
      env: { ...newcomersEnvironment(), ...options.env },
      ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
      detached: options.detached ?? false,
    });
  }

  /** Runs one of the set-up's scripts to its end. */
  async run(script: string, args: readonly string[] = [], options: SpawnOptions = {}) {
    const child = this.start(script, args, options);
    const { code } = await child.exited;
    return { code, lines: child.lines, text: child.lines.join('\n') };
  }

  /** Evaluates JavaScript with the set-up's modules at hand, as `setup('name')`. */
  async evaluate(code: string, node = process.execPath, env: NodeJS.ProcessEnv = {}) {
    const setup = `const setup = (name) => require('./gateway/setup/' + name + '.cjs');`;
    const { stdout } = await execute(node, ['-e', `${setup}\n${code}`], {
      cwd: this.root,
      env: { ...newcomersEnvironment(), ...env },
    });
    return stdout.trim();
  }

  async write(name: string, text: string): Promise<void> {
    await mkdir(dirname(this.path(name)), { recursive: true });
    await writeFile(this.path(name), text);
  }

  /** Takes sqlite3's binary away, as after `npm ci`. */
  async removeNative(): Promise<void> {
    await rm(this.path('node_modules/sqlite3/build'), { recursive: true, force: true });
  }
}

export interface SpawnOptions {
  readonly node?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly detached?: boolean;
}

/** A copy of the project in a new folder that goes away with the test. */
export async function copyProject(
  context: TestContext,
  options: ProjectOptions = {},
): Promise<Project> {
  const project = new Project(context, await temporaryFolder(context));
  // Other users run the set-up in here, too.
  await chmod(project.root, 0o755);
  const files = ['.npmrc', 'package.json', 'package-lock.json', 'tsconfig.json'];
  for (const file of [...files, 'tsconfig.build.json', 'gateway/setup']) {
    await cp(join(projectRoot, file), project.path(file), { recursive: true });
  }
  await project.write('gateway/main.ts', SMALL_GATEWAY);
  if (options.withPackages !== false) {
    const packages = join(projectRoot, 'node_modules');
    // As links where the file system allows: everything here replaces files, and changes none.
    await execute('cp', ['-al', packages, project.root]).catch(() =>
      execute('cp', ['-a', packages, project.root]),
    );
  }
  if (options.withoutDownloads !== false && options.withPackages !== false) {
    await project.evaluate(`
      const { stamp } = setup('stamps');
      for (const name of ['native', 'ffmpeg', 'mediasoup-worker']) {
        const download = setup(name).download();
        stamp('build/downloads/' + download.name, download.key);
      }
    `);
  }
  return project;
}

/** A folder for PATH that has only these programs of this machine, and these scripts. */
export async function programFolder(
  context: TestContext,
  programs: readonly string[],
  scripts: Readonly<Record<string, string>> = {},
): Promise<string> {
  const folder = await temporaryFolder(context);
  await chmod(folder, 0o755);
  for (const name of programs) {
    const found = findProgram(name);
    if (found !== null) await symlink(found, join(folder, name));
  }
  for (const [name, text] of Object.entries(scripts)) {
    await writeFile(join(folder, name), text, { mode: 0o755 });
  }
  return folder;
}

/** Resolves when no process holds the lock any more. */
export async function lockIsFree(file: string): Promise<void> {
  await new Promise<void>((done, failed) => {
    const child = spawn('flock', [file, 'true'], { stdio: 'ignore' });
    child.on('error', failed);
    child.on('close', () => done());
  });
}

/** Gets a package of npm's into a new folder, without its scripts; null when it is out of reach. */
export async function installFromNpm(context: TestContext, spec: string): Promise<string | null> {
  const folder = await temporaryFolder(context);
  await writeFile(join(folder, 'package.json'), '{}');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-save', spec];
  try {
    await execute('npm', args, { cwd: folder, env: newcomersEnvironment() });
    return join(folder, 'node_modules');
  } catch {
    context.skip(`needs ${spec} from npm's registry, which is out of reach`);
    return null;
  }
}
