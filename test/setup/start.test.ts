import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { copyProject, lockIsFree } from './project.ts';

interface Given {
  readonly args: string[];
  readonly pool: string;
  readonly engine: string;
  readonly worker: string;
  readonly ffmpeg?: string;
}

const GATEWAY = /^gateway (.*)$/;

describe('npm start', () => {
  it('compiles, runs the gateway with what is left of the arguments, and ends as it ends', async (t) => {
    const project = await copyProject(t);
    const child = project.start('start.cjs', ['check', '--fast'], {
      env: { NODE_OPTIONS: '--no-deprecation' },
    });
    const given = JSON.parse((await child.line(GATEWAY))[1]!) as Given;
    assert.deepEqual(given.args, ['check', '--fast']);
    assert.ok(Number(given.pool) > 4, 'a larger pool than libuv has by itself');
    assert.match(
      given.engine,
      /^--max-semi-space-size=\d+ --max-old-space-size=\d+ --no-deprecation$/,
      'the last one counts',
    );
    assert.equal(given.worker, project.path('build/mediasoup-worker/mediasoup-worker'));
    child.process.kill('SIGTERM');
    assert.deepEqual(await child.exited, { code: 7, signal: null });
    assert.ok(child.lines.includes('left by SIGTERM'));
    assert.match(
      child.lines.join('\n'),
      /\[set-up\] Compiling .*not compiled yet …\n.*done \(.* s\)/,
    );
  });

  it('passes on a Ctrl-C once, though the terminal and npm both send it', async (t) => {
    const project = await copyProject(t);
    const child = project.start('start.cjs');
    await child.line(GATEWAY);
    child.process.kill('SIGINT');
    child.process.kill('SIGINT');
    assert.equal((await child.exited).code, 7);
    assert.equal(child.lines.filter((line) => line === 'left by SIGINT').length, 1);
  });

  it('does nothing again that is done, and says so in one line', async (t) => {
    const project = await copyProject(t);
    const first = project.start('start.cjs');
    await first.line(GATEWAY);
    await first.stop();
    const second = project.start('start.cjs');
    await second.line(GATEWAY);
    await second.stop();
    const said = second.lines.filter((line) => line.startsWith('[set-up]'));
    assert.equal(said.length, 1, said.join('\n'));
    assert.match(said[0]!, /Everything is in place \(\d/);
  });

  it('compiles again when a source changes, and drops the output of one that is gone', async (t) => {
    const project = await copyProject(t);
    await project.write('storage/old.ts', 'export const old = 1;\n');
    await project.start('start.cjs').line(GATEWAY);
    assert.ok(existsSync(project.path('dist/storage/old.js')));
    await rm(project.path('storage/old.ts'));
    const child = project.start('start.cjs');
    await child.line(GATEWAY);
    assert.match(child.lines.join('\n'), /because the sources have changed/);
    assert.ok(!existsSync(project.path('dist/storage/old.js')));
  });

  it('stops at what does not compile, shows it, and leaves what was compiled', async (t) => {
    const project = await copyProject(t);
    await project.start('start.cjs').line(GATEWAY);
    await project.write('storage/wrong.ts', 'export const size: number = "much";\n');
    const { code, text } = await project.run('start.cjs');
    assert.equal(code, 1);
    assert.match(text, /The gateway does not compile:\n.*storage\/wrong\.ts\(1,14\)/);
    assert.ok(existsSync(project.path('dist/gateway/main.js')));
  });

  it('takes up after a kill in the middle of compiling', async (t) => {
    const project = await copyProject(t);
    const killed = project.start('start.cjs');
    await killed.line(/Compiling/);
    await killed.stop('SIGKILL');
    const child = project.start('start.cjs');
    await child.line(GATEWAY);
    assert.match(child.lines.join('\n'), /Compiling/);
  });

  it('compiles again when its own note of what is compiled is rubbish', async (t) => {
    const project = await copyProject(t);
    await project.start('start.cjs').line(GATEWAY);
    await writeFile(project.path('dist/.sources'), '\0\u{fffd}'.repeat(1000));
    const child = project.start('start.cjs');
    await child.line(GATEWAY);
    assert.match(child.lines.join('\n'), /Compiling/);
  });

  it('lets a second one wait for the set-up of the first', async (t) => {
    const project = await copyProject(t);
    const both = [project.start('start.cjs'), project.start('start.cjs')];
    await Promise.all(both.map((child) => child.line(GATEWAY)));
    const said = both.map((child) => child.lines.join('\n'));
    assert.equal(said.filter((text) => text.includes('Compiling')).length, 1);
    assert.equal(said.filter((text) => text.includes('Another set-up works')).length, 1);
  });

  it('spends no minutes on WebRTC where it is switched off', async (t) => {
    const project = await copyProject(t);
    const child = project.start('start.cjs', ['--serve'], { env: { HEADGATE_WEBRTC: 'off' } });
    await child.line(GATEWAY);
    child.process.kill('SIGTERM');
    assert.equal((await child.exited).code, 7);
    assert.doesNotMatch(child.lines.join('\n'), /Building mediasoup|WebRTC/);
    assert.ok(!existsSync(project.path('build/mediasoup-worker.lock')));
  });

  it('builds what WebRTC needs beside a gateway that serves, and ends that with it', async (t) => {
    const project = await copyProject(t);
    const child = project.start('start.cjs', ['--serve']);
    await child.line(GATEWAY);
    await child.line(/Building mediasoup's worker|Going on without: WebRTC/);
    child.process.kill('SIGTERM');
    assert.equal((await child.exited).code, 7);
    // Returns at once when nothing of the build is left.
    await lockIsFree(project.path('build/mediasoup-worker.lock'));
    assert.ok(!existsSync(project.path('build/mediasoup-worker/mediasoup-worker')));
  });
});
