import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { split, type Skipping, type SplitOptions } from '../../../ingest/files/split.ts';

const single: SplitOptions = {
  maxLineBytes: 8,
  starts: null,
  recordsMax: 1000,
  endRecord: false,
  endLine: false,
};
const many: SplitOptions = {
  ...single,
  starts: (lines) => lines.map((line) => line.startsWith('#')),
};

interface Taken {
  readonly records: readonly string[];
  readonly rest: string;
  readonly cut: { count: number; bytes: number };
}

/** Feeds a text in pieces of these sizes, as a reader of a growing file does. */
function feed(text: Buffer, sizes: () => number, options: SplitOptions): Taken {
  const records: string[] = [];
  const cut = { count: 0, bytes: 0 };
  let skipping: Skipping = 'nothing';
  let begin = 0;
  for (let end = 0; ;) {
    end = Math.min(text.length, end + sizes());
    for (;;) {
      const parts = split(text.subarray(begin, end), skipping, options);
      records.push(...parts.records.map(String));
      cut.count += parts.cut.count;
      cut.bytes += parts.cut.bytes;
      skipping = parts.skipping;
      begin += parts.consumed;
      if (parts.consumed === 0) break;
    }
    assert.ok(end - begin < options.maxLineBytes + 2, 'a piece of this length is never kept');
    if (end === text.length) return { records, rest: text.subarray(begin).toString(), cut };
  }
}

describe('lines', () => {
  it('end with LF or CR LF, and empty ones are left out', () => {
    const text = Buffer.from('a\r\n\n\r\nbc\rd\nhalf');
    const { records, rest } = feed(text, () => text.length, single);
    assert.deepEqual(records, ['a', 'bc\rd']);
    assert.equal(rest, 'half');
  });

  it('are complete without their end when nothing more comes', () => {
    const parts = split(Buffer.from('a\nhalf'), 'nothing', { ...single, endLine: true });
    assert.deepEqual(parts.records.map(String), ['a', 'half']);
    assert.equal(parts.consumed, 6);
  });

  it('that are as long as allowed are whole, and longer ones are cut', () => {
    const text = Buffer.from('12345678\r\n123456789\n1234567ä\nx\n');
    const { records, cut } = feed(text, () => 3, single);
    assert.deepEqual(records, ['12345678', '12345678', '1234567', 'x']);
    assert.deepEqual(cut, { count: 2, bytes: 3 });
  });

  it('keep bytes that are no UTF-8', () => {
    const line = Buffer.from([0xff, 0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]);
    const { records } = split(Buffer.concat([line, Buffer.from('\n')]), 'nothing', single);
    assert.deepEqual(records, [line.subarray(0, 8)]);
  });

  it('are the same however they come in, whatever they are', () => {
    const random = randomOf(7);
    for (let round = 0; round < 3000; round += 1) {
      const text = randomText(random);
      const expected = linesOf(text.toString('latin1'));
      const options = { ...single, recordsMax: 1 + Math.floor(random() * 3) };
      const { records, cut } = feed(text, () => 1 + Math.floor(random() * 5), options);
      assert.deepEqual(records, expected.records, JSON.stringify(text.toString('latin1')));
      assert.deepEqual(cut, expected.cut, JSON.stringify(text.toString('latin1')));
    }
  });
});

describe('records of several lines', () => {
  it('begin where the pattern says, and end where the next one begins', () => {
    const text = Buffer.from('x\n#1\na\n\n#2\r\nb\n\n\n#3\n');
    const { records, rest } = feed(text, () => text.length, many);
    assert.deepEqual(records, ['x', '#1\na', '#2\nb']);
    assert.equal(rest, '#3\n');
  });

  it('are complete when nothing more comes, but half a line is not', () => {
    const parts = split(Buffer.from('#1\na\nhal'), 'nothing', { ...many, endRecord: true });
    assert.deepEqual(parts.records.map(String), ['#1\na']);
    assert.equal(parts.consumed, 5);
  });

  it('that are too long are cut, and the rest passed over', () => {
    const text = Buffer.from('#1\naaaa\nbbbb\ncccc\n#2\n#3\n');
    for (const size of [1, 4, 100]) {
      const { records, cut } = feed(text, () => size, many);
      assert.deepEqual([records[0]?.slice(0, 7), ...records.slice(1)], ['#1\naaaa', '#2']);
      assert.equal(cut.count, 1);
    }
  });

  it('lose nothing but what is too long, however they come in', () => {
    const random = randomOf(8);
    for (let round = 0; round < 3000; round += 1) {
      const text = randomText(random);
      const options = { ...many, maxLineBytes: 1000 };
      const whole = feed(text, () => text.length, options);
      const recordsMax = 1 + Math.floor(random() * 3);
      const pieces = feed(text, () => 1 + Math.floor(random() * 5), { ...options, recordsMax });
      assert.deepEqual(pieces, whole, JSON.stringify(text.toString('latin1')));
    }
  });
});

/** What lines are, said once more and without regard to pieces. */
function linesOf(text: string): { records: string[]; cut: { count: number; bytes: number } } {
  const max = single.maxLineBytes;
  const lines = text.split('\n');
  const open = lines.pop() ?? '';
  const whole = lines.map((line) => line.replace(/^\0+/, ''));
  const openText = open.replace(/^\0+/, '');
  // A line without an end is taken once it is certain that it is too long.
  if (openText.length >= max + 2) whole.push(openText);
  const content = (line: string): string => line.replace(/\r$/, '');
  const long = whole.filter((line) => content(line).length > max);
  return {
    records: whole.map((line) => content(line).slice(0, max)).filter((line) => line !== ''),
    cut: {
      count: long.length,
      bytes: long.reduce((sum, line) => sum + line.length - max, 0),
    },
  };
}

function randomText(random: () => number): Buffer {
  const characters = 'aaab#\n\n\r\0';
  const length = Math.floor(random() * 60);
  const text = Array.from({ length }, () => characters[Math.floor(random() * characters.length)]);
  return Buffer.from(text.join(''));
}

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
