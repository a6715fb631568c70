import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { listPaths, nameMatcher } from '../../../ingest/files/glob.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

test('a path is a file, a folder or a pattern', async (t) => {
  const folder = await temporaryFolder(t);
  for (const name of [
    'a.log',
    'b.log',
    'b.txt',
    '.hidden.log',
    'x/c.log',
    'x/y/d.log',
    '.z/e.log',
  ]) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), '');
  }
  await symlink('.', join(folder, 'x/loop'));
  const listed = async (pattern: string): Promise<string[]> =>
    (await listPaths(join(folder, pattern))).paths.map((path) => relative(folder, path));
  assert.deepEqual(await listed('a.log'), ['a.log']);
  assert.deepEqual(await listed('not-there.log'), ['not-there.log']);
  assert.deepEqual(await listed('x'), ['x/c.log', 'x/loop', 'x/y']);
  assert.deepEqual(await listed('*.log'), ['a.log', 'b.log']);
  assert.deepEqual(await listed('.*.log'), ['.hidden.log']);
  assert.deepEqual(await listed('*/*.log'), ['x/c.log']);
  assert.deepEqual(await listed('**/*.log'), ['a.log', 'b.log', 'x/c.log', 'x/y/d.log']);
  assert.deepEqual(await listed('x/**'), ['x/c.log', 'x/loop', 'x/y', 'x/y/d.log']);
  assert.deepEqual(await listed('[b-z].{log,txt}'), ['b.log', 'b.txt']);
  assert.deepEqual(await listed('no/such/*'), []);
  assert.deepEqual(await listed('a.log/*'), []);
});

test('names are matched as a whole', () => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['*', '', true],
    ['a*', 'ba', false],
    ['[!a]', 'a', false],
    ['[!a]', 'ä', true],
    ['[]', '[]', true],
    ['[a^]', '^', true],
    ['{a.b,c}d', 'a.bd', true],
    ['{a.b,c}d', 'axbd', false],
    ['(a|b)+', '(a|b)+', true],
    ['{open', '{open', true],
  ];
  for (const [pattern, name, expected] of cases) {
    assert.equal(nameMatcher(pattern)(name), expected, `${pattern} ${name}`);
  }
});
