import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { copyProject } from './project.ts';

const BINARY = 'node_modules/sqlite3/build/Release/node_sqlite3.node';

describe("sqlite3's native module", () => {
  it('is put back from the kept copy when it is truncated, rubbish or gone', async (t) => {
    const project = await copyProject(t);
    const whole = await readFile(project.path(BINARY));
    const kept = await project.evaluate(`console.log(setup('native').keptCopy())`);
    await mkdir(dirname(kept), { recursive: true });
    await writeFile(kept, whole);
    const isReady = () => project.evaluate(`setup('native').isReady().then(console.log)`);
    for (const damaged of [whole.subarray(0, 4096), 'not a library', null]) {
      // Removed first: the copy's files are links to this project's own.
      await project.removeNative();
      await mkdir(dirname(project.path(BINARY)), { recursive: true });
      if (damaged !== null) await writeFile(project.path(BINARY), damaged);
      assert.equal(await isReady(), 'true');
      assert.deepEqual(await readFile(project.path(BINARY)), whole);
    }

    // A kept copy that is damaged itself is of no use, and does not stay.
    await project.removeNative();
    await writeFile(kept, 'not a library');
    assert.equal(await isReady(), 'false');
    assert.ok(!existsSync(kept));
  });
});

describe("Node's headers", () => {
  const find = `setup('node-headers')
    .findHeaders(setup('steps').createSteps(() => undefined))
    .then((found) => console.log(JSON.stringify(found)));`;
  interface Found {
    readonly folder?: string;
    readonly from: string;
  }

  it("come from npm's package of the same version where none are beside Node", async (t) => {
    const project = await copyProject(t, { withPackages: false });
    const prefix = await temporaryFolder(t);
    const node = join(prefix, 'bin/node');
    await mkdir(dirname(node));
    await copyFile(process.execPath, node);
    // As a distribution's package may leave them: there, and of another Node.
    const beside = join(prefix, 'include/node');
    await mkdir(beside, { recursive: true });
    for (const file of ['node_api.h', 'common.gypi', 'config.gypi']) {
      await writeFile(join(beside, file), '');
    }
    const version = ['MAJOR 18', 'MINOR 19', 'PATCH 0'].map((part) => {
      const [name, value] = part.split(' ');
      return `#define NODE_${name!}_VERSION ${value!}\n`;
    });
    await writeFile(join(beside, 'node_version.h'), version.join(''));
    const found = JSON.parse(await project.evaluate(find, node)) as Found;
    if (found.folder === undefined) {
      t.skip(`needs npm's package of Node ${process.versions.node}, which is out of reach`);
      return;
    }
    assert.match(found.from, /^npm's node-.* package$/);
    assert.ok(found.folder.startsWith(project.path('build')));
    const header = join(found.folder, 'include/node/node_version.h');
    const text = await readFile(header, 'utf8');
    const [, minor, patch] = process.versions.node.split('.');
    assert.match(text, new RegExp(`NODE_MINOR_VERSION ${minor!}\\n`));
    assert.match(text, new RegExp(`NODE_PATCH_VERSION ${patch!}\\n`));
    assert.ok((await stat(join(found.folder, 'include/node/config.gypi'))).size > 0);

    // And are there the next time, with no registry in reach.
    const offline = {
      npm_config_registry: 'http://127.0.0.1:9/',
      npm_config_fetch_retries: '0',
    };
    const again = JSON.parse(await project.evaluate(find, node, offline)) as Found;
    assert.deepEqual(again, found);
    // Half of them are not taken for all of them.
    await rm(join(found.folder, 'include/node/node_api.h'));
    const without = JSON.parse(await project.evaluate(find, node, offline)) as Found;
    assert.equal(without.folder, undefined);
  });
});
