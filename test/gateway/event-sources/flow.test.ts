/** Holding an event source back, putting it elsewhere, and having done after all what it gave up. */
import assert from 'node:assert/strict';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { applicationOf } from '../../../gateway/event-sources/applications.ts';
import { numbered, streamOptions } from '../forward/support/rig.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { temporaryFolder } from '../../support/temporary-folder.ts';
import { ImpatientClock } from '../functions/support/functions.ts';
import { noting, openSources, until } from './support/sources.ts';

const ids = (notes: readonly unknown[]): readonly number[] =>
  (notes as readonly (readonly string[])[])
    .flat()
    .map((text) => (JSON.parse(text) as { id: number }).id);

const range = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

describe('an event source that is steered', () => {
  it('begins no call while it is paused, over a restart too, and goes on where it was', async (t) => {
    const folder = await temporaryFolder(t);
    const { target, notes } = await noting(t, 'note(texts);');
    const first = await openSources(t, { folder, clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    await first.store.log.append('readings', numbered(0, 10));
    const before = first.begin({ function: target });
    await until(before, ({ records }) => records === 10);
    await before.pause();
    await before.pause();
    await first.store.log.append('readings', numbered(10, 5));
    const paused = await before.status();
    assert.deepEqual(
      [paused.state, paused.held, paused.backlog.records],
      ['waiting', { by: 'pause', reason: 'paused since 2026-01-01T00:00:00.000Z' }, 5],
    );
    await first.close();
    const second = await openSources(t, { folder });
    const after = second.begin({ function: target });
    const still = await until(after, ({ held }) => held !== null);
    assert.deepEqual([still.state, still.backlog.records], ['waiting', 5]);
    assert.equal(ids(notes()).length, 10);
    await after.resume();
    const { held } = await until(after, ({ records }) => records === 5);
    assert.equal(held, null);
    assert.deepEqual(ids(notes()), range(0, 15));
  });

  it('makes an attempt that waits for its time at once, with the module as it is by then', async (t) => {
    const clock = new ManualClock();
    const sources = await openSources(t, { clock });
    const { target, notes, source } = await noting(t, 'note(texts);');
    assert.ok('module' in target);
    const { path } = target.module;
    await rm(path);
    await sources.store.log.append('readings', numbered(0, 1));
    const one = sources.begin({ function: target });
    const { advice } = await until(one, ({ state }) => state === 'backing-off');
    assert.match(advice ?? '', /"headgate function resume" .* makes at once/);
    const sinceMs = clock.monotonicMs();
    await writeFile(path, source);
    await one.resume();
    await until(one, ({ records }) => records === 1);
    assert.deepEqual(ids(notes()), [0]);
    assert.equal(clock.monotonicMs(), sinceMs, 'no time went by');
  });

  it('calls a function that fails no more once it is paused', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target } = await noting(t, `throw new Error('never');`);
    await sources.store.log.append('readings', numbered(0, 1));
    const source = sources.begin({ function: target });
    await until(source, ({ metrics }) => metrics.Invocations >= 3);
    await source.pause();
    // One may be under way.
    let invocations = -1;
    for (let same = 0; same < 50;) {
      const { metrics } = await source.status();
      same = metrics.Invocations === invocations ? same + 1 : 0;
      invocations = metrics.Invocations;
      await setImmediate();
    }
    await source.resume();
    await until(source, ({ metrics }) => metrics.Invocations > invocations);
  });

  it('gets again what came since a time, and nothing of what it skips', async (t) => {
    const clock = new ManualClock(Date.UTC(2026, 0, 1));
    const sources = await openSources(t, { clock });
    const { target, notes } = await noting(t, 'note(texts);');
    await sources.store.log.append('readings', numbered(0, 10));
    clock.advance(60_000);
    const timeMs = clock.nowMs();
    await sources.store.log.append('readings', numbered(10, 10));
    const source = sources.begin({ function: target });
    await until(source, ({ records }) => records === 20);
    await source.rewind({ timeMs });
    await until(source, ({ records }) => records === 30);
    assert.deepEqual(ids(notes()), [...range(0, 20), ...range(10, 20)]);
    await source.pause();
    await sources.store.log.append('readings', numbered(20, 5));
    await source.rewind('latest');
    const { state, backlog } = await source.status();
    assert.deepEqual([state, backlog.records], ['waiting', 0]);
    await sources.store.log.append('readings', numbered(25, 1));
    await source.resume();
    await until(source, ({ records }) => records === 31);
    assert.equal(ids(notes()).at(-1), 25);
    await source.rewind('earliest');
    await until(source, ({ records }) => records === 57);
  });

  it('forgets the state of a window with the place', async (t) => {
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target, notes } = await noting(
      t,
      `note(event.state.count ?? 0); return { state: { count: (event.state.count ?? 0) + texts.length } };`,
    );
    const source = sources.begin({ function: target, tumblingWindowSeconds: 60 });
    await sources.store.log.append('readings', numbered(0, 3));
    await until(source, ({ records }) => records === 3);
    await sources.store.log.append('readings', numbered(3, 3));
    await until(source, ({ records }) => records === 6);
    await source.rewind('earliest');
    await until(source, ({ records }) => records === 12);
    assert.deepEqual(notes(), [0, 3, 0]);
  });
});

