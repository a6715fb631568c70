import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { copyProject, programFolder, type Project } from './project.ts';
import type { TestContext } from 'node:test';

/** Whatever test packages this machine lacks, these tests install none. */
async function environment(t: TestContext): Promise<NodeJS.ProcessEnv> {
  const folder = await programFolder(t, [], { 'apt-get': '#!/bin/sh\nexit 100\n' });
  return { PATH: `${folder}:${process.env['PATH'] ?? ''}` };
}

async function withTests(t: TestContext): Promise<Project> {
  const project = await copyProject(t);
  const head = `import { it } from 'node:test';\nimport assert from 'node:assert/strict';\n`;
  await project.write('test/storage/good.test.ts', `${head}it('holds', () => undefined);\n`);
  await project.write(
    'test/ingest/bad.test.ts',
    `${head}const wanted: number = 2;\nit('breaks', () => assert.equal(1, wanted));\n`,
  );
  return project;
}

describe('npm test', () => {
  it('runs every test, prints the summary and fails when one fails', async (t) => {
    const project = await withTests(t);
    const { code, text } = await project.run('test.cjs', [], { env: await environment(t) });
    assert.equal(code, 1, text);
    assert.match(text, /✔ holds/);
    assert.match(text, /✖ breaks/);
    assert.match(text, /ℹ tests 2[\s\S]*ℹ pass 1[\s\S]*ℹ fail 1/);
  });

  it('runs only what it is told to, with the options that it is given', async (t) => {
    const project = await withTests(t);
    const env = await environment(t);
    const some = await project.run('test.cjs', ['test/storage'], { env });
    assert.equal(some.code, 0, some.text);
    assert.match(some.text, /ℹ tests 1/);
    const named = await project.run('test.cjs', ['--test-name-pattern=holds'], { env });
    assert.equal(named.code, 0, named.text);
    const none = await project.run('test.cjs', ['test/gateway'], { env });
    assert.equal(none.code, 1);
    assert.match(none.text, /There are no tests in test\/gateway\./);
  });
});
