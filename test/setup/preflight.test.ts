import assert from 'node:assert/strict';
import { chmod, chown, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { findProgram } from '../support/tools.ts';
import { copyProject, programFolder, type Project } from './project.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

const BASICS = ['node', 'npm', 'sh', 'env', 'flock', 'tar', 'nice', 'dpkg-query', 'ffmpeg'];
const COMPILER = ['g++', 'make', 'cc', 'gcc'];
const WORKER_TOOLS = ['pkg-config', 'flatc'];

/** A package manager that only writes down how it was called. */
const RECORDER = '#!/bin/sh\necho "$@" >> "${0%/*}/calls"\nexit 100\n';

/** A user that is not root, and may work in the copy. */
async function asNobody(project: Project): Promise<{ uid?: number; env: NodeJS.ProcessEnv }> {
  const home = project.path('build');
  await mkdir(home, { recursive: true });
  const env = { HOME: home };
  if (!isRoot) return { env };
  // Not what is below node_modules: the files there are links to this project's own.
  const places = ['', 'build', 'build/downloads', 'node_modules', 'node_modules/sqlite3'];
  for (const place of places) await chown(project.path(place), NOBODY, NOBODY);
  return { uid: NOBODY, env };
}

async function calls(folder: string): Promise<string[]> {
  const text = await readFile(join(folder, 'calls'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

function installLines(lines: readonly string[]): string[] {
  return lines.filter((line) => line.includes('apt-get install'));
}

async function recorderFolder(t: TestContext, programs: readonly string[]): Promise<string> {
  const folder = await programFolder(t, programs, { 'apt-get': RECORDER });
  await chmod(folder, 0o777);
  return folder;
}

describe('the preflight', () => {
  it('lists everything that is missing at once, with sizes and one line, and stops', async (t) => {
    const project = await copyProject(t);
    await project.removeNative();
    const { uid, env } = await asNobody(project);
    const path = await recorderFolder(
      t,
      BASICS.filter((name) => name !== 'ffmpeg'),
    );
    const { code, lines, text } = await project.run('start.cjs', ['never'], {
      env: { ...env, PATH: path },
      ...(uid === undefined ? {} : { uid }),
    });
    assert.equal(code, 1, text);
    for (const name of ['python3', 'g\\+\\+', 'make', 'ffmpeg', 'pkg-config']) {
      const row = new RegExp(`^ +${name} +\\d+ MB to download, \\d+ MB on disk: to `);
      assert.equal(lines.filter((line) => row.test(line)).length, 1, `${name} once in:\n${text}`);
    }
    assert.equal(installLines(lines).length, 1, text);
    assert.match(
      installLines(lines)[0]!,
      /^ +apt-get install --no-install-recommends -y python3 g\+\+ make ffmpeg .*flatbuffers/,
    );
    assert.deepEqual(await calls(path), [], 'nothing is run that was not asked for');
    assert.doesNotMatch(text, /sudo|^gateway /m);
  });

  it('asks only for Python where only Python is missing', async (t) => {
    const project = await copyProject(t);
    await project.removeNative();
    const { uid, env } = await asNobody(project);
    const path = await recorderFolder(t, [...BASICS, ...COMPILER, ...WORKER_TOOLS]);
    if (findProgram('flatc') === null) {
      t.skip('needs flatc, not on this machine');
      return;
    }
    const { code, lines } = await project.run('start.cjs', [], {
      env: { ...env, PATH: path },
      ...(uid === undefined ? {} : { uid }),
    });
    assert.equal(code, 1);
    assert.equal(
      installLines(lines)[0]?.trim(),
      'apt-get install --no-install-recommends -y python3',
    );
  });

  it('runs without WebRTC, and says so, where only that lacks something', async (t) => {
    const project = await copyProject(t);
    const { uid, env } = await asNobody(project);
    const path = await recorderFolder(t, BASICS);
    const child = project.start('start.cjs', ['--serve'], {
      env: { ...env, PATH: path },
      ...(uid === undefined ? {} : { uid }),
    });
    await child.line(/^gateway /);
    await child.stop();
    const text = child.lines.join('\n');
    assert.match(text, /Install them, as root:\n.*apt-get install .*g\+\+ make pkg-config/);
    assert.match(text, /Going on without: WebRTC/);
    assert.doesNotMatch(text, /Building mediasoup's worker/);
  });

  it('names the tools where there is no apt-get', async (t) => {
    const project = await copyProject(t);
    await project.removeNative();
    const { uid, env } = await asNobody(project);
    const path = await programFolder(
      t,
      BASICS.filter((name) => name !== 'dpkg-query'),
    );
    const { code, text } = await project.run('start.cjs', [], {
      env: { ...env, PATH: path },
      ...(uid === undefined ? {} : { uid }),
    });
    assert.equal(code, 1);
    assert.match(text, /python3 .*MB[\s\S]*this system's own package manager/);
    assert.doesNotMatch(text, /apt-get/);
  });

  it(
    'as root announces the line and runs it',
    { skip: isRoot ? false : 'needs root' },
    async (t) => {
      const project = await copyProject(t);
      await project.removeNative();
      const path = await recorderFolder(t, [...BASICS, ...COMPILER]);
      const { code, text } = await project.run('start.cjs', [], {
        env: { PATH: path },
      });
      assert.equal(code, 1, 'this package manager installs nothing');
      assert.match(text, /Installing them, as this is root: apt-get install .*python3/);
      const installs = (await calls(path)).filter((line) => line.startsWith('install '));
      assert.match(installs[0]!, /^install --no-install-recommends -y python3 pkg-config/);
    },
  );
});

describe('ffmpeg', () => {
  it('that was named and will not do stops the set-up with a sentence', async (t) => {
    const project = await copyProject(t);
    const named = project.path('not-ffmpeg');
    await writeFile(named, '#!/bin/sh\necho ffmpeg version 4.4\necho libavformat 58. 76.100\n');
    await chmod(named, 0o755);
    for (const FFMPEG_BIN of [named, '/nowhere/ffmpeg', '/etc/passwd']) {
      const { code, text } = await project.run('start.cjs', [], { env: { FFMPEG_BIN } });
      assert.equal(code, 1);
      assert.match(text, /FFMPEG_BIN is .*not a working ffmpeg 5 or newer/);
    }
  });

  it('that was named and works is the one that the gateway gets', async (t) => {
    const ffmpeg = findProgram('ffmpeg');
    if (ffmpeg === null) {
      t.skip('needs ffmpeg, not on this machine');
      return;
    }
    const project = await copyProject(t);
    const child = project.start('start.cjs', [], { env: { FFMPEG_BIN: ffmpeg } });
    const given = JSON.parse((await child.line(/^gateway (.*)$/))[1]!) as { ffmpeg: string };
    assert.equal(given.ffmpeg, ffmpeg);
  });

  it('that is older than 5 on PATH is not taken', async (t) => {
    const project = await copyProject(t);
    const { uid, env } = await asNobody(project);
    const programs = BASICS.filter((name) => name !== 'ffmpeg');
    const path = await programFolder(t, programs, {
      ffmpeg: '#!/bin/sh\necho ffmpeg version 4.3.8\necho libavformat     58. 45.100\n',
    });
    const { code, text } = await project.run('start.cjs', [], {
      env: { ...env, PATH: path },
      ...(uid === undefined ? {} : { uid }),
    });
    assert.equal(code, 1);
    assert.match(text, /ffmpeg on this system is older than 5/);
  });
});
