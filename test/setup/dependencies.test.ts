import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { startChild } from '../support/child.ts';
import {
  copyProject,
  installFromNpm,
  newcomersEnvironment,
  projectRoot,
  type Project,
} from './project.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

/** So that the copy need not compile sqlite3: that is another test's. */
async function keepNative(project: Project): Promise<void> {
  const built = join(projectRoot, 'node_modules/sqlite3/build/Release/node_sqlite3.node');
  const { version } = JSON.parse(
    await readFile(join(projectRoot, 'node_modules/sqlite3/package.json'), 'utf8'),
  ) as { version: string };
  const kept = `sqlite3-${version}-${process.platform}-${process.arch}.node`;
  await mkdir(project.path('build/native'), { recursive: true });
  await writeFile(project.path('build/native', kept), await readFile(built));
}

/** The person's npm settings, without any path of Node's headers. */
async function settingsWithoutHeaders(t: TestContext): Promise<NodeJS.ProcessEnv> {
  const home = process.env['HOME'] ?? '/';
  const text = await readFile(join(home, '.npmrc'), 'utf8').catch(() => '');
  const settings = join(await temporaryFolder(t), 'npmrc');
  await writeFile(settings, text.replace(/^nodedir.*$/gm, ''));
  return { NPM_CONFIG_USERCONFIG: settings };
}

describe('npm start on a clean clone', () => {
  for (const major of [10, 11]) {
    it(`serves with npm ${major}, and with no header path in its settings`, async (t) => {
      const packages = await installFromNpm(t, `npm@${major}`);
      if (packages === null) return;
      const project = await copyProject(t, { withPackages: false });
      await keepNative(project);
      const env = { ...newcomersEnvironment(), ...(await settingsWithoutHeaders(t)) };
      const npmStart = [join(packages, 'npm/bin/npm-cli.js'), 'start'];
      const options = { cwd: project.root, env };
      const child = startChild(t, process.execPath, npmStart, options);
      await child.line(/^gateway /);
      child.process.kill('SIGTERM');
      // npm tells only the shell that runs the script, which must not stand between.
      assert.equal((await child.exited).code, 7);
      assert.ok(child.lines.includes('left by SIGTERM'));
      assert.match(child.lines.join('\n'), /npm ci.*because node_modules is not there yet/);
      assert.ok(existsSync(project.path('node_modules/typescript/package.json')));

      const again = startChild(t, process.execPath, npmStart, options);
      await again.line(/^gateway /);
      again.process.kill('SIGTERM');
      await again.exited;
      assert.doesNotMatch(again.lines.join('\n'), /npm ci/);
    });
  }
});

describe('the npm packages', () => {
  /** Writes down that it was asked, and fails. */
  const refusingNpm = `console.error('asked for', process.argv.slice(2).join(' ')); process.exit(3);`;

  const damages: readonly [what: string, reason: RegExp, (project: Project) => Promise<void>][] = [
    [
      'a package is gone',
      /because zod is missing/,
      (project) => rm(project.path('node_modules/zod'), { recursive: true }),
    ],
    [
      'the lock has moved on',
      /because hono is \S+, and the lock says 999\.0\.0/,
      async (project) => {
        const file = project.path('package-lock.json');
        const lock = JSON.parse(await readFile(file, 'utf8')) as {
          packages: Record<string, { version: string }>;
        };
        lock.packages['node_modules/hono']!.version = '999.0.0';
        await writeFile(file, JSON.stringify(lock));
      },
    ],
    [
      'an installation was interrupted',
      /because an installation was interrupted/,
      (project) => rm(project.path('node_modules/.package-lock.json')),
    ],
    [
      "npm's own note is rubbish",
      /because an installation was interrupted/,
      async (project) => {
        const note = project.path('node_modules/.package-lock.json');
        await rm(note);
        await writeFile(note, '{"packages": ');
      },
    ],
  ];
  for (const [what, reason, damage] of damages) {
    it(`are installed again when ${what}; a failure shows what npm said`, async (t) => {
      const project = await copyProject(t);
      const npm = join(await temporaryFolder(t), 'npm-cli.js');
      await writeFile(npm, refusingNpm);
      await damage(project);
      const { code, text } = await project.run('start.cjs', [], { env: { npm_execpath: npm } });
      assert.equal(code, 1);
      assert.match(text, reason);
      assert.match(text, /npm ci failed:\n +\| asked for ci --include=dev/);
    });
  }

  it('stop the set-up with a sentence when the lock is broken', async (t) => {
    const project = await copyProject(t);
    await writeFile(project.path('package-lock.json'), '<<<<<<< ours');
    const { code, lines } = await project.run('start.cjs');
    assert.equal(code, 1);
    assert.deepEqual(lines, ['[set-up] package-lock.json is missing or broken.']);
  });

  it('name no registry in the lock, so that everyone uses their own', async () => {
    const lock = await readFile(join(projectRoot, 'package-lock.json'), 'utf8');
    assert.doesNotMatch(lock, /"resolved"/);
  });

  it('are locked for every platform, or npm ci refuses the lock', async () => {
    const { packages } = JSON.parse(
      await readFile(join(projectRoot, 'package-lock.json'), 'utf8'),
    ) as { packages: Record<string, { optionalDependencies?: Record<string, string> }> };
    const missing = Object.entries(packages).flatMap(([place, entry]) =>
      Object.keys(entry.optionalDependencies ?? {}).filter((name) => {
        // npm looks beside the package and then outwards.
        for (let folder = place; ; folder = dirname(folder)) {
          if (packages[join(folder, 'node_modules', name)] !== undefined) return false;
          if (folder === '' || folder === '.') return true;
        }
      }),
    );
    assert.deepEqual(missing, []);
  });
});
