import assert from 'node:assert/strict';
import { cp, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { checkStore } from '../../../storage/check.ts';
import type { Finding } from '../../../storage/finding.ts';
import { boxesIn } from '../../../storage/video/boxes.ts';
import { startChild } from '../../support/child.ts';
import { filesWithAny } from '../../support/plaintext.ts';
import { compiled } from '../../support/program.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import {
  beginRun,
  cameraOptions,
  durationUsOf,
  fragmentedFormat,
  framePieces,
  groupsOf,
  makeFootage,
  mediaFolderOf,
  newYearUs,
  openFragment,
  openVideo,
  type ParsedFootage,
  parseFootage,
  recordGroups,
  underKey,
} from './footage.ts';

const encryptions = ['none', 'aes-256-gcm'] as const;
const everything = { camera: 'gate', fromUs: 0, toUs: Number.MAX_SAFE_INTEGER, limit: 100_000 };

describe('after a crash', () => {
  let raw: Buffer;
  let footage: ParsedFootage;
  before(async () => {
    raw = await makeFootage({ seconds: 4, audio: ['-c:a', 'aac'], format: fragmentedFormat });
    footage = parseFootage(raw);
  });

  for (const encryption of encryptions) {
    it(`all that was acknowledged is there, whenever the process is killed: ${encryption}`, async (t) => {
      const folder = await temporaryFolder(t);
      const store = join(folder, 'store');
      await writeFile(join(folder, 'footage.mp4'), raw);
      const acknowledged = new Set<number>();
      for (const kills of [1, 2, 9, 23]) {
        const child = startChild(t, process.execPath, [
          compiled(join(import.meta.dirname, 'recording-child.ts')),
          ...[store, join(folder, 'footage.mp4'), String(newYearUs), encryption],
        ]);
        let seen = 0;
        while (seen < kills) {
          await child.line(/acknowledged/);
          seen = child.lines.length;
          if (seen < kills) await new Promise((resolve) => setImmediate(resolve));
        }
        await child.stop('SIGKILL');
        const inTheOpen = await filesWithAny(store, framePieces(footage.chunks));
        assert.equal(inTheOpen.length > 0, encryption === 'none');
        for (const line of child.lines) acknowledged.add(Number(line.split(' ')[1]));

        const { store: reopened } = await openVideo(t, store, { masterKeys: underKey() });
        const fragments = await reopened.video.fragments(everything);
        const numbers = new Set(fragments.map(({ number }) => number));
        for (const number of acknowledged) assert.ok(numbers.has(number), `lost ${number}`);
        assert.ok(fragments.length <= acknowledged.size + kills + 2);
        for (const fragment of fragments.slice(-3)) await reopened.video.readFragment(fragment);
        const [run] = (await reopened.video.runs('gate', 0, Number.MAX_SAFE_INTEGER)).slice(-1);
        assert.equal(run?.endReason, 'gateway crashed');
        assert.equal(run.endUs, fragments.at(-1)!.startUs + fragments.at(-1)!.durationUs);
        assert.deepEqual(await findings(store), []);
        await reopened.close();
      }
    });

    it(`the tail is kept up to its last whole chunk, wherever it was cut: ${encryption}`, async (t) => {
      const folder = await temporaryFolder(t);
      const origin = join(folder, 'origin');
      const masterKeys = underKey();
      const { store } = await openVideo(t, origin, { masterKeys });
      await store.video.ensureCamera(cameraOptions('gate', { encryption }));
      const recording = await beginRun(store, 'gate', footage, newYearUs);
      const [first = [], second = []] = groupsOf(footage.chunks);
      const atUs = await recordGroups(recording, footage, [first], newYearUs);
      await openFragment(recording, footage, second.slice(0, 3), atUs);
      const [row] = await store.video.fragments(everything);
      const tailAt = row!.offset + row!.storedBytes;
      const file = 'gate.1/2026-01-01/00-00-00.1.mp4';
      const whole = await readFile(join(mediaFolderOf(origin), file));
      const boxes = [...boxesIn(whole, tailAt)];
      const lastOfChunk = encryption === 'none' ? 'mdat' : 'uuid';
      const ends = boxes.slice(1).filter(({ type }) => type === lastOfChunk);
      assert.equal(ends.length, 3);

      const cuts = boxes.flatMap(({ start, end }) => [start, start + 80, end - 1, end]);
      for (const length of new Set([...cuts, tailAt + 50])) {
        const copy = join(folder, `cut-${length}`);
        await cp(origin, copy, { recursive: true });
        await truncate(join(mediaFolderOf(copy), file), length);
        const { store: recovered } = await openVideo(t, copy, { masterKeys });
        const fragments = await recovered.video.fragments(everything);
        const chunks = ends.filter(({ end }) => end <= length).length;
        assert.deepEqual(
          fragments.map((fragment) => fragment.chunks.length),
          chunks === 0 ? [first.length] : [first.length, chunks],
          `cut at ${length} of ${whole.length}`,
        );
        const tail = fragments[1];
        if (tail !== undefined) {
          assert.equal(tail.startUs, atUs);
          assert.equal(tail.durationUs, durationUsOf(footage, second.slice(0, chunks)));
          const sizes = tail.chunks.map(({ bytes }) => bytes);
          assert.deepEqual(
            sizes,
            second.slice(0, chunks).map(({ bytes }) => bytes.length),
          );
          const read = await recovered.video.readFragment(tail);
          assert.equal(read.length, tail.plainBytes);
          assert.ok(framePieces(second.slice(0, chunks)).every((piece) => read.includes(piece)));
        }
        await recovered.close();
        assert.deepEqual(await findings(copy), [], `cut at ${length}`);
      }
      await recording.end('ended');
    });
  }

  it('a torn header costs nothing but what only it knew', async (t) => {
    const folder = await temporaryFolder(t);
    const origin = join(folder, 'origin');
    const { store } = await openVideo(t, origin);
    await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const [first = [], second = []] = groupsOf(footage.chunks);
    const atUs = await recordGroups(recording, footage, [first], newYearUs);
    await openFragment(recording, footage, second, atUs);
    const copy = join(folder, 'copy');
    await cp(origin, copy, { recursive: true });
    await recording.end('ended');

    const path = join(mediaFolderOf(copy), 'gate.1/2026-01-01/00-00-00.1.mp4');
    const bytes = await readFile(path);
    const [row] = await store.video.fragments(everything);
    bytes.fill(0xaa, row!.offset + row!.storedBytes + 30, row!.offset + row!.storedBytes + 60);
    await writeFile(path, bytes);
    const { store: recovered } = await openVideo(t, copy);
    const fragments = await recovered.video.fragments(everything);
    assert.deepEqual(
      fragments.map(({ startUs }) => startUs),
      [newYearUs, atUs],
    );
    await recovered.close();
    assert.deepEqual(await findings(copy), []);
  });

  it('rows whose bytes a disk lost are given up, and said', async (t) => {
    const folder = await temporaryFolder(t);
    const origin = join(folder, 'origin');
    const { store } = await openVideo(t, origin);
    await store.video.ensureCamera(cameraOptions('gate'));
    const recording = await beginRun(store, 'gate', footage, newYearUs);
    const groups = groupsOf(footage.chunks).slice(0, 3);
    await recordGroups(recording, footage, groups, newYearUs);
    const [, second] = await store.video.fragments(everything);
    const copy = join(folder, 'copy');
    await cp(origin, copy, { recursive: true });
    await recording.end('ended');
    const path = join(mediaFolderOf(copy), 'gate.1/2026-01-01/00-00-00.1.mp4');
    await truncate(path, second!.offset + 40);
    const { store: recovered, logger } = await openVideo(t, copy);
    assert.equal((await recovered.video.fragments(everything)).length, 1);
    const said = logger.lines.find(({ level }) => level === 'error');
    assert.equal(said?.fields['fragments'], 2);
    await recovered.close();
    assert.deepEqual(await findings(copy), []);
  });
});

async function findings(folder: string): Promise<readonly Finding[]> {
  const all: Finding[] = [];
  for await (const finding of checkStore({ folder })) all.push(finding);
  return all;
}
