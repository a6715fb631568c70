/*
 * The newcomer's machine: a Debian that has nothing but Node and npm. No Python, no compiler, no
 * certificates, no package lists, no headers beside Node, none in npm's settings.
 *
 * This is by far the longest test, and Node runs the files by the names of their folders: in this
 * one it is the first to begin, so that the others are not waiting for it in the end.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, readFile, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { promisify } from 'node:util';
import { newcomersEnvironment, projectRoot } from '../setup/project.ts';
import { startChild } from '../support/child.ts';
import { findProgram } from '../support/tools.ts';

const execute = promisify(execFile);

const skip =
  process.getuid?.() !== 0
    ? 'needs root, to make a root folder'
    : ['debootstrap', 'apt-get', 'chroot'].some((name) => findProgram(name) === null)
      ? 'needs debootstrap and chroot'
      : false;

/** The release of this machine and the mirror that it uses. */
async function mirror(): Promise<{ release: string; address: string }> {
  const text = await readFile('/etc/os-release', 'utf8');
  const release = /^VERSION_CODENAME=(\w+)/m.exec(text)?.[1] ?? 'bookworm';
  const { stdout } = await execute('apt-get', [
    ...['indextargets', '--format', '$(REPO_URI)'],
    ...['Created-By: Packages', `Release: ${release}`],
  ]);
  return { release, address: stdout.split('\n')[0] ?? '' };
}

/** Puts this machine's Node and npm, and how it reaches its registries, into the root. */
async function bringNode(root: string): Promise<void> {
  await copyFile(process.execPath, join(root, 'usr/local/bin/node'));
  const npm = resolve(dirname(realpathSync(findProgram('npm')!)), '..');
  await cp(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true });
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'));
  const { stdout } = await execute('npm', ['config', 'get', 'globalconfig']);
  const settings = [stdout.trim(), join(process.env['HOME'] ?? '/root', '.npmrc')];
  const texts = await Promise.all(settings.map((file) => readFile(file, 'utf8').catch(() => '')));
  const lines = texts.join('\n').split('\n');
  const kept = lines.filter((line) => !line.startsWith('nodedir'));
  await writeFile(join(root, 'root/.npmrc'), kept.join('\n'));
  const certificates = process.env['NODE_EXTRA_CA_CERTS'] ?? '/etc/ssl/certs/ca-certificates.crt';
  for (const file of ['/etc/resolv.conf', '/etc/hosts', certificates]) {
    if (!existsSync(file)) continue;
    await mkdir(dirname(join(root, file)), { recursive: true });
    await copyFile(file, join(root, file));
  }
}

/** How this machine's package manager is told to fetch, without what it is told to fetch. */
async function bringAptSettings(root: string): Promise<void> {
  const { stdout } = await execute('apt-config', ['dump']);
  const lines = stdout.split('\n').filter((line) => /^Acquire::\S+ "[^"]+";$/.test(line));
  const fetching = lines.filter((line) => /Proxy|Check-|CaInfo/i.test(line));
  await writeFile(join(root, 'etc/apt/apt.conf.d/80machine'), `${fetching.join('\n')}\n`);
}

/** What a clone would have: all files but those that git ignores. */
async function bringProject(root: string): Promise<void> {
  const { stdout } = await execute(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '-z'],
    { cwd: projectRoot, maxBuffer: 16 * 1024 ** 2 },
  );
  for (const file of stdout.split('\0')) {
    if (file === '' || !existsSync(join(projectRoot, file))) continue;
    await mkdir(dirname(join(root, 'headgate', file)), { recursive: true });
    await copyFile(join(projectRoot, file), join(root, 'headgate', file));
  }
}

async function freshRoot(t: TestContext): Promise<string | null> {
  const root = await mkdtemp(join(tmpdir(), 'headgate-root-'));
  t.after(async () => {
    // debootstrap leaves /sys mounted when it is interrupted.
    for (const name of ['proc', 'sys']) {
      await execute('umount', [join(root, name)]).catch(() => undefined);
    }
    await execute('rm', ['-rf', '--one-file-system', root]);
  });
  const { release, address } = await mirror();
  try {
    await execute('debootstrap', ['--variant=minbase', release, root, address], {
      maxBuffer: 16 * 1024 ** 2,
    });
  } catch (error) {
    t.skip(`needs debootstrap to work here: ${String(error).split('\n')[0] ?? ''}`);
    return null;
  }
  try {
    // By which Node knows where it is itself.
    await execute('mount', ['-t', 'proc', 'proc', join(root, 'proc')]);
  } catch {
    t.skip('needs to mount /proc, which this machine does not allow');
    return null;
  }
  // As images have it: packages are not synced to a disk file by file, and there are no package
  // lists until somebody updates them.
  await writeFile(join(root, 'etc/dpkg/dpkg.cfg.d/image'), 'force-unsafe-io\n');
  await execute('sh', ['-c', 'rm -rf "$0"/var/lib/apt/lists/*', root]);
  await bringNode(root);
  await bringAptSettings(root);
  await bringProject(root);
  return root;
}

/** It installs compilers and builds with them, beside other tests. */
const startMsMax = 20 * 60_000;

describe('npm start on a fresh Debian', { skip }, () => {
  it('as root installs what is missing, builds, compiles and serves', async (t) => {
    const root = await freshRoot(t);
    if (root === null) return;
    const child = startChild(t, 'chroot', [root, 'sh', '-c', 'cd /headgate && exec npm start'], {
      env: {
        ...newcomersEnvironment(),
        HOME: '/root',
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HEADGATE_HTTP_PORT: '0',
        HEADGATE_MQTT_PORT: '0',
        HEADGATE_RTSP_PORT: '0',
      },
    });
    await child.line(/Headgate \S+ serves/, startMsMax);
    const [, page] = await child.line(/(http:\/\/127\.0\.0\.1:\d+)/);
    const health = await fetch(`${page!}/healthz`);
    assert.equal(health.status, 200);
    child.process.kill('SIGTERM');
    const { code } = await child.exited;
    const text = child.lines.join('\n');
    assert.equal(code, 0, text);
    for (const step of [
      /python3 +\d+ MB to download, \d+ MB on disk: to build sqlite3's native module/,
      /Installing them, as this is root: apt-get install --no-install-recommends -y python3 g\+\+/,
      /Building sqlite3's native module with node-gyp, headers from npm's node-\S+ package/,
      /built, loaded and queried/,
      /Compiling the gateway and its page/,
    ]) {
      assert.match(text, step);
    }
  });
});