/** Fails a record until a file says that it is mended. */
const fails = (mended: string): string => `
  const { existsSync } = await import('node:fs');
  const bad = texts.some((text) => JSON.parse(text).id % 10 === 3);
  if (bad && !existsSync(${JSON.stringify(mended)})) throw new Error('the third');
  note(texts);`;

describe('what an event source gave up', () => {
  for (const place of ['stream', 'folder'] as const) {
    it(`is counted with its reason, and done when it is asked for (${place})`, async (t) => {
      const folder = await temporaryFolder(t);
      const mended = `${folder}/mended`;
      const letters = `${folder}/letters`;
      const deadLetter = place === 'stream' ? { stream: 'letters' } : { folder: letters };
      const sources = await openSources(t, { clock: new ImpatientClock() });
      const { target, notes } = await noting(t, fails(mended));
      await sources.store.log.append('readings', numbered(0, 40));
      const source = sources.begin({
        ...{ function: target, batchSize: 10, bisectOnError: true, retries: 0, deadLetter },
      });
      const { failed } = await until(source, ({ backlog }) => backlog.records === 0);
      assert.equal(failed?.batches, 4);
      assert.match(failed.newest?.reason ?? '', /the third/);
      assert.equal(failed.isReplaying, false);
      assert.equal(ids(notes()).length, 36);

      // What fails once more is kept once more.
      assert.equal(await source.replay(), 4);
      await until(source, ({ metrics }) => metrics.DroppedEventCount === 8);
      const again = await until(source, (status) => status.failed?.isReplaying === false);
      assert.equal(again.failed?.batches, 4);

      await writeFile(mended, '');
      assert.equal(await source.replay(), 4);
      const after = await until(source, (status) => status.failed?.batches === 0);
      assert.deepEqual(after.failed, { batches: 0, newest: null, isReplaying: false });
      assert.deepEqual(ids(notes()).slice(36), [3, 13, 23, 33]);
      assert.equal(await source.replay(), 0);
      assert.ok(!sources.logger.lines.some(({ fields }) => fields.healthy === false));
      assert.ok(sources.logger.lines.some(({ message }) => message === 'a task is done'));
      if (place === 'folder') {
        const left = await readdir(letters, { recursive: true, withFileTypes: true });
        assert.deepEqual(
          left.filter((entry) => entry.isFile()),
          [],
        );
      }
    });
  }

  it('is what the function was to get, to the letter', async (t) => {
    const mended = `${await temporaryFolder(t)}/mended`;
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target, notes } = await noting(t, `note(event); ${fails(mended)}`);
    await sources.store.log.append('readings', numbered(3, 1));
    const source = sources.begin({
      ...{ function: target, retries: 0, deadLetter: { stream: 'letters' } },
    });
    await until(source, (status) => status.failed?.batches === 1);
    await source.replay();
    await until(source, ({ metrics }) => metrics.DroppedEventCount === 2);
    const [first, second, ...others] = notes();
    assert.deepEqual(first, second);
    assert.deepEqual(others, []);
    const [letter, again] = (await sources.texts('letters')).map(
      (text) => (JSON.parse(text) as { KinesisBatchInfo: unknown }).KinesisBatchInfo,
    );
    assert.deepEqual(letter, again);
  });

  it('goes on after a restart, and waits while it is paused', async (t) => {
    const folder = await temporaryFolder(t);
    const { target: failing } = await noting(t, `throw new Error('never');`);
    const first = await openSources(t, { folder, clock: new ImpatientClock() });
    await first.store.log.append('readings', numbered(0, 3));
    const options = { batchSize: 1, retries: 0, deadLetter: { stream: 'letters' } };
    const before = first.begin({ function: failing, ...options });
    await until(before, (status) => status.failed?.batches === 3);
    await before.pause();
    assert.equal(await before.replay(), 3);
    await first.close();
    const second = await openSources(t, { folder });
    const { target, notes } = await noting(t, 'note(texts);');
    const after = second.begin({ function: target, ...options });
    const waiting = await until(after, ({ held }) => held !== null);
    assert.deepEqual([waiting.failed?.batches, waiting.failed?.isReplaying], [3, true]);
    await after.resume();
    await until(after, (status) => status.failed?.batches === 0);
    assert.deepEqual(ids(notes()), [0, 1, 2]);
  });

  it('of a window is a window of its own, which ends early', async (t) => {
    const mended = `${await temporaryFolder(t)}/mended`;
    const sources = await openSources(t, { clock: new ManualClock(Date.UTC(2026, 0, 1)) });
    const { target, notes } = await noting(
      t,
      `const { state, isFinalInvokeForWindow, isWindowTerminatedEarly } = event;
       const { existsSync } = await import('node:fs');
       if (texts.length === 3 && !existsSync(${JSON.stringify(mended)})) throw new Error('three');
       const count = (state.count ?? 0) + texts.length;
       note([event.window.start, texts.length, count, isFinalInvokeForWindow, isWindowTerminatedEarly]);
       return { state: { count } };`,
    );
    const source = sources.begin({
      ...{ function: target, retries: 0, tumblingWindowSeconds: 60 },
      deadLetter: { stream: 'letters' },
    });
    for (const count of [2, 3, 1]) {
      const done = (await source.status()).backlog.records;
      assert.equal(done, 0);
      await sources.store.log.append('readings', numbered(0, count));
      await until(source, ({ backlog }) => backlog.records === 0);
    }
    await writeFile(mended, '');
    assert.equal(await source.replay(), 1);
    await until(source, (status) => status.failed?.batches === 0);
    const start = '2026-01-01T00:00:00.000Z';
    assert.deepEqual(notes(), [
      [start, 2, 2, false, false],
      [start, 1, 3, false, false],
      [start, 3, 3, false, false],
      [start, 0, 3, true, true],
    ]);
  });

  it('stays where it is if it is rubbish, or no call can hold it', async (t) => {
    const sources = await openSources(t, { clock: new ImpatientClock() });
    const { target, notes } = await noting(t, 'note(texts);');
    const data = Buffer.alloc(10_000_000, 'x');
    await sources.store.log.append('readings', [{ partitionKey: 'k', data }]);
    const rubbish = ['', 'null', '{}', '[1]', '{"payload":{"Records":[{}]}}', '\u0000'];
    for (const text of rubbish) {
      await sources.store.log.append('letters', [
        { partitionKey: 'k', data: Buffer.from(text || ' ') },
      ]);
    }
    const source = sources.begin({
      ...{ function: target, retries: 0, deadLetter: { stream: 'letters' } },
    });
    const { failed } = await until(source, ({ backlog }) => backlog.records === 0);
    const parts = (failed?.batches ?? 0) - rubbish.length;
    assert.ok(parts > 1);
    await source.replay();
    const after = await until(source, (status) => status.failed?.isReplaying === false);
    // Rubbish is passed over, and still read by whoever reads streams.
    assert.equal(after.failed?.batches, parts);
    assert.equal((await sources.texts('letters')).length, rubbish.length + 2 * parts);
    assert.deepEqual(notes(), []);
  });

  it('is not there without a dead letter', async (t) => {
    const sources = await openSources(t);
    const { target } = await noting(t, 'note(texts);');
    const source = sources.begin({ function: target });
    assert.equal(await source.replay(), null);
    assert.equal((await source.status()).failed, null);
  });

  it('does not hold back the stream that it is kept in', async (t) => {
    const clock = new ImpatientClock();
    const sources = await openSources(t, { clock });
    await sources.store.log.ensureStream({ ...streamOptions('small'), maxBytes: 2 ** 20 });
    const { target } = await noting(t, `throw new Error('never');`);
    await sources.store.log.append('readings', numbered(0, 2));
    const source = sources.begin({
      ...{ function: target, batchSize: 1, retries: 0, deadLetter: { stream: 'small' } },
    });
    await until(source, (status) => status.failed?.batches === 2);
    await source.replay();
    await until(source, ({ metrics }) => metrics.DroppedEventCount === 4);
    const applications = sources.store.log.applications.list();
    const replay = applications.find(({ name }) => name === `${applicationOf('f')}:replay`);
    assert.equal(replay?.required, false);
  });
});
