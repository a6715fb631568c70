import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { LineWriter } from '../../../gateway/observe/line-writer.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';

const describeDropped = (count: number): string => `dropped ${count}\n`;

/** A pipe with a name, its two ends open, neither of them blocking. */
async function pipe(t: TestContext): Promise<{ readEnd: number; writeEnd: number }> {
  const path = join(await temporaryFolder(t), 'pipe');
  execFileSync('mkfifo', [path]);
  const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writeEnd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  return { readEnd, writeEnd };
}

function readAll(fd: number): string {
  const parts: Buffer[] = [];
  const buffer = Buffer.alloc(1 << 20);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, buffer);
    } catch {
      break;
    }
    if (length === 0) break;
    parts.push(Buffer.from(buffer.subarray(0, length)));
  }
  return Buffer.concat(parts).toString();
}

test('lines arrive whole and in order', async (t) => {
  const path = join(await temporaryFolder(t), 'log');
  const fd = openSync(path, 'w');
  const writer = new LineWriter(fd, describeDropped);
  const lines = Array.from(
    { length: 5000 },
    (_, index) => `line ${index} ${'é'.repeat(index % 50)}\n`,
  );
  for (const line of lines) writer.write(line);
  await writer.drained();
  writer.write('last\n');
  writer.flush();
  await writer.drained();
  closeSync(fd);
  assert.equal(readFileSync(path, 'utf8'), [...lines, 'last\n'].join(''));
});

test('a reader that stalls costs lines, not memory, and is told how many', async (t) => {
  const { readEnd, writeEnd } = await pipe(t);
  const writer = new LineWriter(writeEnd, describeDropped);
  const line = `${'x'.repeat(1023)}\n`;
  const sent = 20_000;
  for (let n = 0; n < sent; n++) writer.write(line);
  writer.flush();
  // It reads again: what was kept comes, then what was not is counted.
  let text = '';
  const reading = { finished: false };
  const drained = writer.drained().then(() => {
    reading.finished = true;
  });
  while (!reading.finished) {
    text += readAll(readEnd);
    await new Promise(setImmediate);
  }
  await drained;
  text += readAll(readEnd);
  const dropped = Number(/^dropped (\d+)$/m.exec(text)?.[1]);
  const arrived = text.split('\n').filter((one) => one.length === 1023).length;
  assert.ok(dropped > 5000, `${dropped} dropped`);
  // flush() gives up on a stalled reader, with what it had taken.
  assert.ok(arrived + dropped <= sent);
  closeSync(readEnd);
  closeSync(writeEnd);
});

test('a reader that went away ends the output, and nothing waits for it', async (t) => {
  const { readEnd, writeEnd } = await pipe(t);
  const writer = new LineWriter(writeEnd, describeDropped);
  closeSync(readEnd);
  for (let n = 0; n < 1000; n++) writer.write(`${n}\n`);
  await writer.drained();
  writer.write('more\n');
  writer.flush();
  await writer.drained();
  closeSync(writeEnd);
});

test('a full disk costs the lines that it refuses, and no more', async () => {
  const fd = openSync('/dev/full', 'w');
  const writer = new LineWriter(fd, describeDropped);
  for (let n = 0; n < 10; n++) {
    writer.write(`${n}\n`);
    await writer.drained();
  }
  writer.flush();
  closeSync(fd);
});
