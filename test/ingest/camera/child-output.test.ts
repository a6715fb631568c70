import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { openChildOutput } from '../../../ingest/camera/child-output.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

describe("a child's output", () => {
  it('is all that it writes, up to its end, and leaves nothing behind', async (t) => {
    const folder = await temporaryFolder(t);
    withTemporary(t, folder);
    const output = await openChildOutput();
    assert.ok(output !== null);
    assert.deepEqual(await readdir(folder), []);
    const script =
      'for (let n = 0; n < 10; n += 1) process.stdout.write(String(n).repeat(100_000))';
    spawn(process.execPath, ['-e', script], { stdio: ['ignore', output.writer, 'inherit'] });
    output.writer.destroy();
    let text = '';
    output.reader.on('data', (piece: Buffer) => {
      text += piece.toString();
    });
    await once(output.reader, 'close');
    assert.equal(text, Array.from({ length: 10 }, (_, n) => String(n).repeat(100_000)).join(''));
  });

  it('is none where nothing temporary can be made', async (t) => {
    withTemporary(t, '/nowhere');
    assert.equal(await openChildOutput(), null);
  });
});

function withTemporary(t: { after(body: () => void): void }, folder: string): void {
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = folder;
  t.after(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
}
