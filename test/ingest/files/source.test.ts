import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, open, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { StorageError } from '../../../storage/errors.ts';
import { Rig, truncate } from './support.ts';

const numbered = (from: number, to: number, what = 'line'): string =>
  Array.from({ length: to - from }, (_, index) => `${what} ${from + index}\n`).join('');

const listed = (from: number, to: number, what = 'line'): string[] =>
  numbered(from, to, what).trimEnd().split('\n');

test('lines come in order, and half a line waits for its end', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', 'one\r\n\ntwo\nthr');
  await rig.start();
  assert.deepEqual(await rig.lines(2), ['one', 'two']);
  await rig.write('a.log', 'ee');
  await rig.write('b.log', 'another file\n');
  assert.deepEqual(await rig.lines(3), ['one', 'two', 'another file']);
  await rig.write('a.log', '\n');
  assert.deepEqual(await rig.lines(4), ['one', 'two', 'another file', 'three']);
  const { files, records, backlogBytes } = rig.source.status();
  assert.deepEqual({ files, records, backlogBytes }, { files: 2, records: 4, backlogBytes: 0 });
});

test('a restart goes on where it was', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', numbered(0, 100));
  await rig.start();
  await rig.lines(100);
  await rig.write('a.log', 'half');
  await rig.reopen();
  await rig.write('a.log', ' done\n');
  await rig.write('later.log', 'later\n');
  await rig.start();
  const lines = await rig.linesBehind('a.log');
  assert.deepEqual(lines.toSorted(), [...listed(0, 100), 'half done', 'later'].toSorted());
});

test('only what comes after the first start is taken from the end', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', 'old\nhalf of a');
  await rig.start({ from: 'end' });
  await rig.write('a.log', ' line\n');
  await rig.write('new.log', 'new file\n');
  assert.deepEqual([...(await rig.lines(2))].sort(), ['half of a line', 'new file']);
  await rig.reopen();
  await rig.write('while-away.log', 'came while nobody looked\n');
  await rig.start({ from: 'end' });
  assert.equal((await rig.lines(3))[2], 'came while nobody looked');
});

test('a renamed file is read to its end, and the new one from its beginning', async (t) => {
  const rig = await Rig.make(t);
  const writer = await open(rig.path('app.log'), 'a');
  t.after(() => writer.close());
  await writer.write(numbered(0, 10));
  await rig.start({ path: rig.path('app.log') });
  await rig.lines(10);
  await rename(rig.path('app.log'), rig.path('app.log.1'));
  // The program goes on in the old file until it is told.
  await writer.write(numbered(10, 15));
  await rig.write('app.log', numbered(15, 20));
  await rig.lines(20);
  await rename(rig.path('app.log.1'), rig.path('app.log.2'));
  await rename(rig.path('app.log'), rig.path('app.log.1'));
  await writer.write('last of the oldest\n');
  await rig.lines(21);
  const lines = await rig.linesBehind('app.log');
  assert.deepEqual(lines.toSorted(), [...listed(0, 20), 'last of the oldest'].toSorted());
});

test('a file that is deleted while it is open is read to its end, half a line too', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', 'one\n');
  await rig.start();
  await rig.lines(1);
  await rig.write('a.log', 'two\nthe very end');
  await rm(rig.path('a.log'));
  assert.deepEqual(await rig.lines(3), ['one', 'two', 'the very end']);
});

test('what was not read of a truncated file is read from its copy', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('app.log', numbered(0, 50));
  await rig.start();
  await rig.lines(50);
  await rig.stop();
  await rig.write('app.log', numbered(50, 60));
  await copyFile(rig.path('app.log'), rig.path('app.log.1'));
  await truncate(rig.path('app.log'));
  await rig.write('app.log', numbered(60, 200));
  await rig.start();
  await rig.lines(200);
  const lines = await rig.linesBehind('app.log');
  assert.deepEqual(lines.toSorted(), listed(0, 200).toSorted());
  assert.equal(rig.source.status().truncations, 1);
});

test('a copy that the pattern takes is not read beside its original', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('app.log', numbered(0, 50));
  await rig.start({ path: rig.path('app.log*') });
  await rig.lines(50);
  await copyFile(rig.path('app.log'), rig.path('app.log.1'));
  await rig.write('app.log', 'between\n');
  assert.deepEqual(await rig.linesBehind('app.log'), [...listed(0, 50), 'between']);
  await truncate(rig.path('app.log'));
  await rig.write('app.log', 'after\n');
  const lines = await rig.linesBehind('app.log');
  assert.deepEqual(lines, [...listed(0, 50), 'between', 'after']);
});

test('a file that was truncated and is longer again is read from its beginning', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', numbered(0, 10));
  await rig.start();
  await rig.lines(10);
  await truncate(rig.path('a.log'));
  await rig.write('a.log', numbered(100, 200));
  assert.deepEqual(await rig.lines(110), [...listed(0, 10), ...listed(100, 200)]);
});

test('the hole that a truncation leaves under a writer is passed over', async (t) => {
  const rig = await Rig.make(t);
  const writer = await open(rig.path('a.log'), 'w');
  t.after(() => writer.close());
  const text = numbered(0, 100);
  await writer.write(text, 0);
  await rig.start();
  await rig.lines(100);
  await writer.truncate(0);
  await writer.write('behind the hole\n', 3_000_000);
  assert.equal((await rig.lines(101))[100], 'behind the hole');
});

test('rotated files are compressed, and nothing is read twice', async (t) => {
  const rig = await Rig.make(t);
  const options = { path: rig.path('app.log*') };
  await rig.write('app.log', numbered(0, 50));
  await rig.start(options);
  await rig.lines(50);
  const compress = async (rest: string): Promise<void> => {
    await rename(rig.path('app.log'), rig.path('app.log.1'));
    await writeFile(rig.path('app.log.1.gz'), gzipSync(rest));
    await rm(rig.path('app.log.1'));
  };
  await compress(numbered(0, 50));
  await rig.write('app.log', numbered(50, 80));
  const all = [...listed(0, 50), ...listed(50, 80)];
  assert.deepEqual(await rig.linesBehind('app.log'), all);
  // The same while nobody looks, with lines that were not read before.
  await rig.reopen();
  await rename(rig.path('app.log.1.gz'), rig.path('app.log.2.gz'));
  await rename(rig.path('app.log'), rig.path('app.log.1'));
  await rig.write('app.log.1', numbered(80, 120));
  execFileSync('gzip', [rig.path('app.log.1')]);
  await rig.write('app.log', numbered(120, 130));
  await rig.start(options);
  await rig.lines(131);
  const lines = await rig.linesBehind('app.log');
  assert.deepEqual(lines.toSorted(), listed(0, 130).toSorted());
});

test('a compressed file that is damaged gives what can be read of it', async (t) => {
  const rig = await Rig.make(t);
  const whole = gzipSync(numbered(0, 5000));
  await rig.write('old.log', whole.subarray(0, whole.length >> 1));
  await rig.start();
  await rig.write('b.log', 'fence\n');
  const lines = await rig.linesBehind('b.log');
  const found = lines.filter((line) => line.startsWith('line '));
  assert.ok(found.length > 10);
  assert.deepEqual(found.slice(0, -1), listed(0, found.length - 1), 'the last one may be half');
});

test('a file that is written anew by an editor goes on where it was', async (t) => {
  const rig = await Rig.make(t);
  const text = numbered(0, 200);
  await rig.write('a.log', text);
  await rig.start();
  await rig.lines(200);
  await writeFile(rig.path('a.tmp'), `${text}added\n`);
  await rename(rig.path('a.tmp'), rig.path('a.log'));
  assert.equal((await rig.lines(201))[200], 'added');
  assert.deepEqual(await rig.linesBehind('a.log'), [...listed(0, 200), 'added']);
});

test('files appear later, in folders that appear later, and behind links', async (t) => {
  const rig = await Rig.make(t);
  await rig.start({ path: rig.path('**/*.log') });
  await mkdir(rig.path('app/deep'), { recursive: true });
  await rig.write('app/deep/a.log', 'deep\n');
  assert.deepEqual(await rig.lines(1), ['deep']);
  await mkdir(rig.path('targets'));
  await rig.write('targets/one', 'linked\n');
  await symlink('targets/one', rig.path('current.log'));
  assert.deepEqual(await rig.lines(2), ['deep', 'linked']);
  await rig.write('targets/one', 'through the link\n');
  await rig.lines(3);
  await rig.write('targets/two', 'another target\n');
  await rm(rig.path('current.log'));
  await symlink('targets/two', rig.path('current.log'));
  const lines = await rig.lines(4);
  assert.deepEqual(lines.slice(2), ['through the link', 'another target']);
});

test('what is no file, or can not be read, is told and holds up nothing', async (t) => {
  const rig = await Rig.make(t);
  await mkdir(rig.path('folder.log'));
  await symlink('nowhere', rig.path('broken.log'));
  await rig.write('packed.log', Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]));
  execFileSync('mkfifo', [rig.path('pipe.log')]);
  await rig.write('good.log', 'good\n');
  await rig.start();
  assert.deepEqual(await rig.lines(1), ['good']);
  assert.deepEqual(rig.source.status().troubles, [
    { path: rig.path('packed.log'), reason: 'it is compressed by zstd' },
  ]);
});

test('binary rubbish is taken byte by byte, and a long line is cut and counted', async (t) => {
  const rig = await Rig.make(t);
  const rubbish = Buffer.from(Array.from({ length: 600 }, (_, index) => (index * 7 + 1) % 256));
  const expected = rubbish.toString('latin1').split('\n').length;
  await rig.write('a.log', Buffer.concat([rubbish, Buffer.from('\n')]));
  await rig.start();
  await rig.lines(expected);
  await rig.write('a.log', `${'ä'.repeat(300_000)}\nshort\n`);
  const lines = await rig.lines(expected + 2);
  assert.equal(lines.at(-2), 'ä'.repeat(512), 'no character is cut in two');
  assert.equal(lines.at(-1), 'short');
  const [loss] = rig.store.losses.report();
  assert.deepEqual(
    { kind: loss?.kind, subject: loss?.subject, count: loss?.count, bytes: loss?.bytes },
    { kind: 'lines-cut', subject: 'lines', count: 1, bytes: 600_000 - 1024 },
  );
  assert.equal(rig.source.status().cut, 1);
});

test('records of several lines are kept together, and the last one ends by itself', async (t) => {
  const rig = await Rig.make(t);
  const multiline = { startPattern: '^\\d', flushSeconds: 0.2 };
  await rig.write('a.log', 'lost head\n1 first\n  at a\n\n  at b\r\n2 second\n');
  await rig.start({ multiline });
  assert.deepEqual(await rig.lines(3), ['lost head', '1 first\n  at a\n\n  at b', '2 second']);
  await rig.write('a.log', '3 third\n  more');
  await rig.reopen();
  await rig.write('a.log', ' and more\n4 fourth\n');
  await rig.start({ multiline });
  assert.deepEqual((await rig.lines(5)).slice(3), ['3 third\n  more and more', '4 fourth']);
});

test('a record of too many lines is cut, and the next one begins where it begins', async (t) => {
  const rig = await Rig.make(t);
  const body = Array.from({ length: 1000 }, (_, index) => `  at line ${index}\n`).join('');
  await rig.write('a.log', `1 long\n${body}${body}2 short\n3 end\n`);
  await rig.start({ multiline: { startPattern: '^\\d', flushSeconds: 0.2 } });
  const lines = await rig.lines(3);
  assert.deepEqual([lines[0]?.length, lines[1], lines[2]], [1024, '2 short', '3 end']);
});

test('fields become JSON, keys come from them, and what does not fit is kept', async (t) => {
  const rig = await Rig.make(t);
  await rig.write('a.log', 'host,load\nalpha,1\n"be""ta, 2",2\nonly-one\n"open,3\n');
  await rig.start({ convert: 'csv', partitionKey: 'h-{record.host}' });
  assert.deepEqual(await rig.lines(4), [
    '{"host":"alpha","load":"1"}',
    '{"host":"be\\"ta, 2","load":"2"}',
    'only-one',
    '"open,3',
  ]);
  assert.equal(rig.source.status().unconverted, 2);
  await rig.reopen();
  await rig.write('a.log', 'gamma,3\n');
  await rig.start({ convert: 'csv', partitionKey: 'h-{record.host}' });
  assert.equal((await rig.lines(5))[4], '{"host":"gamma","load":"3"}', 'the names are known again');
  const shard = rig.store.log.stream('lines').shards[0]!;
  const read = { fromSequence: 0, maxRecords: 10, maxBytes: 1e6 };
  const { records } = await rig.store.log.read({ shardId: shard.id, ...read });
  const path = rig.path('a.log');
  assert.deepEqual(
    records.map(({ partitionKey }) => partitionKey),
    ['h-alpha', 'h-be"ta, 2', path, path, 'h-gamma'],
  );
});

test('lines wait in their files while the log refuses, also through a rotation', async (t) => {
  const rig = await Rig.make(t);
  const { places } = rig.store;
  let refusals = 0;
  let refuses = true;
  await rig.write('app.log', numbered(0, 10));
  let refused: () => void = () => undefined;
  const threeRefusals = new Promise<void>((resolve) => (refused = resolve));
  await rig.start({
    path: rig.path('app.log'),
    places: {
      of: (source) => places.of(source),
      move: (source, changes, placed) => {
        if (!refuses || placed === null) return places.move(source, changes, placed);
        refusals += 1;
        if (refusals === 3) refused();
        return Promise.reject(new StorageError('overloaded', 'too much waits'));
      },
    },
  });
  await threeRefusals;
  assert.equal(rig.source.status().refusal, 'too much waits');
  await rename(rig.path('app.log'), rig.path('gone'));
  await rm(rig.path('gone'));
  await rig.write('app.log', numbered(10, 20));
  refuses = false;
  assert.deepEqual([...(await rig.lines(20))].sort(), listed(0, 20).sort());
  assert.equal(rig.source.status().refusal, null);
});

test('a stream that is gone ends the source with an error, and nothing is passed over', async (t) => {
  const rig = await Rig.make(t);
  await rig.start();
  await rig.store.log.deleteStream('lines');
  await rig.write('a.log', 'one\n');
  await assert.rejects(rig.ended(), { name: 'SourceError', code: 'storage' });
});
